"""A WaveNet's weights laid out for `packed_step.py`: in the order in which they are read, in one of three formats.

Every matrix (inputs, outputs) is cut into panels of up to `PANEL` vectors of outputs; a panel holds all inputs.
Channels are padded with zeros to multiples of `ALIGNMENT`.

    float32    panel (inputs, outputs)
    bfloat16   panel (inputs, outputs / 2) words: the low half of word 16 j + i is output 32 j + i, the high half output
               32 j + 16 + i. The kernel reads a whole word as the upper output: it needs no mask, and the packer
               chooses the high half so that the word is nearest
    int8       panel (inputs / 4, outputs, 4) of round(weight / scale) + 128, with a scale per output. What this
               rounding takes from the two output layers is rounded and kept as well: rounded once, they alone would
               cost three times what all others do
"""

import mmap
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from audio_vq.kernels.cpu import HAS_AVX512
from audio_vq.kernels.simd import ALIGNMENT, LANES
from audio_vq.kernels.wavenet_step import StepWeights

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Precision = Literal["float32", "bfloat16", "int8"]

PANEL = 8 if HAS_AVX512 else 4  # vectors of outputs: as many sums as fit into the registers
HUGE_PAGE = 1 << 21  # bytes
VECTOR_BYTES = {"float32": 64, "bfloat16": 32, "int8": 16}  # of the weights of 16 outputs for one input


class PackedWeights(NamedTuple):
    """One WaveNet as the kernel reads it; R and S are padded.

    `matrices` says at which bytes of `weights` and `scales` each matrix begins: for every layer the taps (the present
    one first) and [residual | skip]; then hidden, output, and what remains of these two where they are sums.
    """

    embedding: Floats  # (classes, R)
    weights: npt.NDArray[np.generic]  # float32, uint32 (pairs of bfloat16) or int8
    scales: Floats  # int8: one per output
    matrices: Ints  # (layers · (kernel + 1) + 2 · head_terms, 2)
    dilations: Ints  # (layers,), samples
    kernel_size: int
    vector_bytes: int  # of the weights of 16 outputs for one input
    head_terms: int  # an output layer's matrix is the sum of so many
    residual_bias: Floats  # (layers, R)
    skip_bias: Floats  # (S,)
    hidden_bias: Floats  # (S,)
    output_bias: Floats  # (padded classes,)


