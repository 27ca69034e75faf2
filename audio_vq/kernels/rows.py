"""What happens to rows of channels between products of the sampling step, in LLVM's vector code.

Operands are addresses, as in `panels.py`; `kind` tells the format of weights and with it that of activations.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from audio_vq.kernels.simd import (
    FLOAT,
    FLOATS,
    INT8,
    INT32,
    INT64,
    INTS,
    LANES,
    Vector,
    constant,
    declare,
    gate_value,
    index,
    load,
    loop,
    maximum,
    pointer,
    splat,
    store,
    unary,
)


@intrinsic
def store_activations(typing: Any, kind: Any, q: Any, q_scale: Any, x: Any, count: Any) -> Any:
    """Copies `count` floats from address x to address q in the format of `kind`.

    For int8, bytes round(x / scale) with scale = max |x| / 127; at q_scale the scale and 128 Σ bytes (an int32).
    """

    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        kind, (_, q, q_scale, x, count) = sig.args[0], args
        source, blocks = pointer(b, x, FLOAT), b.sdiv(count, index(LANES))
        if kind != types.int8:
            cgutils.raw_memcpy(b, pointer(b, q, FLOAT), source, count, 4, align=1)
            return context.get_dummy_value()

        def value(k: ir.Value) -> Vector:
            return load(b, b.gep(source, [b.mul(k, index(LANES))]), FLOATS)

        def largest(k: ir.Value, most: Sequence[Vector]) -> list[Vector]:
            size = unary(b, "fabs", value(k))
            return [b.select(b.fcmp_ordered(">", size, most[0]), size, most[0])]

        (most,) = loop(b, blocks, [constant(FLOATS, 0.0)], largest)
        peak = maximum(b, most)
        silent = b.fcmp_ordered("==", peak, ir.Constant(FLOAT, 0.0))
        inverse = splat(b, b.fdiv(ir.Constant(FLOAT, 127.0), b.select(silent, ir.Constant(FLOAT, 1.0), peak)))
        target = pointer(b, q, INT8)

        def store_vector(k: ir.Value, sums: Sequence[Vector]) -> list[Vector]:
            whole = b.fptosi(unary(b, "rint", b.fmul(value(k), inverse)), INTS)
            store(b, b.trunc(whole, ir.VectorType(INT8, LANES)), b.gep(target, [b.mul(k, index(LANES))]))
            return [b.add(sums[0], whole)]

        _store_scale(
            b, q_scale, b.fmul(peak, ir.Constant(FLOAT, 1 / 127)), loop(b, blocks, [constant(INTS, 0)], store_vector)[0]
        )
        return context.get_dummy_value()

    return types.void(kind, *[types.int64] * 4), generate


@intrinsic
def gate(typing: Any, kind: Any, g: Any, g_scale: Any, z: Any, count: Any) -> Any:
    """g[r] = tanh(z[r]) · σ(z[count + r]) for r < count, as `store_activations` stores it, with a scale of 1 / 127."""

    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        kind, (_, g, g_scale, z, count) = sig.args[0], args
        source, blocks = pointer(b, z, FLOAT), b.sdiv(count, index(LANES))
        target = pointer(b, g, INT8 if kind == types.int8 else FLOAT)

        def store_vector(k: ir.Value, sums: Sequence[Vector]) -> list[Vector]:
            place = b.mul(k, index(LANES))
            tanh = load(b, b.gep(source, [place]), FLOATS)
            sigmoid = load(b, b.gep(source, [b.add(place, count)]), FLOATS)
            value = gate_value(b, tanh, sigmoid, 5 if kind == types.int8 else 7)
            if kind != types.int8:
                store(b, value, b.gep(target, [place]))
                return list(sums)
            whole = b.fptosi(unary(b, "rint", b.fmul(value, constant(FLOATS, 127.0))), INTS)
            store(b, b.trunc(whole, ir.VectorType(INT8, LANES)), b.gep(target, [place]))
            return [b.add(sums[0], whole)]

        (sums,) = loop(b, blocks, [constant(INTS, 0)], store_vector)
        if kind == types.int8:
            _store_scale(b, g_scale, ir.Constant(FLOAT, 1 / 127), sums)
        return context.get_dummy_value()

    return types.void(kind, *[types.int64] * 4), generate


def _store_scale(b: ir.IRBuilder, address: ir.Value, scale: ir.Value, sums: Vector) -> None:
    """A row's scale and 128 Σ bytes, side by side."""
    add = declare(b, f"llvm.vector.reduce.add.v{LANES}i32", INT32, [INTS])
    b.store(scale, pointer(b, address, FLOAT), align=4)
    shift = b.shl(b.call(add, [sums]), ir.Constant(INT32, 7))
    b.store(shift, pointer(b, b.add(address, index(4)), INT32), align=4)


@intrinsic
def add_row(typing: Any, y: Any, x: Any, count: Any) -> Any:
    """y[: count] += x[: count], floats at two addresses."""
    return _elementwise(lambda b, y, x: b.fadd(y, x))


@intrinsic
def relu(typing: Any, y: Any, x: Any, count: Any) -> Any:
    """y[: count] = max(x[: count], 0), floats at two addresses."""
    zero = constant(FLOATS, 0.0)
    return _elementwise(lambda b, _, x: b.select(b.fcmp_ordered(">", x, zero), x, zero))


def _elementwise(function: Callable[[ir.IRBuilder, Vector, Vector], Vector]) -> Any:
    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        target, source = pointer(b, args[0], FLOAT), pointer(b, args[1], FLOAT)
        with cgutils.for_range(b, b.sdiv(args[2], index(LANES))) as loop:
            place = b.mul(loop.index, index(LANES))
            out = b.gep(target, [place])
            store(b, function(b, load(b, out, FLOATS), load(b, b.gep(source, [place]), FLOATS)), out)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


@intrinsic
def copy_bytes(typing: Any, target: Any, source: Any, count: Any) -> Any:
    """Copies `count` bytes from one address to another."""

    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        cgutils.raw_memcpy(b, pointer(b, args[0], INT8), pointer(b, args[1], INT8), args[2], 1, align=1)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


@intrinsic
def read_int(typing: Any, address: Any) -> Any:
    """The int64 at an address."""

    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        return b.load(pointer(b, args[0], INT64))

    return types.int64(types.int64), generate


@intrinsic
def write_int(typing: Any, address: Any, value: Any) -> Any:
    """Puts an int64 at an address."""

    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        b.store(args[1], pointer(b, args[0], INT64))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate
