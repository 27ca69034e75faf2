"""Loss and gradients of a WaveNet on one clip, compiled: a tile of samples goes through all layers at once.

The equations are those of `models/wavenet.py`; `tests/test_training_kernels.py` proves loss and gradients equal.

The first pass goes from the first tile to the last: layers, output layers, loss, and back to where the skip connections
meet. The second goes back, last tile to first, through the layers to the embedding. What a layer with dilation d
sends back d samples waits where its own input lay, which nobody needs any more.
"""

from audio_vq.kernels.compiling import compiled
from audio_vq.kernels.elementwise import (
    add,
    add_rows,
    cross_entropy,
    fill,
    fill_sum,
    gate_backward,
    gate_forward,
    keep_positive,
    relu,
)
from audio_vq.kernels.products import INNER, OPTIONS, Floats, add_product, by_columns, by_rows
from audio_vq.kernels.training_memory import Ints, Matrices, Network, Vectors, Work, working_memory


@compiled(**OPTIONS)
def clip_loss(network: Network, previous: Ints, targets: Ints) -> float:
    """Sum of −ln p(target) over a clip `(time,)`; `previous` are the targets one sample later."""
    tile = network.tile
    work = working_memory(network, len(targets), 1)
    total = 0.0
    for start in range(0, len(targets), tile):
        _embed(network, work, previous, start)
        _layers(network, work, start, work.activations[0])
        total += _outputs(network, work, targets[start : start + tile], 1.0)
    return total


@compiled(**OPTIONS)
def clip_gradients(
    network: Network, previous: Ints, targets: Ints, scale: float, matrices: Matrices, vectors: Vectors
) -> float:
    """As `clip_loss`; adds the gradients of the sum times `scale` to `matrices` (float32) and `vectors`."""
    tile, tiles = network.tile, len(targets) // network.tile
    work = working_memory(network, len(targets), tiles)
    total = 0.0
    for index in range(tiles):
        start = index * tile
        _embed(network, work, previous, start)
        _layers(network, work, start, work.activations[index])
        total += _outputs(network, work, targets[start : start + tile], scale)
        _back_from_outputs(network, work, work.dskips[index], matrices, vectors)
    for index in range(tiles - 1, -1, -1):
        start = index * tile
        _back_through_layers(network, work, start, index, matrices, vectors)
        for m in range(tile):
            add(vectors.embedding[previous[start + m]], work.dx[m])
    return total


@compiled(**INNER)
def _embed(network: Network, work: Work, previous: Ints, start: int) -> None:
    margin = network.dilations.max()
    for m in range(network.tile):
        work.inputs[0, margin + start + m] = network.vectors.embedding[previous[start + m]]