def padded(channels: int) -> int:
    return -(-channels // ALIGNMENT) * ALIGNMENT


def pack(plain: StepWeights, precision: Precision) -> PackedWeights:
    """Packs a network. `float32` keeps its weights as they are, the others round them."""
    layers, kernel_size, channels, _ = plain.taps.shape
    wide, skip = padded(channels), padded(len(plain.skip_bias))
    matrices = []
    for layer in range(layers):
        halves = plain.taps[layer].reshape(kernel_size, channels, 2, channels)
        taps = _pad(halves, (kernel_size, wide, 2, wide)).reshape(kernel_size, wide, 2 * wide)
        both = np.zeros((wide, wide + skip), np.float32)
        if layer < layers - 1:  # nothing reads the last layer's output
            both[:channels, :channels] = plain.residual[layer]
        both[:channels, wide : wide + len(plain.skip_bias)] = plain.skip[layer * channels : (layer + 1) * channels]
        matrices += [*taps, both]
    classes = padded(len(plain.output_bias))
    output_layers = [_pad(plain.hidden, (skip, skip)), _pad(plain.output, (skip, classes))]
    matrices += output_layers
    if precision == "int8":
        matrices += [matrix - _rounded_to_int8(matrix) for matrix in output_layers]
    weights, scales, places = _pack_matrices(matrices, precision)
    return PackedWeights(
        embedding=_pad(plain.embedding, (len(plain.embedding), wide)),
        weights=weights,
        scales=scales,
        matrices=places,
        dilations=plain.dilations,
        kernel_size=kernel_size,
        vector_bytes=VECTOR_BYTES[precision],
        head_terms=2 if precision == "int8" else 1,
        residual_bias=_pad(plain.residual_bias, (layers, wide)),
        skip_bias=_pad(plain.skip_bias, (skip,)),
        hidden_bias=_pad(plain.hidden_bias, (skip,)),
        output_bias=_pad(plain.output_bias, (classes,)),
    )


def _pack_matrices(matrices: list[Floats], precision: Precision) -> tuple[npt.NDArray[Any], Floats, Ints]:
    """Weights, scales, and the bytes `(matrices, 2)` at which each matrix begins in them."""
    blocks = [[_pack_panel(panel, precision) for panel in _panels(matrix)] for matrix in matrices]
    sizes = [[sum(part.nbytes for part in parts) for parts in zip(*block, strict=True)] for block in blocks]
    packed = _on_huge_pages(sum(size for size, _ in sizes), blocks[0][0][0].dtype)
    np.concatenate([weights.ravel() for block in blocks for weights, _ in block], out=packed)
    scales = np.concatenate([scales for block in blocks for _, scales in block])
    return packed, scales, np.cumsum([(0, 0), *sizes[:-1]], axis=0)


def activation_dtype(packed: PackedWeights) -> type[np.generic]:
    return np.int8 if packed.weights.dtype == np.int8 else np.float32


def padded_conditioning(conditioning: Floats) -> Floats:
    """`(…, 2R)` with both halves padded as the channels are."""
    channels = conditioning.shape[-1] // 2
    if channels == padded(channels):
        return np.ascontiguousarray(conditioning)
    halves = conditioning.reshape(*conditioning.shape[:-1], 2, channels)
    return _pad(halves, (*halves.shape[:-1], padded(channels))).reshape(*conditioning.shape[:-1], -1)


def _pad(array: Floats, shape: tuple[int, ...]) -> Floats:
    out = np.zeros(shape, np.float32)
    out[tuple(slice(size) for size in array.shape)] = array
    return out


def _panels(matrix: Floats) -> list[Floats]:
    """Column blocks of 8, 4 or 2 vectors, as the kernel takes them."""
    panels, size = [], PANEL
    while matrix.shape[1]:
        while size * LANES > matrix.shape[1]:
            size //= 2
        panels.append(matrix[:, : size * LANES])
        matrix = matrix[:, size * LANES :]
    return panels


def _pack_panel(panel: Floats, precision: Precision) -> tuple[npt.NDArray[Any], Floats]:
    """Weights, and their scales where there are any."""
    if precision == "int8":
        return _pack_int8(panel)
    return pack_pairs(panel) if precision == "bfloat16" else panel, np.zeros(0, np.float32)


def pack_pairs(panel: Floats) -> npt.NDArray[np.uint32]:
    """Rounds to bfloat16 and packs in pairs `(inputs, outputs / 2)`; see above."""
    pairs = panel.reshape(len(panel), -1, 2, LANES)
    lower, upper = np.ascontiguousarray(pairs[:, :, 0]), np.ascontiguousarray(pairs[:, :, 1])
    bits = lower.view(np.uint32).astype(np.uint64)
    low = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint32)  # to nearest, ties to even
    high = (upper.view(np.uint32) >> 16).astype(np.int64)
    candidates = np.stack([(((high + step) & 0xFFFF).astype(np.uint32) << 16) | low for step in (-1, 0, 1)])
    with np.errstate(invalid="ignore"):
        error = np.abs(candidates.view(np.float32).astype(np.float64) - upper)
    best = np.where(np.isfinite(error), error, np.inf).argmin(0)
    return np.take_along_axis(candidates, best[None], 0)[0].reshape(len(panel), -1)


def _int8_scale(matrix: Floats) -> Floats:
    """One per output."""
    return np.maximum(np.abs(matrix).max(0), np.float32(1e-30)) / np.float32(127)


def _rounded_to_int8(matrix: Floats) -> Floats:
    scale = _int8_scale(matrix)
    return np.rint(matrix / scale) * scale


def _pack_int8(panel: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    scale = _int8_scale(panel)
    unsigned = (np.rint(panel / scale) + 128).astype(np.uint8)
    fours = unsigned.reshape(len(panel) // 4, 4, -1).transpose(0, 2, 1)
    return np.ascontiguousarray(fours).view(np.int8), scale


def _on_huge_pages(length: int, dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    """An array of so many bytes, on huge pages where there are any: small ones collide in the L2 cache."""
    memory = mmap.mmap(-1, length + 2 * HUGE_PAGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a system without them: ordinary pages do
            memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, np.uint8)
    start = -whole.ctypes.data % HUGE_PAGE
    return whole[start : start + length].view(dtype)
