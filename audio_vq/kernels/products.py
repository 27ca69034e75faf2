"""Small matrix products for compiled code: float32, or bfloat16 where the CPU multiplies pairs of them.

A training step of the WaveNet is a hundred thousand products of some hundred rows with matrices of 32 to 256 columns.
Libraries reach a third of the machine's speed there; one block of the result kept in registers reaches nearly all.

An *operand* is what a product reads. In float32 it is the matrix itself. In bfloat16 two neighbours along
the inner dimension share an element, an int32: the instruction multiplies both and adds both products.
The element type picks the instruction, so that code written once compiles to either.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from audio_vq.kernels.compiling import REORDERED, compiled
from audio_vq.kernels.cpu import HAS_AVX512
from audio_vq.kernels.simd import FLOAT, FLOATS, INT8, INT32, LANES, declare, index, load, loop, mask, splat

Floats = npt.NDArray[np.float32]
Operand = npt.NDArray[np.float32] | npt.NDArray[np.int32]

OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": REORDERED}  # divided by zero is infinity
INNER: dict[str, Any] = OPTIONS | {"no_cpython_wrapper": True}  # called by compiled code only
# a block of the result and a row of b have to fit the registers: 32 of 16 lanes, or fewer and narrower ones
ROWS, _VECTORS = (8, 2) if HAS_AVX512 else (4, 1)  # rows come in multiples of ROWS


class _BFloat(ir.types.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


@compiled(**OPTIONS)
def add_product(out: Floats, a: Operand, b: Operand) -> None:
    """Adds a `(m, k)` @ b `(k, n)` to out `(m, n)`, with m a multiple of ROWS and n of LANES.

    Rows of b and of out lie contiguous; a may be a transposed view. Both are float32, or both pairs of bfloat16.
    """
    rows, columns = out.shape
    wide = LANES * _VECTORS
    whole = columns - columns % wide
    for column in range(0, whole, wide):
        for row in range(0, rows, ROWS):
            _add_wide_block(out, row, column, a, b)
    for column in range(whole, columns, LANES):
        for row in range(0, rows, ROWS):
            _add_narrow_block(out, row, column, a, b)


def by_columns(buffer: Operand, matrix: Floats) -> Operand:
    """Matrix `(rows, k)` as an operand that is multiplied along its columns (k is even). For compiled code.

    Only bfloat16 needs the buffer, `(rows, k / 2)`; the type of its elements says what is wanted.
    """
    raise NotImplementedError


def by_rows(buffer: Operand, matrix: Floats) -> Operand:
    """Matrix `(k, columns)` as an operand that is multiplied along its rows (k is even), for `buffer` see above."""
    raise NotImplementedError


@overload(by_columns, jit_options=OPTIONS)
def _by_columns(buffer: Any, matrix: Any) -> Any:  # noqa: ARG001 - numba's form
    def convert(buffer: Any, matrix: Any) -> Any:
        pairs, values = buffer.reshape(-1), matrix.reshape(-1)
        for i in range(len(pairs) // LANES):  # neighbours share an element as they lie
            _store_in_order(pairs, LANES * i, values, 2 * LANES * i, 2 * LANES * i + LANES)
        return buffer

    return convert if buffer.dtype == types.int32 else _itself


@overload(by_rows, jit_options=OPTIONS)
def _by_rows(buffer: Any, matrix: Any) -> Any:  # noqa: ARG001 - numba's form
    def convert(buffer: Any, matrix: Any) -> Any:
        pairs, values = buffer.reshape(-1), matrix.reshape(-1)
        rows, columns = buffer.shape
        for row in range(rows):
            for column in range(0, columns, LANES):
                even = 2 * row * columns + column
                _store_in_turns(pairs, row * columns + column, values, even, even + columns)
        return buffer

    return convert if buffer.dtype == types.int32 else _itself


def _itself(buffer: Any, matrix: Any) -> Any:  # noqa: ARG001
    return matrix


@intrinsic
def _add_wide_block(_typing: Any, out: Any, row: Any, column: Any, a: Any, b: Any) -> Any:  # noqa: ARG001 - numba's form
    return types.void(out, types.int64, types.int64, a, b), _block_of(_VECTORS)


@intrinsic
def _add_narrow_block(_typing: Any, out: Any, row: Any, column: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    return types.void(out, types.int64, types.int64, a, b), _block_of(1)


def _block_of(vectors: int) -> Any:
    """Code generator: adds ROWS × (vectors · LANES) of the product, held in registers, to `out`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.function.attributes.add("noinline")  # a copy for each of its many callers would take long to compile
        out, a, b = (context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 3, 4))
        row, column = arguments[1], arguments[2]
        element = INT32 if signature.args[4].dtype == types.int32 else FLOAT
        vector = ir.VectorType(element, LANES)
        multiply_add = _multiply_add(builder, element)
        a_stride, a_step = cgutils.unpack_tuple(builder, a.strides)  # bytes
        b_step, _ = cgutils.unpack_tuple(builder, b.strides)
        out_stride, _ = cgutils.unpack_tuple(builder, out.strides)
        depth = cgutils.unpack_tuple(builder, a.shape)[1]
        first_byte = builder.mul(column, index(4))
        out_rows = [_row(builder, out.data, builder.add(row, index(i)), out_stride, first_byte) for i in range(ROWS)]
        a_rows = [_row(builder, a.data, builder.add(row, index(i)), a_stride, index(0)) for i in range(ROWS)]
        places = [builder.gep(line, [index(64 * v)]) for line in out_rows for v in range(vectors)]
        sums = [load(builder, place, FLOATS) for place in places]

        def step(k: Any, sums: Sequence[Any]) -> list[Any]:
            b_row = _row(builder, b.data, k, b_step, first_byte)
            columns = [load(builder, builder.gep(b_row, [index(64 * v)]), vector) for v in range(vectors)]
            offset = builder.mul(k, a_step)
            factors = [splat(builder, load(builder, builder.gep(line, [offset]), element)) for line in a_rows]
            pairs = [(factor, values) for factor in factors for values in columns]
            return [multiply_add(total, *pair) for total, pair in zip(sums, pairs, strict=True)]

        for total, place in zip(loop(builder, depth, sums, step), places, strict=True):
            builder.store(total, builder.bitcast(place, FLOATS.as_pointer()), align=4)
        return context.get_dummy_value()

    return generate


