"""Matrices laid out as `dots.multiply` reads them, in float32 or rounded to int8."""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from audio_vq.kernels.cpu import HAS_VNNI
from audio_vq.kernels.dots import INTEGER, PANEL, ZERO, Array

Floats = npt.NDArray[np.float32]
Format = Literal["float32", "int8"]

# int8 costs less than 1e-3 nats per class (`audio-vq bench CHECKPOINT --speech PREPARED`), but only products of bytes
# in one instruction are faster than those of floats throughout
FASTEST_FAITHFUL: Format = "int8" if HAS_VNNI else "float32"

LARGEST = 127  # of whole numbers that stand for weights and activations


class Matrices(NamedTuple):
    """Matrices `(inputs, outputs)`, one per layer, or sums of several terms, which lie side by side."""

    weights: Array  # (layers, terms · outputs / PANEL, words, PANEL, inputs of a word)
    starts: Array  # (layers, terms · outputs): what sums begin with
    scales: Floats  # (layers, terms, outputs): by which sums are multiplied, and by the activations' scale


def pack(matrices: Floats, precision: Format, terms: int = 1) -> Matrices:
    """Packs `(layers, inputs, outputs)`, sizes padded to `PANEL`; what a term's rounding takes is in the next term."""
    layers, _, outputs = matrices.shape
    if precision == "float32":
        ones = np.ones((layers, 1, outputs), np.float32)
        return Matrices(_panels(matrices, np.float32, 1), np.zeros((layers, outputs), np.float32), ones)
    whole, scales, rest = [], [], matrices
    for _ in range(terms):
        scales.append(np.maximum(np.abs(rest).max(1), np.float32(1e-30)) / np.float32(LARGEST))
        whole.append(np.rint(rest / scales[-1][:, None]))
        rest = rest - whole[-1] * scales[-1][:, None]
    side_by_side = np.concatenate(whole, 2)
    return Matrices(
        weights=_panels(side_by_side, np.int8, 4 // np.dtype(INTEGER).itemsize),
        starts=-ZERO * side_by_side.sum(1, dtype=np.int32),
        scales=(np.stack(scales, 1) / LARGEST).astype(np.float32),
    )


def _panels(matrices: Floats, dtype: type[np.generic], word: int) -> Array:
    layers, inputs, outputs = matrices.shape
    split = matrices.reshape(layers, inputs // word, word, outputs // PANEL, PANEL)
    return np.ascontiguousarray(split.transpose(0, 3, 1, 4, 2), dtype)
