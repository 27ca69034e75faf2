"""Matrix products of the sampling step: the one file that speaks LLVM, for sums that stay in registers.

Three kinds of products, by the type of the activations. A word is what a sum takes of a row at a time, four bytes:

    float32   one input, weights float32
    int16     two inputs, −127 … 127, weights int8; LLVM finds the instruction for it on most processors
    uint8     four inputs with 128 added, weights int8; where the processor has VNNI

A sum takes its inputs in their order, whatever stands beside it: a stream does not depend on its company. Those of
integers are exact, hence the same in both kinds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from audio_vq.kernels.compiling import INLINED, compiled
from audio_vq.kernels.cpu import HAS_AVX512, HAS_VNNI

LANES = 16  # outputs of a vector; LLVM takes as many registers for it as the processor needs
PANEL = 2 * LANES  # outputs whose weights lie together
ROWS = 4 if HAS_AVX512 else 2  # multiplied together: weights are loaded once for them, and their sums fit the registers

INTEGER = np.uint8 if HAS_VNNI else np.int16  # activations of int8 weights on this processor
ZERO = 128 if HAS_VNNI else 0  # what stands for an activation of 0

_FLOAT, _BYTE, _INT = ir.FloatType(), ir.IntType(8), ir.IntType(32)

Array = npt.NDArray[Any]


@compiled(**INLINED)
def multiply(sums: Array, x: Array, weights: Array, starts: Array, layer: int) -> None:
    """sums[r] = starts[layer] + x[r] @ weights[layer] for all rows r of sums.

    Sums are `(rows, ≥ outputs)`, int32 or float32, x `(rows, ≥ inputs)`, weights
    `(layers, outputs / PANEL, words, PANEL, inputs of a word)`, starts `(layers, outputs)` like sums.
    """
    rows, panels = len(sums), weights.shape[1]
    together = rows - rows % ROWS
    for panel in range(panels):
        for row in range(0, together, ROWS):
            _multiply_tile(sums, x, weights, starts, layer, panel, row, (ROWS, 1))
    for row in range(together, rows):
        for panel in range(0, panels - 1, 2):
            _multiply_tile(sums, x, weights, starts, layer, panel, row, (1, 2))
        if panels % 2:
            _multiply_tile(sums, x, weights, starts, layer, panels - 1, row, (1, 1))


@intrinsic(prefer_literal=True)
def _multiply_tile(
    _typing: Any, sums: Any, x: Any, weights: Any, starts: Any, layer: Any, panel: Any, row: Any, size: Any
) -> Any:
    """The sums of `size` = (rows, panels) from a row and a panel on, over all words."""
    row_count, panel_count = (number.literal_value for number in size)
    inputs = 32 // x.dtype.bitwidth  # of a word
    word, product = (
        (_FLOAT, _add_floats) if x.dtype == types.float32 else (_INT, _add_pairs if inputs == 2 else _add_fours)
    )
    vector = ir.VectorType(word, LANES)
    weight_vector = ir.VectorType(_FLOAT if x.dtype == types.float32 else _BYTE, LANES * inputs)

    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        arrays = [context.make_array(kind)(context, b, arg) for kind, arg in zip(sig.args[:4], args[:4], strict=True)]
        layer, panel, row = args[4:7]
        zero = layer.type(0)

        def at(array: int, kind: ir.Type, *indices: ir.Value) -> ir.Value:
            element = cgutils.get_item_pointer(context, b, sig.args[array], arrays[array], indices)
            return b.bitcast(element, kind.as_pointer())

        sums = {}
        for p in range(panel_count):
            for lane in range(0, PANEL, LANES):
                output = b.add(b.mul(b.add(panel, zero.type(p)), zero.type(PANEL)), zero.type(lane))
                for r in range(row_count):
                    sums[r, p, lane] = output, cgutils.alloca_once(b, vector)
                    b.store(b.load(at(3, vector, layer, output), align=4), sums[r, p, lane][1])
        with cgutils.for_range(b, cgutils.unpack_tuple(b, arrays[2].shape)[2]) as loop:
            first = b.mul(loop.index, zero.type(inputs))
            rows = [_splat(b, b.load(at(1, word, b.add(row, zero.type(r)), first), align=4)) for r in range(row_count)]
            for (r, p, lane), (_, total) in sums.items():
                place = layer, b.add(panel, zero.type(p)), loop.index, zero.type(lane), zero
                many = b.load(at(2, weight_vector, *place), align=4)
                b.store(product(b, b.load(total), rows[r], many), total)
        for (r, _, _), (output, total) in sums.items():
            b.store(b.load(total), at(0, vector, b.add(row, zero.type(r)), output), align=4)
        return context.get_dummy_value()

    return types.void(sums, x, weights, starts, layer, panel, row, size), generate


def _add_floats(b: ir.IRBuilder, total: ir.Value, x: ir.Value, weights: ir.Value) -> ir.Value:
    return b.fadd(b.fmul(x, weights, flags=("contract",)), total, flags=("contract",))


def _add_pairs(b: ir.IRBuilder, total: ir.Value, x: ir.Value, weights: ir.Value) -> ir.Value:
    """total[o] += Σ_{i<2} x[i] · weights[o, i]: a form that LLVM knows, one instruction (`pmaddwd`) on x86."""
    short, wide = ir.VectorType(ir.IntType(16), 2 * LANES), ir.VectorType(_INT, 2 * LANES)
    products = b.mul(b.sext(b.sext(weights, short), wide), b.sext(b.bitcast(x, short), wide))
    even, odd = (b.shuffle_vector(products, products, _lanes(range(i, 2 * LANES, 2))) for i in (0, 1))
    return b.add(total, b.add(even, odd))


def _add_fours(b: ir.IRBuilder, total: ir.Value, x: ir.Value, weights: ir.Value) -> ir.Value:
    """total[o] += Σ_{i<4} x[i] · weights[o, i] in one instruction."""
    kind = ir.FunctionType(total.type, [total.type, weights.type, weights.type])
    dot = cgutils.get_or_insert_function(b.module, kind, "llvm.x86.avx512.vpdpbusd.512")
    return b.call(dot, [total, b.bitcast(x, weights.type), weights])


def _splat(b: ir.IRBuilder, value: ir.Value) -> ir.Value:
    undefined = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    return b.shuffle_vector(b.insert_element(undefined, value, _INT(0)), undefined, _lanes([0] * LANES))


def _lanes(places: Sequence[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(_INT, len(places)), list(places))
