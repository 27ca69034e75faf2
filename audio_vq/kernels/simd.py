"""Vectors of 16 lanes in LLVM's words: what `panels.py` and `rows.py` are made of.

Whatever the machine's own width: LLVM turns 16 floats into one AVX-512 register or two of AVX2. `b` is the builder of
the function that is being compiled.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from audio_vq.kernels.cpu import HAS_AVX512

LANES = 16
ALIGNMENT = 32  # channels are padded to a multiple of it: 16 words of bfloat16 pairs hold 32 outputs

FLOAT, INT8, INT32, INT64 = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT32, LANES)
FAST = ("fast",)  # where only one result is possible: sums keep their order, so that none depends on company
LOG2_E = 1 / math.log(2)

Vector = Any  # an LLVM value of 16 lanes
Body = Callable[[ir.Value, Sequence[Vector]], list[Vector]]


def gate_value(b: ir.IRBuilder, tanh: Vector, sigmoid: Vector, terms: int = 7) -> Vector:
    """tanh(a) · σ(c) = (1 − e^−2a) / ((1 + e^−2a) (1 + e^−c)): two exponentials and one division."""
    one = constant(FLOATS, 1.0)
    ea = exponential2(b, b.fmul(clamp(b, tanh, 15.0), constant(FLOATS, -2 * LOG2_E)), terms)
    ec = exponential2(b, b.fmul(clamp(b, sigmoid, 30.0), constant(FLOATS, -LOG2_E)), terms)
    above = b.fadd(one, ea)
    return b.fdiv(b.fsub(one, ea), fma(b, above, ec, above))


def exponential2(b: ir.IRBuilder, x: Vector, terms: int = 7) -> Vector:
    """2^x for |x| < 120: 2^n with n = round(x) by the exponent's bits, the rest by `terms` of Taylor's series.

    Relative error 2e-7 with 7 terms, 1e-5 with 5.
    """
    n = unary(b, "rint", x)
    r = b.fsub(x, n)  # exact, |r| ≤ 1/2
    factors = [math.log(2) ** i / math.factorial(i) for i in range(terms, -1, -1)]
    p = constant(FLOATS, factors[0])
    for factor in factors[1:]:
        p = fma(b, p, r, constant(FLOATS, factor))
    if HAS_AVX512:
        scale = declare(
            b, "llvm.x86.avx512.mask.scalef.ps.512", FLOATS, [FLOATS, FLOATS, FLOATS, ir.IntType(16), INT32]
        )
        return b.call(scale, [p, n, p, ir.Constant(ir.IntType(16), 0xFFFF), ir.Constant(INT32, 4)])
    power = b.shl(b.add(b.fptosi(n, INTS), constant(INTS, 127)), constant(INTS, 23))
    return b.fmul(p, b.bitcast(power, FLOATS))


def clamp(b: ir.IRBuilder, x: Vector, bound: float) -> Vector:
    low, high = constant(FLOATS, -bound), constant(FLOATS, bound)
    x = b.select(b.fcmp_ordered("<", x, low), low, x)
    return b.select(b.fcmp_ordered(">", x, high), high, x)


def maximum(b: ir.IRBuilder, x: Vector) -> ir.Value:
    reduce = declare(b, f"llvm.vector.reduce.fmax.v{LANES}f32", FLOAT, [FLOATS])
    return b.call(reduce, [x], fastmath=FAST)


def fma(b: ir.IRBuilder, x: Vector, y: Vector, z: Vector) -> Vector:
    return b.call(declare(b, f"llvm.fma.v{LANES}f32", FLOATS, [FLOATS] * 3), [x, y, z])


def unary(b: ir.IRBuilder, name: str, x: Vector) -> Vector:
    return b.call(declare(b, f"llvm.{name}.v{LANES}f32", FLOATS, [FLOATS]), [x])


def declare(b: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
    return cgutils.get_or_insert_function(b.module, ir.FunctionType(result, arguments), name)


def loop(
    b: ir.IRBuilder,
    count: ir.Value,
    first: Sequence[Vector],
    body: Body,
) -> list[Vector]:
    """`for k in range(count): values = body(k, values)`, at least once, with the values in registers throughout."""
    before, head, end = b.block, b.append_basic_block("body"), b.append_basic_block("end")
    b.branch(head)
    b.position_at_end(head)
    k = b.phi(INT64)
    k.add_incoming(index(0), before)
    values = []
    for value in first:
        phi = b.phi(value.type)
        phi.add_incoming(value, before)
        values.append(phi)
    results = body(k, values)
    following = b.add(k, index(1))
    k.add_incoming(following, b.block)
    for phi, result in zip(values, results, strict=True):
        phi.add_incoming(result, b.block)
    b.cbranch(b.icmp_signed("<", following, count), head, end)
    b.position_at_end(end)
    return results


def pointer(b: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    return b.inttoptr(address, kind.as_pointer())


def at(b: ir.IRBuilder, pointer: ir.Value, offset: int) -> ir.Value:
    return b.gep(pointer, [index(offset)])


def load(b: ir.IRBuilder, pointer: ir.Value, kind: ir.Type) -> Vector:
    return b.load(b.bitcast(pointer, kind.as_pointer()), align=1)


def store(b: ir.IRBuilder, value: Vector, pointer: ir.Value) -> None:
    b.store(value, b.bitcast(pointer, value.type.as_pointer()), align=1)


def splat(b: ir.IRBuilder, value: ir.Value) -> Vector:
    kind = ir.VectorType(value.type, LANES)
    one = b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(INT32, 0))
    return b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask([0] * LANES))


def mask(lanes: Sequence[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(INT32, len(lanes)), list(lanes))


def constant(kind: ir.VectorType, value: float) -> ir.Constant:
    return ir.Constant(kind, [value] * kind.count)


def index(value: int) -> ir.Constant:
    return ir.Constant(INT64, value)
