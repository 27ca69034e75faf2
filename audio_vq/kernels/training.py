"""Loss and gradients of a WaveNet on one clip, compiled: a tile of some forty samples goes through all layers at once.

The equations are those of `models/wavenet.py`; `tests/test_training_kernels.py` proves loss and gradients equal.

Only the layers' inputs are kept for a whole clip. The first pass makes them, first tile to last. The second goes back,
last tile to first: it computes a tile's gates once more, then output layers, loss, and gradients down to the
embedding, all within the caches. What a layer with dilation d sends back d samples waits where its own
input lay, which nobody needs any more.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from audio_vq.kernels.activations import cross_entropy, gate_backward, gate_forward
from audio_vq.kernels.products import COMPILE, INNER, Floats, Operand, add_product, by_columns, by_rows

Ints = npt.NDArray[np.int64]

_INPUTS, _SKIP = 1, 2  # what a pass through the layers has to leave


class Matrices(NamedTuple):
    """What tiles `(rows, in)` are multiplied with, all `(…, in, out)`; or the gradients of that.

    R residual channels, S skip channels. As operands in bfloat16, `in` is half as long.
    """

    past: Operand  # (layers, 2, R, R): for tanh, for σ
    present: Operand  # (layers, 2, R, R)
    residual: Operand  # (layers − 1, R, R)
    skip: Operand  # (layers, R, S)
    hidden: Operand  # (S, S)
    output: Operand  # (S, classes)


class Vectors(NamedTuple):
    """Everything else that is learned, and `conditioning`; or the gradients of that."""

    embedding: Floats  # (classes, R)
    residual: Floats  # (layers − 1, R): biases
    skip: Floats  # (S,)
    hidden: Floats  # (S,)
    output: Floats  # (classes,)
    conditioning: Floats  # (frames, layers, 2, R)


class Network(NamedTuple):
    forward: Matrices
    backward: Matrices  # the same matrices transposed
    vectors: Vectors
    dilations: Ints  # (layers,)
    tile: int  # samples; divides those of a frame


class _Operands(NamedTuple):
    """Tiles as products read them: along their columns, or along their rows, which is time."""

    channels: Operand
    skip: Operand
    classes: Operand
    channels_time: Operand
    past_time: Operand
    dx_time: Operand
    dz_time: Operand
    skip_time: Operand
    dskip_time: Operand
    classes_time: Operand


class _Work(NamedTuple):
    """Working memory of one clip."""

    inputs: Floats  # (layers, margin + time + margin, R): of every layer, silence around them
    activations: Floats  # (layers, 2, tile, R): tanh, σ
    gate: Floats  # (tile, R)
    dgate: Floats  # (tile, R)
    dx: Floats  # (tile, R)
    dz: Floats  # (2, tile, R)
    skip: Floats  # (tile, S)
    dskip: Floats  # (tile, S)
    hidden: Floats  # (tile, S)
    dhidden: Floats  # (tile, S)
    logits: Floats  # (tile, classes)
    operands: _Operands


@njit(**COMPILE)
def clip_loss(network: Network, previous: Ints, targets: Ints) -> float:
    """Sum of −ln p(target) over a clip `(time,)`; `previous` are the targets one sample later."""
    work = _work(network, len(targets))
    total = 0.0
    for start in range(0, len(targets), network.tile):
        _embed(network, work, previous, start)
        _layers(network, work, start, len(targets), _INPUTS + _SKIP)
        total += _outputs(network, work, targets[start : start + network.tile], 1.0)
    return total


@njit(**COMPILE)
def clip_gradients(
    network: Network, previous: Ints, targets: Ints, scale: float, matrices: Matrices, vectors: Vectors
) -> float:
    """As `clip_loss`; adds the gradients of the sum times `scale` to `matrices` (float32) and `vectors`."""
    work = _work(network, len(targets))
    for start in range(0, len(targets), network.tile):
        _embed(network, work, previous, start)
        _layers(network, work, start, len(targets), _INPUTS)
    total = 0.0
    for start in range(len(targets) - network.tile, -1, -network.tile):
        _layers(network, work, start, len(targets), _SKIP)
        total += _outputs(network, work, targets[start : start + network.tile], scale)
        _back_from_outputs(network, work, matrices, vectors)
        _back_through_layers(network, work, start, len(targets), matrices, vectors)
        for m in range(network.tile):
            _add(vectors.embedding[previous[start + m]], work.dx[m])
    return total


@njit(**INNER)
def _work(network: Network, time: int) -> _Work:
    layers, channels, classes = len(network.dilations), network.vectors.embedding.shape[1], len(network.vectors.output)
    tile, skip, margin = network.tile, len(network.vectors.skip), network.dilations.max()
    inputs = np.empty((layers, margin + time + margin, channels), np.float32)
    inputs[:, :margin] = 0
    inputs[:, margin + time :] = 0
    kind: Any = network.forward.hidden.dtype
    pair = skip // len(network.forward.hidden)
    return _Work(
        inputs=inputs,
        activations=np.empty((layers, 2, tile, channels), np.float32),
        gate=np.empty((tile, channels), np.float32),
        dgate=np.empty((tile, channels), np.float32),
        dx=np.empty((tile, channels), np.float32),
        dz=np.empty((2, tile, channels), np.float32),
        skip=np.empty((tile, skip), np.float32),
        dskip=np.empty((tile, skip), np.float32),
        hidden=np.empty((tile, skip), np.float32),
        dhidden=np.empty((tile, skip), np.float32),
        logits=np.empty((tile, classes), np.float32),
        operands=_Operands(
            channels=np.empty((tile, channels // pair), kind),
            skip=np.empty((tile, skip // pair), kind),
            classes=np.empty((tile, classes // pair), kind),
            channels_time=np.empty((tile // pair, channels), kind),
            past_time=np.empty((tile // pair, channels), kind),
            dx_time=np.empty((tile // pair, channels), kind),
            dz_time=np.empty((tile // pair, channels), kind),
            skip_time=np.empty((tile // pair, skip), kind),
            dskip_time=np.empty((tile // pair, skip), kind),
            classes_time=np.empty((tile // pair, classes), kind),
        ),
    )


@njit(**INNER)
def _embed(network: Network, work: _Work, previous: Ints, start: int) -> None:
    margin = network.dilations.max()
    for m in range(network.tile):
        work.inputs[0, margin + start + m] = network.vectors.embedding[previous[start + m]]


@njit(**INNER)
def _layers(network: Network, work: _Work, start: int, time: int, wanted: int) -> None:
    """A tile's activations in all layers, and what is wanted of the next layers' inputs and `work.skip`."""
    matrices, vectors, operand = network.forward, network.vectors, work.operands.channels
    tile, last = network.tile, len(network.dilations) - 1
    row = network.dilations.max() + start
    frame = vectors.conditioning[start // (time // len(vectors.conditioning))]
    _fill(work.skip, vectors.skip)
    for layer in range(last + 1):
        past = row - network.dilations[layer]
        z, x = work.activations[layer], work.inputs[layer]
        by_columns(operand, x[past : past + tile])
        for half in range(2):
            _fill(z[half], frame[layer, half])
            add_product(z[half], operand, matrices.past[layer, half])
        by_columns(operand, x[row : row + tile])
        for half in range(2):
            add_product(z[half], operand, matrices.present[layer, half])
        gate_forward(z, work.gate)
        by_columns(operand, work.gate)
        if wanted & _SKIP:
            add_product(work.skip, operand, matrices.skip[layer])
        if wanted & _INPUTS and layer < last:
            following = work.inputs[layer + 1, row : row + tile]
            _fill(following, vectors.residual[layer])
            _add(following, x[row : row + tile])
            add_product(following, operand, matrices.residual[layer])


@njit(**INNER)
def _outputs(network: Network, work: _Work, targets: Ints, scale: float) -> float:
    """The loss of a tile, from `work.skip`; `work.logits` become their gradients."""
    matrices, vectors, operand = network.forward, network.vectors, work.operands.skip
    _relu(work.skip)
    by_columns(operand, work.skip)
    _fill(work.hidden, vectors.hidden)
    add_product(work.hidden, operand, matrices.hidden)
    _relu(work.hidden)
    by_columns(operand, work.hidden)
    _fill(work.logits, vectors.output)
    add_product(work.logits, operand, matrices.output)
    return cross_entropy(work.logits, targets, scale)


@njit(**INNER)
def _back_from_outputs(network: Network, work: _Work, matrices: Matrices, vectors: Vectors) -> None:
    """Gradients of the output layers, and `work.dskip`."""
    operands, backward = work.operands, network.backward
    by_rows(operands.skip_time, work.hidden)
    by_rows(operands.classes_time, work.logits)
    add_product(matrices.output, operands.skip_time.T, operands.classes_time)
    _add_rows(vectors.output, work.logits)

    by_columns(operands.classes, work.logits)
    work.dhidden[:] = 0
    add_product(work.dhidden, operands.classes, backward.output)
    _keep_positive(work.dhidden, work.hidden)
    by_rows(operands.skip_time, work.skip)
    by_rows(operands.dskip_time, work.dhidden)
    add_product(matrices.hidden, operands.skip_time.T, operands.dskip_time)
    _add_rows(vectors.hidden, work.dhidden)

    by_columns(operands.skip, work.dhidden)
    work.dskip[:] = 0
    add_product(work.dskip, operands.skip, backward.hidden)
    _keep_positive(work.dskip, work.skip)
    _add_rows(vectors.skip, work.dskip)


@njit(**INNER)
def _back_through_layers(
    network: Network, work: _Work, start: int, time: int, matrices: Matrices, vectors: Vectors
) -> None:
    """Gradients of all layers, and `work.dx`, which ends at the embedding."""
    operands, last = work.operands, len(network.dilations) - 1
    frame = vectors.conditioning[start // (time // len(vectors.conditioning))]
    by_columns(operands.skip, work.dskip)
    by_rows(operands.dskip_time, work.dskip)
    work.dx[:] = 0
    for layer in range(last, -1, -1):
        work.dgate[:] = 0
        add_product(work.dgate, operands.skip, network.backward.skip[layer])
        if layer < last:
            by_columns(operands.channels, work.dx)
            add_product(work.dgate, operands.channels, network.backward.residual[layer])
        gate_backward(work.activations[layer], work.dgate, work.dz, work.gate)
        by_rows(operands.channels_time, work.gate)
        add_product(matrices.skip[layer], operands.channels_time.T, operands.dskip_time)
        if layer < last:
            by_rows(operands.dx_time, work.dx)
            add_product(matrices.residual[layer], operands.channels_time.T, operands.dx_time)
            _add_rows(vectors.residual[layer], work.dx)
        _back_through_taps(network, work, layer, start, matrices, frame[layer])


@njit(**INNER)
def _back_through_taps(
    network: Network, work: _Work, layer: int, start: int, matrices: Matrices, conditioning: Floats
) -> None:
    """Gradients of taps and conditioning `(2, R)` from `work.dz`; what the layer's input gets is added to `work.dx`."""
    operands, x, tile = work.operands, work.inputs[layer], network.tile
    now = network.dilations.max() + start
    before, after = now - network.dilations[layer], now + network.dilations[layer]
    waiting = x[now : now + tile]
    by_rows(operands.past_time, x[before : before + tile])
    by_rows(operands.channels_time, waiting)
    # nobody reads this input again: its place keeps what goes back to `before`, until that tile comes
    waiting[:] = 0
    for half in range(2):
        dz = work.dz[half]
        _add_rows(conditioning[half], dz)
        by_rows(operands.dz_time, dz)
        add_product(matrices.past[layer, half], operands.past_time.T, operands.dz_time)
        add_product(matrices.present[layer, half], operands.channels_time.T, operands.dz_time)
        by_columns(operands.channels, dz)
        add_product(waiting, operands.channels, network.backward.past[layer, half])
        add_product(work.dx, operands.channels, network.backward.present[layer, half])
    _add(work.dx, x[after : after + tile])


@njit(**INNER)
def _fill(out: Floats, row: Floats) -> None:
    for m in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[m, i] = row[i]


@njit(**INNER)
def _add(out: Floats, matrix: Floats) -> None:
    to, of = out.reshape(-1), matrix.reshape(-1)
    for i in range(len(to)):
        to[i] += of[i]


@njit(**INNER)
def _add_rows(out: Floats, matrix: Floats) -> None:
    for m in range(matrix.shape[0]):
        for i in range(matrix.shape[1]):
            out[i] += matrix[m, i]


@njit(**INNER)
def _relu(matrix: Floats) -> None:
    flat = matrix.reshape(-1)
    for i in range(len(flat)):
        flat[i] = max(flat[i], np.float32(0))


@njit(**INNER)
def _keep_positive(gradient: Floats, activation: Floats) -> None:
    """The gradient before a ReLU, from that behind it."""
    of, to = activation.reshape(-1), gradient.reshape(-1)
    for i in range(len(to)):
        to[i] = to[i] if of[i] > 0 else np.float32(0)
