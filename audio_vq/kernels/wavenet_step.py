"""The WaveNet's inner loop over samples in plain code, compiled by numba: for any processor, and to be read first.

A sample needs the inputs of `dilation`, 2 · dilation … samples ago in every layer. Each layer keeps them in a
ring, so that one sample costs one matrix-vector product per tap, not a pass over the receptive field
(Le Paine et al. 2016, "Fast WaveNet generation algorithm").

The equations are those of `models/wavenet.py`; `tests/test_sampling.py` proves the logits equal. Matrices lie
as `(in, out)`: inner loops run over outputs side by side in memory, which the compiler turns into vector
instructions. `packed_step.py` does the same faster where the processor is known.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from audio_vq.kernels.compiling import REORDERED, compiled
from audio_vq.kernels.drawing import Draw, draw_class, empty_draw, exp

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_F = np.float32


class StepWeights(NamedTuple):
    """One WaveNet as the kernel reads it. R residual channels, S skip channels."""

    embedding: Floats  # (classes, R)
    taps: Floats  # (layers, kernel, R, 2R); tap k lies k · dilation samples back
    dilations: Ints  # (layers,), samples
    residual: Floats  # (layers − 1, R, R): nothing reads the last layer's output
    residual_bias: Floats  # (layers − 1, R)
    skip: Floats  # (layers · R, S)
    skip_bias: Floats  # (S,)
    hidden: Floats  # (S, S)
    hidden_bias: Floats  # (S,)
    output: Floats  # (S, classes)
    output_bias: Floats  # (classes,)


class Rings(NamedTuple):
    """Past inputs of all layers, changed in place from sample to sample."""

    past: Floats  # (Σ ring lengths, R): the layers' rings one after another
    next: Ints  # (layers,): where in its ring each layer writes next, over its oldest entry


class Scratch(NamedTuple):
    """Working memory of one sample."""

    x: Floats  # (R,)
    z: Floats  # (2R,)
    gates: Floats  # (layers, R)
    skip: Floats  # (S,)
    hidden: Floats  # (S,)
    logits: Floats  # (classes,)
    exponents: npt.NDArray[np.int32]  # (2R,)
    draw: Draw


def working_memory(weights: StepWeights) -> Scratch:
    layers, _, channels, gates = weights.taps.shape
    skip, classes = weights.output.shape
    return Scratch(
        x=np.empty(channels, _F),
        z=np.empty(gates, _F),
        gates=np.empty((layers, channels), _F),
        skip=np.empty(skip, _F),
        hidden=np.empty(skip, _F),
        logits=np.empty(classes, _F),
        exponents=np.empty(gates, np.int32),
        draw=empty_draw(classes),
    )


@compiled(fastmath=REORDERED)
def sample(
    weights: StepWeights,
    rings: Rings,
    previous: int,
    conditioning: Floats,
    uniforms: npt.NDArray[np.float64],
    temperature: float,
    top_p: float,
    scratch: Scratch,
) -> Ints:
    """Draws one class per uniform number.

    Args:
        weights: of the network.
        rings: where sampling stands; changed in place.
        previous: class of the sample before.
        conditioning: `(frames, layers, 2R)`, each for len(uniforms) / frames samples.
        uniforms: `(time,)` in [0, 1).
        temperature: divides the logits.
        top_p: keeps the most likely classes that together have this probability.
        scratch: from `working_memory`.

    Returns:
        Classes `(time,)`.
    """
    classes = np.empty(len(uniforms), np.int64)
    hop = len(uniforms) // max(len(conditioning), 1)
    for t in range(len(uniforms)):
        _step(weights, rings, previous, conditioning[t // hop], scratch)
        previous = draw_class(scratch.logits, uniforms[t], temperature, top_p, scratch.draw)
        classes[t] = previous
    return classes


@compiled(fastmath=REORDERED)
def teacher_forced(
    weights: StepWeights, rings: Rings, previous: int, conditioning: Floats, targets: Ints, scratch: Scratch
) -> Floats:
    """Logits `(time, classes)`, every sample after the targets before it; other arguments as in `sample`."""
    logits = np.empty((len(targets), len(scratch.logits)), np.float32)
    hop = len(targets) // max(len(conditioning), 1)
    for t in range(len(targets)):
        _step(weights, rings, previous, conditioning[t // hop], scratch)
        logits[t] = scratch.logits
        previous = targets[t]
    return logits


@compiled(fastmath=REORDERED)
def _step(weights: StepWeights, rings: Rings, previous: int, conditioning: Floats, scratch: Scratch) -> None:
    """Logits of the next sample into `scratch.logits`; conditioning `(layers, 2R)`."""
    x, z = scratch.x, scratch.z
    layers, kernel_size = weights.taps.shape[:2]
    x[:] = weights.embedding[previous]
    start = 0  # of the layer's ring
    for layer in range(layers):
        z[:] = conditioning[layer]
        _add_product(z, weights.taps[layer, 0], x)
        dilation = weights.dilations[layer]
        length = (kernel_size - 1) * dilation
        if length:
            newest = rings.next[layer]
            for k in range(1, kernel_size):
                place = newest - k * dilation
                place += length if place < 0 else 0
                _add_product(z, weights.taps[layer, k], rings.past[start + place])
            rings.past[start + newest] = x
            rings.next[layer] = newest + 1 if newest + 1 < length else 0
            start += length
        gate = scratch.gates[layer]
        _gate(gate, z, scratch.exponents)
        if layer < layers - 1:
            _add(x, weights.residual_bias[layer])
            _add_product(x, weights.residual[layer], gate)
    scratch.skip[:] = weights.skip_bias
    _add_product(scratch.skip, weights.skip, scratch.gates.reshape(-1))
    _relu(scratch.skip)
    scratch.hidden[:] = weights.hidden_bias
    _add_product(scratch.hidden, weights.hidden, scratch.skip)
    _relu(scratch.hidden)
    scratch.logits[:] = weights.output_bias
    _add_product(scratch.logits, weights.output, scratch.hidden)


@compiled(fastmath=REORDERED)
def _add_product(out: Floats, matrix: Floats, x: Floats) -> None:
    """Adds x `(k,)` @ matrix `(k, n)` to out `(n,)`, by eight rows: fewer loads and stores of `out`."""
    rows, columns = matrix.shape
    whole = rows - rows % 8
    for i in range(0, whole, 8):
        # rows as views: their index starts at zero, and numba's test for negative indices disappears
        m0, m1, m2, m3 = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
        m4, m5, m6, m7 = matrix[i + 4], matrix[i + 5], matrix[i + 6], matrix[i + 7]
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        x4, x5, x6, x7 = x[i + 4], x[i + 5], x[i + 6], x[i + 7]
        for o in range(columns):
            out[o] += (x0 * m0[o] + x1 * m1[o] + x2 * m2[o] + x3 * m3[o]) + (
                x4 * m4[o] + x5 * m5[o] + x6 * m6[o] + x7 * m7[o]
            )
    for i in range(whole, rows):
        row, factor = matrix[i], x[i]
        for o in range(columns):
            out[o] += factor * row[o]


@compiled(fastmath=REORDERED)
def _gate(gate: Floats, z: Floats, exponents: npt.NDArray[np.int32]) -> None:
    """Puts tanh(z[:R]) · σ(z[R:]) of z `(2R,)`, which is overwritten, into gate `(R,)`."""
    channels = len(gate)
    a, b = z[:channels], z[channels:]
    for r in range(channels):  # beyond these limits float32 knows no difference, within them all stays finite
        a[r] = _F(2) * min(max(a[r], _F(-10)), _F(10))
        b[r] = min(max(b[r], _F(-60)), _F(40))
    exp(z, exponents)
    for r in range(channels):  # with a = exp(2x), b = exp(y): (a − 1) / (a + 1) · b / (b + 1)
        gate[r] = (a[r] - _F(1)) * b[r] / ((a[r] + _F(1)) * (b[r] + _F(1)))


@compiled(fastmath=REORDERED)
def _add(out: Floats, x: Floats) -> None:
    for i in range(len(out)):
        out[i] += x[i]


@compiled(fastmath=REORDERED)
def _relu(x: Floats) -> None:
    for i in range(len(x)):
        x[i] = max(x[i], _F(0))
