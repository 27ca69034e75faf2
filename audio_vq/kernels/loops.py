"""What happens between the matrix products of a training step: loops over tiles `(rows, channels)` of samples.

The equations are those of `models/wavenet.py`; `tests/test_training_kernels.py` holds them against float64. What
products read and write is float32, or bfloat16 as int16, for NumPy does not know it. All sums are float32.
Tiles begin at sample `start` of a clip; a layer's *pairs* are its inputs as its product reads them, that `dilation`
samples ago beside the present one.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import overload

from audio_vq.kernels.arithmetic import LOG2_E, exp2
from audio_vq.kernels.compiling import REORDERED, compiled

_F = np.float32

Floats = npt.NDArray[np.float32]
Operand = npt.NDArray[np.float32] | npt.NDArray[np.int16]  # of a product, or its result
Ints = npt.NDArray[np.int64]


def widened(value: Any) -> Any:
    """An operand's element as float32. For compiled code, as the next one."""
    raise NotImplementedError


def rounded(value: Any, operand: Operand) -> Any:
    """A float32 as an element of `operand`: the nearest, of two the even one."""
    raise NotImplementedError


@overload(widened, inline="always")
def _widened(value: Any) -> Any:
    def itself(value: Any) -> Any:
        return value

    def of_upper_half(value: Any) -> Any:
        return np.int32(np.int32(value) << 16).view(np.float32)

    return of_upper_half if value == types.int16 else itself