def _multiply_add(builder: Any, element: Any) -> Any:
    """(sums, factor, values) → sums + factor · values, lane by lane."""
    if element is FLOAT:
        fused = ("contract",)  # one instruction where the machine has it
        return lambda sums, factor, values: builder.fadd(sums, builder.fmul(factor, values, flags=fused), flags=fused)
    operand = ir.VectorType(_BFloat(), 2 * LANES)
    name = "llvm.x86.avx512bf16.dpbf16ps.512"
    dot = declare(builder, name, FLOATS, [FLOATS, operand, operand])
    return lambda sums, factor, values: builder.call(
        dot, [sums, builder.bitcast(factor, operand), builder.bitcast(values, operand)]
    )


@intrinsic
def _store_in_order(_typing: Any, pairs: Any, at: Any, values: Any, first: Any, second: Any) -> Any:  # noqa: ARG001
    return types.void(pairs, types.int64, values, types.int64, types.int64), _conversion(range(2 * LANES))


@intrinsic
def _store_in_turns(_typing: Any, pairs: Any, at: Any, values: Any, first: Any, second: Any) -> Any:  # noqa: ARG001
    turns = [lane + half for lane in range(LANES) for half in (0, LANES)]
    return types.void(pairs, types.int64, values, types.int64, types.int64), _conversion(turns)


def _conversion(order: Iterable[int]) -> Any:
    """Code generator: LANES floats from `first` and from `second`, rounded to bfloat16, stored in this order."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.function.attributes.add("noinline")
        pairs, values = (context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2))
        low, high = (load(builder, builder.gep(values.data, [arguments[i]]), FLOATS) for i in (3, 4))
        bfloats = ir.VectorType(_BFloat(), 2 * LANES)
        convert = declare(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", bfloats, [FLOATS, FLOATS])
        halves = builder.bitcast(builder.call(convert, [high, low]), ir.VectorType(ir.IntType(16), 2 * LANES))
        ordered = builder.shuffle_vector(halves, ir.Constant(halves.type, ir.Undefined), mask(list(order)))
        place = builder.bitcast(builder.gep(pairs.data, [arguments[1]]), halves.type.as_pointer())
        builder.store(ordered, place, align=4)
        return context.get_dummy_value()

    return generate


def _row(builder: Any, data: Any, number: Any, stride: Any, first_byte: Any) -> Any:
    """Address of a row's first byte that is read."""
    start = builder.bitcast(data, INT8.as_pointer())
    return builder.gep(start, [builder.add(builder.mul(number, stride), first_byte)])
