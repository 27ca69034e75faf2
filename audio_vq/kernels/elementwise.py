"""What happens to tiles `(samples, channels)` between products in the compiled training step: gate, softmax, sums.

Written so that the compiler turns the inner loops into vector instructions: neither branches nor calls.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from audio_vq.kernels.compiling import compiled
from audio_vq.kernels.products import OPTIONS, Floats

_F = np.float32


@intrinsic
def _as_float(_typing: Any, bits: Any) -> Any:  # noqa: ARG001 - numba's form
    """The float32 with the bits of an int32."""
    return types.float32(types.int32), lambda _context, builder, _signature, args: builder.bitcast(
        args[0], ir.FloatType()
    )


@compiled(**OPTIONS)
def _exp(x: float) -> float:
    """exp(x), |x| ≤ 80, to a relative 1.2e-7 · (1 + |x|)."""
    t = x * _F(1.4426950408889634)
    n = np.rint(t)
    f = t - n  # 2^t = 2^n · 2^f; the terms of 2^f are (f ln 2)^k / k!
    p = _F(1.5403530393381608e-4) * f + _F(1.3333558146428443e-3)
    p = p * f + _F(9.618129107628477e-3)
    p = p * f + _F(5.5504108664821580e-2)
    p = p * f + _F(2.4022650695910072e-1)
    p = p * f + _F(6.9314718055994531e-1)
    return (p * f + _F(1)) * _as_float((np.int32(n) + np.int32(127)) << np.int32(23))


@compiled(**OPTIONS)
def gate_forward(z: Floats, activations: Floats, gate: Floats) -> None:
    """Puts tanh(z[0]) and σ(z[1]) into `activations`, all `(2, rows, R)`, and their product into `gate` `(rows, R)`."""
    a, b, out = z[0].reshape(-1), z[1].reshape(-1), gate.reshape(-1)
    tanhs, sigmoids = activations[0].reshape(-1), activations[1].reshape(-1)
    for i in range(len(out)):  # beyond these limits float32 knows no difference, within them all stays finite
        x = _exp(_F(-2) * min(max(a[i], _F(-10)), _F(10)))
        y = _exp(-min(max(b[i], _F(-40)), _F(40))) + _F(1)
        inverse = _F(1) / ((x + _F(1)) * y)
        tanh, sigmoid = (_F(1) - x) * y * inverse, (x + _F(1)) * inverse
        tanhs[i] = tanh
        sigmoids[i] = sigmoid
        out[i] = tanh * sigmoid


@compiled(**OPTIONS)
def gate_backward(activations: Floats, gradient: Floats, dz: Floats, gate: Floats) -> None:
    """Gradient `dz` `(2, rows, R)` of what `gate_forward` was given, from the gate's `gradient`; the gate once more."""
    a, b, g = activations[0].reshape(-1), activations[1].reshape(-1), gradient.reshape(-1)
    da, db, out = dz[0].reshape(-1), dz[1].reshape(-1), gate.reshape(-1)
    for i in range(len(g)):
        tanh, sigmoid = a[i], b[i]
        through = g[i] * sigmoid
        da[i] = through * (_F(1) - tanh * tanh)
        db[i] = through * tanh * (_F(1) - sigmoid)
        out[i] = tanh * sigmoid


@compiled(**OPTIONS)
def cross_entropy(logits: Floats, targets: npt.NDArray[np.int64], scale: float) -> float:
    """Sum of −ln softmax(logits)[target] over rows; logits `(rows, classes)` become their gradient times `scale`."""
    total = 0.0
    folded = np.empty(logits.shape[1] // 2, np.float32)
    for m in range(len(logits)):
        row, target = logits[m], targets[m]
        shift = _maximum(row, folded)
        of_target = row[target] - shift
        weights = _F(0)
        for c in range(len(row)):
            weight = _exp(max(row[c] - shift, _F(-80)))
            row[c] = weight
            weights += weight
        total += np.log(np.float64(weights)) - of_target
        factor = _F(scale) / weights
        for c in range(len(row)):
            row[c] *= factor
        row[target] -= _F(scale)
    return total


@compiled(**OPTIONS)
def _maximum(row: Floats, folded: Floats) -> float:
    """The largest element. The row is folded, for the compiler keeps the order of comparisons in a running maximum."""
    width = len(row) // 2
    for c in range(width):
        folded[c] = max(row[c], row[width + c])
    while width % 2 == 0:
        width //= 2
        for c in range(width):
            folded[c] = max(folded[c], folded[width + c])
    highest = folded[0]
    for c in range(1, width):
        highest = max(highest, folded[c])
    return highest


@compiled(**OPTIONS)
def fill(out: Floats, row: Floats) -> None:
    for m in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[m, i] = row[i]


@compiled(**OPTIONS)
def fill_sum(out: Floats, matrix: Floats, row: Floats) -> None:
    for m in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[m, i] = matrix[m, i] + row[i]


@compiled(**OPTIONS)
def add(out: Floats, matrix: Floats) -> None:
    to, of = out.reshape(-1), matrix.reshape(-1)
    for i in range(len(to)):
        to[i] += of[i]


@compiled(**OPTIONS)
def add_rows(out: Floats, matrix: Floats) -> None:
    for m in range(matrix.shape[0]):
        for i in range(matrix.shape[1]):
            out[i] += matrix[m, i]


@compiled(**OPTIONS)
def relu(matrix: Floats) -> None:
    flat = matrix.reshape(-1)
    for i in range(len(flat)):
        flat[i] = max(flat[i], np.float32(0))


@compiled(**OPTIONS)
def keep_positive(gradient: Floats, activation: Floats) -> None:
    """The gradient before a ReLU, from that behind it."""
    of, to = activation.reshape(-1), gradient.reshape(-1)
    for i in range(len(to)):
        to[i] = to[i] if of[i] > 0 else np.float32(0)