@compiled(**INNER)
def _layers(network: Network, work: Work, start: int, activations: Floats) -> None:
    """A tile through all layers: their activations `(layers, 2, tile, R)`, next inputs, and `work.skip`."""
    matrices, vectors, buffer = network.forward, network.vectors, work.operands.channels
    tile, last = network.tile, len(network.dilations) - 1
    now = network.dilations.max() + start
    frame = vectors.conditioning[start // network.frame]
    fill(work.skip, vectors.skip)
    for layer in range(last + 1):
        z, x, before = work.z, work.inputs[layer], now - network.dilations[layer]
        past = by_columns(buffer, x[before : before + tile])
        for half in range(2):
            fill(z[half], frame[layer, half])
            add_product(z[half], past, matrices.past[layer, half])
        present = by_columns(buffer, x[now : now + tile])
        for half in range(2):
            add_product(z[half], present, matrices.present[layer, half])
        gate_forward(z, activations[layer], work.gate)
        gate = by_columns(buffer, work.gate)
        add_product(work.skip, gate, matrices.skip[layer])
        if layer < last:
            following = work.inputs[layer + 1, now : now + tile]
            fill_sum(following, x[now : now + tile], vectors.residual[layer])
            add_product(following, gate, matrices.residual[layer])


@compiled(**INNER)
def _outputs(network: Network, work: Work, targets: Ints, scale: float) -> float:
    """The loss of a tile, from `work.skip`; `work.logits` become their gradients."""
    matrices, vectors, buffer = network.forward, network.vectors, work.operands.skip
    relu(work.skip)
    fill(work.hidden, vectors.hidden)
    add_product(work.hidden, by_columns(buffer, work.skip), matrices.hidden)
    relu(work.hidden)
    fill(work.logits, vectors.output)
    add_product(work.logits, by_columns(buffer, work.hidden), matrices.output)
    return cross_entropy(work.logits, targets, scale)


@compiled(**INNER)
def _back_from_outputs(network: Network, work: Work, dskip: Floats, matrices: Matrices, vectors: Vectors) -> None:
    """Gradients of the output layers, and `dskip` `(tile, S)`."""
    operands, backward = work.operands, network.backward
    hidden, dlogits = by_rows(operands.skip_time, work.hidden), by_rows(operands.classes_time, work.logits)
    add_product(matrices.output, hidden.T, dlogits)
    add_rows(vectors.output, work.logits)

    work.dhidden[:] = 0
    add_product(work.dhidden, by_columns(operands.classes, work.logits), backward.output)
    keep_positive(work.dhidden, work.hidden)
    skip, dhidden = by_rows(operands.skip_time, work.skip), by_rows(operands.dskip_time, work.dhidden)
    add_product(matrices.hidden, skip.T, dhidden)
    add_rows(vectors.hidden, work.dhidden)

    dskip[:] = 0
    add_product(dskip, by_columns(operands.skip, work.dhidden), backward.hidden)
    keep_positive(dskip, work.skip)
    add_rows(vectors.skip, dskip)


@compiled(**INNER)
def _back_through_layers(
    network: Network, work: Work, start: int, index: int, matrices: Matrices, vectors: Vectors
) -> None:
    """Gradients of all layers on tile `index`, and `work.dx`, which ends at the embedding."""
    operands, backward, last = work.operands, network.backward, len(network.dilations) - 1
    frame = vectors.conditioning[start // network.frame]
    dskip = by_columns(operands.skip, work.dskips[index])
    dskip_time = by_rows(operands.dskip_time, work.dskips[index])
    work.dx[:] = 0
    for layer in range(last, -1, -1):
        work.dgate[:] = 0
        add_product(work.dgate, dskip, backward.skip[layer])
        if layer < last:
            add_product(work.dgate, by_columns(operands.channels, work.dx), backward.residual[layer])
        gate_backward(work.activations[index, layer], work.dgate, work.z, work.gate)
        gate = by_rows(operands.channels_time, work.gate)
        add_product(matrices.skip[layer], gate.T, dskip_time)
        if layer < last:
            add_product(matrices.residual[layer], gate.T, by_rows(operands.dx_time, work.dx))
            add_rows(vectors.residual[layer], work.dx)
        _back_through_taps(network, work, layer, start, matrices, frame[layer])


@compiled(**INNER)
def _back_through_taps(
    network: Network, work: Work, layer: int, start: int, matrices: Matrices, conditioning: Floats
) -> None:
    """Gradients of taps and conditioning `(2, R)` from `work.z`; what the layer's input gets is added to `work.dx`."""
    operands, x, tile = work.operands, work.inputs[layer], network.tile
    now = network.dilations.max() + start
    before, after = now - network.dilations[layer], now + network.dilations[layer]
    past = by_rows(operands.past_time, x[before : before + tile])
    present = by_rows(operands.channels_time, x[now : now + tile])
    for half in range(2):
        add_rows(conditioning[half], work.z[half])
        dz = by_rows(operands.dz_time, work.z[half])
        add_product(matrices.past[layer, half], past.T, dz)
        add_product(matrices.present[layer, half], present.T, dz)
    # nobody reads this input again: its place keeps what goes back to `before`, until that tile comes
    waiting = x[now : now + tile]
    waiting[:] = 0
    for half in range(2):
        dz = by_columns(operands.channels, work.z[half])
        add_product(waiting, dz, network.backward.past[layer, half])
        add_product(work.dx, dz, network.backward.present[layer, half])
    add(work.dx, x[after : after + tile])
