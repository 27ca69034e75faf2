"""Matrix products of the sampling step: some rows of activations times one panel of weights, in LLVM's vector code.

Operands are plain addresses: an array as an argument of an inner function costs numba a dozen words and an atomic count
of references. Nothing is bounds-checked; the callers keep all sizes multiples of `ALIGNMENT`.

Three formats of weights (see `packing.py`), told apart by the type of the argument `kind`, whose value does not matter:

    float32   exact
    uint32    two bfloat16 in a word
    int8      with a scale per output; activations are then bytes with a scale per row, see `rows.store_activations`
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from audio_vq.kernels.cpu import HAS_VNNI
from audio_vq.kernels.simd import (
    FLOAT,
    FLOATS,
    INT8,
    INT32,
    INTS,
    LANES,
    Vector,
    at,
    constant,
    declare,
    fma,
    index,
    load,
    loop,
    mask,
    pointer,
    splat,
    store,
)

_UNROLL = 4  # inputs of a float panel at a time


@intrinsic(prefer_literal=True)
def add_panel(
    typing: Any,
    kind: Any,
    vectors: Any,
    columns: Any,
    y: Any,
    y_stride: Any,
    weights: Any,
    scales: Any,
    x: Any,
    x_stride: Any,
    inputs: Any,
    row_scales: Any,
) -> Any:
    """For c < columns: y_c[: 16 · vectors] += x_c @ panel (inputs, 16 · vectors).

    y_c lies `c · y_stride` bytes after address `y`, x_c `c · x_stride` bytes after `x`. `vectors` and `columns` are
    literals: their product is the number of sums held in registers. `scales` and `row_scales` are read for int8 only.
    """
    address = types.int64
    signature = types.void(kind, vectors, columns, *[address] * 8)
    product, element, word = {
        types.float32: (_float32_panel, FLOAT, FLOAT),
        types.uint32: (_bfloat16_panel, FLOAT, INT32),
        types.int8: (_int8_panel, INT8, INT8),
    }[kind]
    size, count = vectors.literal_value, columns.literal_value

    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        y, y_stride, weights, scales, x, x_stride, inputs, row_scales = args[3:]
        operands = _Operands(
            y=[pointer(b, b.add(y, b.mul(y_stride, index(c))), FLOAT) for c in range(count)],
            x=[pointer(b, b.add(x, b.mul(x_stride, index(c))), element) for c in range(count)],
            weights=pointer(b, weights, word),
            scales=pointer(b, scales, FLOAT),
            row_scales=pointer(b, row_scales, FLOAT),
            inputs=inputs,
        )
        product(b, operands, size)
        return context.get_dummy_value()

    return signature, generate


@dataclass(frozen=True)
class _Operands:
    """Pointers of a panel product."""

    y: list[ir.Value]  # one per column
    x: list[ir.Value]  # one per column
    weights: ir.Value
    scales: ir.Value
    row_scales: ir.Value
    inputs: ir.Value


def _float32_panel(b: ir.IRBuilder, operands: _Operands, size: int) -> None:
    def weights(i: ir.Value) -> list[Vector]:
        panel = b.gep(operands.weights, [b.mul(i, index(LANES * size))])
        return [load(b, at(b, panel, LANES * j), FLOATS) for j in range(size)]

    _float_panel(b, operands, size, weights)


def _bfloat16_panel(b: ir.IRBuilder, operands: _Operands, size: int) -> None:
    """Low halves of 16 words are outputs 32 j …, high halves outputs 32 j + 16 …; see `packing.pack_pairs`."""

    def weights(i: ir.Value) -> list[Vector]:
        panel = b.gep(operands.weights, [b.mul(i, index(LANES * size // 2))])
        out = []
        for j in range(size // 2):
            words = load(b, at(b, panel, LANES * j), INTS)
            out += [b.bitcast(b.shl(words, constant(INTS, 16)), FLOATS), b.bitcast(words, FLOATS)]
        return out

    _float_panel(b, operands, size, weights)


def _float_panel(b: ir.IRBuilder, operands: _Operands, size: int, weights: Callable[[ir.Value], list[Vector]]) -> None:
    """Sums over the inputs one after another; `weights` gives those of an input, `size` vectors."""
    sums = [load(b, at(b, row, LANES * j), FLOATS) for row in operands.y for j in range(size)]

    def body(k: ir.Value, sums: Sequence[Vector]) -> list[Vector]:
        out = list(sums)
        for u in range(_UNROLL):
            i = b.add(b.mul(k, index(_UNROLL)), index(u))
            vectors = weights(i)
            for c, row in enumerate(operands.x):
                x = splat(b, b.load(b.gep(row, [i])))
                for j in range(size):
                    out[c * size + j] = fma(b, vectors[j], x, out[c * size + j])
        return out

    for i, total in enumerate(loop(b, b.sdiv(operands.inputs, index(_UNROLL)), sums, body)):
        store(b, total, at(b, operands.y[i // size], LANES * (i % size)))


def _int8_panel(b: ir.IRBuilder, operands: _Operands, size: int) -> None:
    """Exact sums of integers, Σ (w + 128) x; then y += row scale · output scale · (sum − 128 Σ x)."""
    dot4 = _dot4_vnni if HAS_VNNI else _dot4_madd

    def body(k: ir.Value, sums: Sequence[Vector]) -> list[Vector]:
        out = list(sums)
        panel = b.gep(operands.weights, [b.mul(k, index(4 * LANES * size))])
        for c, row in enumerate(operands.x):
            four = b.gep(row, [b.mul(k, index(4))])
            for j in range(size):
                out[c * size + j] = dot4(b, out[c * size + j], at(b, panel, 4 * LANES * j), four)
        return out

    zeros = [constant(INTS, 0)] * (size * len(operands.x))
    sums = loop(b, b.sdiv(operands.inputs, index(4)), zeros, body)
    output_scales = [load(b, at(b, operands.scales, LANES * j), FLOATS) for j in range(size)]
    for i, total in enumerate(sums):
        c, j = divmod(i, size)
        scale = b.fmul(splat(b, b.load(at(b, operands.row_scales, 2 * c))), output_scales[j])
        shift = splat(b, b.bitcast(b.load(at(b, operands.row_scales, 2 * c + 1)), INT32))
        place = at(b, operands.y[c], LANES * j)
        exact = b.sitofp(b.sub(total, shift), FLOATS)
        store(b, fma(b, exact, scale, load(b, place, FLOATS)), place)


def _dot4_vnni(b: ir.IRBuilder, total: Vector, weights: ir.Value, four: ir.Value) -> Vector:
    """total[o] += Σ_{i<4} weights[o, i] · four[i] in one instruction: unsigned weights, signed activations."""
    many = ir.VectorType(INT8, 4 * LANES)
    x = b.bitcast(splat(b, b.load(b.bitcast(four, INT32.as_pointer()), align=1)), many)
    dot = declare(b, "llvm.x86.avx512.vpdpbusd.512", INTS, [INTS, many, many])
    return b.call(dot, [total, load(b, weights, many), x])


def _dot4_madd(b: ir.IRBuilder, total: Vector, weights: ir.Value, four: ir.Value) -> Vector:
    """The same integers with AVX2: bytes widened to 16 bits, products of neighbours added."""
    short = ir.IntType(16)
    shorts = ir.VectorType(short, LANES)
    madd = declare(b, "llvm.x86.avx2.pmadd.wd", ir.VectorType(INT32, LANES // 2), [shorts, shorts])
    x = b.sext(load(b, four, ir.VectorType(INT8, 4)), ir.VectorType(short, 4))
    x = b.shuffle_vector(x, ir.Constant(x.type, ir.Undefined), mask([0, 1, 2, 3] * (LANES // 4)))
    quarters = []  # each 4 outputs, two partial sums for each
    for q in range(4):
        w = b.zext(load(b, at(b, weights, LANES * q), ir.VectorType(INT8, LANES)), shorts)
        quarters.append(b.call(madd, [w, x]))
    low, high = (b.shuffle_vector(quarters[i], quarters[i + 1], mask(range(LANES))) for i in (0, 2))
    even = b.shuffle_vector(low, high, mask(range(0, 2 * LANES, 2)))
    odd = b.shuffle_vector(low, high, mask(range(1, 2 * LANES, 2)))
    return b.add(total, b.add(even, odd))
