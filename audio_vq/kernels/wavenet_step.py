"""The WaveNet's inner loop over samples, compiled by numba.

A sample needs the inputs of `dilation`, 2 · dilation … samples ago in every layer. Each layer keeps them in a
ring, so that one sample costs one matrix-vector product per tap, not a pass over the receptive field
(Le Paine et al. 2016, "Fast WaveNet generation algorithm").

The equations are those of `models/wavenet.py`; `tests/test_sampling.py` proves the logits equal. Matrices lie
as `(in, out)`: inner loops run over outputs side by side in memory, which the compiler turns into vector
instructions.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# sums may be reordered and products fused, which vectorising needs; NaN and infinity keep their meaning
_COMPILE: dict[str, Any] = {"nogil": True, "cache": True, "fastmath": {"contract", "reassoc", "nsz"}}
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


class _Scratch(NamedTuple):
    """Working memory of one sample."""

    x: Floats  # (R,)
    z: Floats  # (2R,)
    gates: Floats  # (layers, R)
    skip: Floats  # (S,)
    hidden: Floats  # (S,)
    logits: Floats  # (classes,)
    exponents: npt.NDArray[np.int32]  # (max(2R, classes),)
    candidates: Floats  # (classes,)
    cumulative: npt.NDArray[np.float64]  # (classes,)


def empty_rings(weights: StepWeights) -> Rings:
    """Rings as they are before the first sample: silence."""
    _, kernel_size, channels, _ = weights.taps.shape
    rows = int((kernel_size - 1) * weights.dilations.sum())
    return Rings(np.zeros((rows, channels), np.float32), np.zeros(len(weights.dilations), np.int64))


@njit(**_COMPILE)
def sample(
    weights: StepWeights,
    rings: Rings,
    previous: int,
    conditioning: Floats,
    uniforms: npt.NDArray[np.float64],
    temperature: float,
    top_p: float,
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

    Returns:
        Classes `(time,)`.
    """
    scratch = _scratch(weights)
    classes = np.empty(len(uniforms), np.int64)
    hop = len(uniforms) // max(len(conditioning), 1)
    for t in range(len(uniforms)):
        _step(weights, rings, previous, conditioning[t // hop], scratch)
        previous = _draw(scratch, uniforms[t], temperature, top_p)
        classes[t] = previous
    return classes


@njit(**_COMPILE)
def teacher_forced(weights: StepWeights, rings: Rings, previous: int, conditioning: Floats, targets: Ints) -> Floats:
    """Logits `(time, classes)`, every sample after the targets before it; other arguments as in `sample`."""
    scratch = _scratch(weights)
    logits = np.empty((len(targets), len(scratch.logits)), np.float32)
    hop = len(targets) // max(len(conditioning), 1)
    for t in range(len(targets)):
        _step(weights, rings, previous, conditioning[t // hop], scratch)
        logits[t] = scratch.logits
        previous = targets[t]
    return logits


@njit(**_COMPILE)
def _scratch(weights: StepWeights) -> _Scratch:
    layers, _, channels, gates = weights.taps.shape
    skip, classes = weights.output.shape
    return _Scratch(
        x=np.empty(channels, _F),
        z=np.empty(gates, _F),
        gates=np.empty((layers, channels), _F),
        skip=np.empty(skip, _F),
        hidden=np.empty(skip, _F),
        logits=np.empty(classes, _F),
        exponents=np.empty(max(gates, classes), np.int32),
        candidates=np.empty(classes, _F),
        cumulative=np.empty(classes, np.float64),
    )


@njit(**_COMPILE)
def _step(weights: StepWeights, rings: Rings, previous: int, conditioning: Floats, scratch: _Scratch) -> None:
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


@njit(**_COMPILE)
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


@njit(**_COMPILE)
def _gate(gate: Floats, z: Floats, exponents: npt.NDArray[np.int32]) -> None:
    """Puts tanh(z[:R]) · σ(z[R:]) of z `(2R,)`, which is overwritten, into gate `(R,)`."""
    channels = len(gate)
    a, b = z[:channels], z[channels:]
    for r in range(channels):  # beyond these limits float32 knows no difference, within them all stays finite
        a[r] = _F(2) * min(max(a[r], _F(-10)), _F(10))
        b[r] = min(max(b[r], _F(-60)), _F(40))
    _exp(z, exponents)
    for r in range(channels):  # with a = exp(2x), b = exp(y): (a − 1) / (a + 1) · b / (b + 1)
        gate[r] = (a[r] - _F(1)) * b[r] / ((a[r] + _F(1)) * (b[r] + _F(1)))


@njit(**_COMPILE)
def _exp(x: Floats, exponents: npt.NDArray[np.int32]) -> None:
    """Replaces x by exp(x), |x| ≤ 87, to a relative 2e-7.

    It has neither branches nor calls, hence vectorises; np.exp does not.
    """
    powers = exponents.view(np.float32)
    for i in range(len(x)):
        n = np.floor(x[i] * _F(1.4426950408889634) + _F(0.5))
        exponents[i] = (np.int32(n) + np.int32(127)) << np.int32(23)  # the bits of the float 2^n
        # ln 2 in two parts, the first short: n times it is exact
        r = (x[i] - n * _F(0.693359375)) + n * _F(2.12194440e-4)  # |r| ≤ ln 2 / 2
        p = _F(1 / 5040) * r + _F(1 / 720)
        p = p * r + _F(1 / 120)
        p = p * r + _F(1 / 24)
        p = p * r + _F(1 / 6)
        p = p * r + _F(0.5)
        x[i] = (p * r + _F(1)) * r + _F(1)
    for i in range(len(x)):
        x[i] *= powers[i]


@njit(**_COMPILE)
def _draw(scratch: _Scratch, uniform: float, temperature: float, top_p: float) -> int:
    """A class by the inverse of the cumulative distribution; `scratch.logits` are overwritten."""
    weight, cumulative = scratch.logits, scratch.cumulative
    highest = weight.max()
    inverse = _F(1 / temperature)
    for o in range(len(weight)):
        weight[o] = max((weight[o] - highest) * inverse, _F(-87))
    _exp(weight, scratch.exponents)
    threshold = _nucleus(weight, scratch.candidates, top_p) if top_p < 1 else _F(0)
    total = 0.0
    for o in range(len(weight)):
        total += weight[o] if weight[o] >= threshold else 0.0
        cumulative[o] = total
    return int(np.searchsorted(cumulative, uniform * total, side="right"))


@njit(**_COMPILE)
def _nucleus(weight: Floats, candidates: Floats, top_p: float) -> float:
    """The least weight in the smallest set that holds `top_p` of all (Holtzman et al. 2020, eq. 2)."""
    total = 0.0
    for o in range(len(weight)):
        total += weight[o]
    # classes below this have less than 1 − top_p together: none of them is in the set, and sorting is dear
    floor = (1 - top_p) * total / len(weight)
    count = 0
    for o in range(len(weight)):
        if weight[o] >= floor:
            candidates[count] = weight[o]
            count += 1
    likely = candidates[:count]
    likely.sort()
    held = 0.0
    for i in range(count - 1, -1, -1):
        held += likely[i]
        if held >= top_p * total:
            return likely[i]
    return likely[0]


@njit(**_COMPILE)
def _add(out: Floats, x: Floats) -> None:
    for i in range(len(out)):
        out[i] += x[i]


@njit(**_COMPILE)
def _relu(x: Floats) -> None:
    for i in range(len(x)):
        x[i] = max(x[i], _F(0))