@overload(rounded, inline="always")
def _rounded(value: Any, operand: Any) -> Any:  # noqa: ARG001 - numba's form
    def itself(value: Any, operand: Any) -> Any:  # noqa: ARG001
        return value

    def upper_half(value: Any, operand: Any) -> Any:  # noqa: ARG001
        bits = _F(value).view(np.int32)
        return np.int16(np.int32(bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)

    return upper_half if operand.dtype == types.int16 else itself


@compiled(fastmath=REORDERED)
def embed(table: Floats, rows: Ints, x: Floats, inputs: Operand, start: int) -> None:
    """x[m] becomes the sum of the table's rows `rows[m]`, and goes to the first layer's inputs.

    Table `(rows, R)`, x `(steps, R)`, inputs `(time, R)`.
    """
    for m in range(len(x)):
        for j in range(x.shape[1]):
            x[m, j] = table[rows[m, 0], j]
        for b in range(1, rows.shape[1]):
            for j in range(x.shape[1]):
                x[m, j] += table[rows[m, b], j]
        for j in range(x.shape[1]):
            inputs[start + m, j] = rounded(x[m, j], inputs)


@compiled(fastmath=REORDERED)
def embed_back(dx: Floats, rows: Ints, dtable: Floats) -> None:
    for m in range(len(dx)):
        for b in range(rows.shape[1]):
            for j in range(dx.shape[1]):
                dtable[rows[m, b], j] += dx[m, j]


@compiled(fastmath=REORDERED)
def pair(inputs: Operand, start: int, dilation: int, pairs: Operand) -> None:
    """Pairs `(rows, 2R)` of a layer's inputs `(time, R)`; before the beginning they are zero."""
    R = inputs.shape[1]
    for m in range(len(pairs)):
        now, past = start + m, start + m - dilation
        for j in range(R):
            pairs[m, R + j] = inputs[now, j]
        if past >= 0:
            for j in range(R):
                pairs[m, j] = inputs[past, j]
        else:
            for j in range(R):
                pairs[m, j] = 0


@compiled(fastmath=REORDERED)
def pair_back(
    dpairs: Operand, waiting: Operand, start: int, dilation: int, dx: Floats, joint: Operand, dbias: Floats
) -> None:
    """Adds to dx `(rows, R)` what comes back from pairs; its copy for products ends rows of joint, `dbias` its sum.

    What goes back to past inputs is `waiting` `(time, R)` where it came from, until the tile of those inputs comes.
    """
    time, R = waiting.shape
    S = joint.shape[1] - R
    for m in range(len(dx)):
        for j in range(R):
            waiting[start + m, j] = dpairs[m, j]
    for m in range(len(dx)):
        later = start + m + dilation
        if later < time:
            for j in range(R):
                dx[m, j] += widened(dpairs[m, R + j]) + widened(waiting[later, j])
        else:
            for j in range(R):
                dx[m, j] += widened(dpairs[m, R + j])
        for j in range(R):
            joint[m, S + j] = rounded(dx[m, j], joint)
            dbias[j] += dx[m, j]


@compiled(fastmath=REORDERED)
def gate(z: Operand, conditioning: Floats, frames: Ints, layer: int, activations: Operand, gates: Operand) -> None:
    """Gates tanh(z[:R] + c[:R]) ⊙ σ(z[R:] + c[R:]); tanh and σ are kept as activations `(rows, 2R)`, as z is.

    c is conditioning `(frames, layers, 2R)` at a row's frame and the layer; gates are `(rows, layers, R)`.
    """
    R = gates.shape[2]
    for m in range(len(z)):
        c = conditioning[frames[m], layer]
        for j in range(R):  # beyond these limits float32 knows no difference, within them all stays finite
            a = min(max(widened(z[m, j]) + c[j], _F(-10)), _F(10))
            b = min(max(widened(z[m, R + j]) + c[R + j], _F(-40)), _F(40))
            x = exp2(a * (_F(-2) * LOG2_E)) + _F(1)  # tanh is 2 / x − 1, σ is 1 / y
            y = exp2(b * -LOG2_E) + _F(1)
            inverse = _F(1) / (x * y)
            tanh, sigmoid = (_F(2) - x) * y * inverse, x * inverse
            activations[m, j] = rounded(tanh, activations)
            activations[m, R + j] = rounded(sigmoid, activations)
            gates[m, layer, j] = rounded(tanh * sigmoid, gates)


@compiled(fastmath=REORDERED)
def gate_back(
    activations: Operand, dgates: Operand, frames: Ints, layer: int, gates: Operand, dz: Operand, dconditioning: Floats
) -> None:
    """From `gate`'s tanh and σ: its gates `(rows, R)` once more, and the gradient dz, summed for the conditioning."""
    R = gates.shape[1]
    for m in range(len(dz)):
        frame = frames[m]
        for j in range(R):
            tanh, sigmoid = widened(activations[m, j]), widened(activations[m, R + j])
            through = widened(dgates[m, j]) * sigmoid
            dz[m, j] = rounded(through * (_F(1) - tanh * tanh), dz)
            dz[m, R + j] = rounded(through * tanh * (_F(1) - sigmoid), dz)
            gates[m, j] = rounded(tanh * sigmoid, gates)
        for j in range(2 * R):
            dconditioning[frame, layer, j] += widened(dz[m, j])


@compiled(fastmath=REORDERED)
def advance(x: Floats, onward: Operand, bias: Floats, inputs: Operand, start: int) -> None:
    """X + onward + bias replaces x `(rows, R)`, and goes to the next layer's inputs `(time, R)`."""
    for m in range(len(x)):
        for j in range(len(bias)):
            x[m, j] += widened(onward[m, j]) + bias[j]
            inputs[start + m, j] = rounded(x[m, j], inputs)


@compiled(fastmath=REORDERED)
def rectify(x: Operand, bias: Floats) -> None:
    """max(x + bias, 0) replaces x `(rows, S)`."""
    for m in range(len(x)):
        for j in range(len(bias)):
            x[m, j] = rounded(max(widened(x[m, j]) + bias[j], _F(0)), x)


@compiled(fastmath=REORDERED)
def rectify_back(dx: Operand, x: Operand, before: Operand, dbias: Floats) -> None:
    """From the gradient dx behind `rectify`, which made x, that before it: the first S columns of `before`."""
    for m in range(len(x)):
        for j in range(len(dbias)):
            d = widened(dx[m, j]) * _F(widened(x[m, j]) > 0)
            before[m, j] = rounded(d, before)
            dbias[j] += d


@compiled(fastmath=REORDERED)
def cross_entropy(logits: Operand, bias: Floats, targets: Ints, scale: float, dbias: Floats) -> float:
    """Sum of −ln softmax(logits + bias)[target] over rows and bands; logits become its gradient times scale.

    Logits `(rows, bands · classes)`, targets `(rows, bands)`: columns, each within its band's classes.
    """
    bands = targets.shape[1]
    classes = len(bias) // bands
    total, row = 0.0, np.empty(classes, np.float32)
    for m in range(len(logits)):
        for first in range(0, len(bias), classes):
            for c in range(classes):
                row[c] = widened(logits[m, first + c]) + bias[first + c]
            shift, target = _largest(row), targets[m, first // classes] - first
            total -= row[target] - shift
            weights = _F(0)
            for c in range(classes):
                row[c] = exp2(max((row[c] - shift) * LOG2_E, _F(-120)))
                weights += row[c]
            total += np.log(np.float64(weights))
            factor = _F(scale) / weights
            for c in range(classes):
                row[c] *= factor
            row[target] -= _F(scale)
            for c in range(classes):
                logits[m, first + c] = rounded(row[c], logits)
                dbias[first + c] += row[c]
    return total


@compiled(fastmath={"nnan", "nsz"})  # without NaN a maximum may be taken in any order: many elements at once
def _largest(row: Floats) -> float:
    highest = row[0]
    for c in range(1, len(row)):
        highest = max(highest, row[c])
    return highest
