"""Vector instructions for numba kernels, written as LLVM vector code: of the project, only this file looks like this.

Every function here works on whole vectors of 16 floats, whatever the machine's own width: LLVM turns them into one
AVX-512 register or two of AVX2. Operands are plain addresses: an array as an argument of an inner function costs numba
a dozen words and an atomic count of references. Nothing is bounds-checked; the callers keep all sizes multiples of
`ALIGNMENT`.

Three formats of weights (see `packing.py`), told apart by the type of the argument `kind`, whose value does not matter:

    float32   exact
    uint32    two bfloat16 in a word
    int8      with a scale per output; activations are then bytes (value + 128) with a scale per row
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from audio_vq.kernels.cpu import HAS_AVX512, HAS_VNNI

LANES = 16
ALIGNMENT = 32  # channels are padded to a multiple of it: 16 words of bfloat16 pairs hold 32 outputs

_FLOAT, _INT8, _INT32, _INT64 = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)
_FLOATS, _INTS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT32, LANES)
_FAST = ("fast",)  # for element-wise functions only: sums keep their order, so that results do not depend on company
_UNROLL = 4
_LOG2_E = 1 / math.log(2)

Vector = Any  # an LLVM value of 16 lanes
Body = Callable[[ir.Value, Sequence[Vector]], list[Vector]]


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
        types.float32: (_float32_panel, _FLOAT, _FLOAT),
        types.uint32: (_bfloat16_panel, _FLOAT, _INT32),
        types.int8: (_int8_panel, _INT8, _INT8),
    }[kind]
    size, count = vectors.literal_value, columns.literal_value

    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        y, y_stride, weights, scales, x, x_stride, inputs, row_scales = args[3:]
        operands = _Operands(
            y=[_pointer(b, b.add(y, b.mul(y_stride, _index(c))), _FLOAT) for c in range(count)],
            x=[_pointer(b, b.add(x, b.mul(x_stride, _index(c))), element) for c in range(count)],
            weights=_pointer(b, weights, word),
            scales=_pointer(b, scales, _FLOAT),
            row_scales=_pointer(b, row_scales, _FLOAT),
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
        panel = b.gep(operands.weights, [b.mul(i, _index(LANES * size))])
        return [_load(b, _at(b, panel, LANES * j), _FLOATS) for j in range(size)]

    _float_panel(b, operands, size, weights)


def _bfloat16_panel(b: ir.IRBuilder, operands: _Operands, size: int) -> None:
    """Low halves of 16 words are outputs 32 j …, high halves outputs 32 j + 16 …; see `packing.pack_pairs`."""

    def weights(i: ir.Value) -> list[Vector]:
        panel = b.gep(operands.weights, [b.mul(i, _index(LANES * size // 2))])
        out = []
        for j in range(size // 2):
            words = _load(b, _at(b, panel, LANES * j), _INTS)
            out += [b.bitcast(b.shl(words, _constant(_INTS, 16)), _FLOATS), b.bitcast(words, _FLOATS)]
        return out

    _float_panel(b, operands, size, weights)


def _float_panel(b: ir.IRBuilder, operands: _Operands, size: int, weights: Callable[[ir.Value], list[Vector]]) -> None:
    """Sums over the inputs one after another; `weights` gives those of an input, `size` vectors."""
    sums = [_load(b, _at(b, row, LANES * j), _FLOATS) for row in operands.y for j in range(size)]

    def body(k: ir.Value, sums: Sequence[Vector]) -> list[Vector]:
        out = list(sums)
        for u in range(_UNROLL):
            i = b.add(b.mul(k, _index(_UNROLL)), _index(u))
            vectors = weights(i)
            for c, row in enumerate(operands.x):
                x = _splat(b, b.load(b.gep(row, [i])))
                for j in range(size):
                    out[c * size + j] = _fma(b, vectors[j], x, out[c * size + j])
        return out

    for i, total in enumerate(_loop(b, b.sdiv(operands.inputs, _index(_UNROLL)), sums, body)):
        _store(b, total, _at(b, operands.y[i // size], LANES * (i % size)))


def _int8_panel(b: ir.IRBuilder, operands: _Operands, size: int) -> None:
    """Exact sums of integers, Σ (w + 128) x; then y += row scale · output scale · (sum − 128 Σ x)."""
    dot4 = _dot4_vnni if HAS_VNNI else _dot4_madd

    def body(k: ir.Value, sums: Sequence[Vector]) -> list[Vector]:
        out = list(sums)
        panel = b.gep(operands.weights, [b.mul(k, _index(4 * LANES * size))])
        for c, row in enumerate(operands.x):
            four = b.gep(row, [b.mul(k, _index(4))])
            for j in range(size):
                out[c * size + j] = dot4(b, out[c * size + j], _at(b, panel, 4 * LANES * j), four)
        return out

    zeros = [_constant(_INTS, 0)] * (size * len(operands.x))
    sums = _loop(b, b.sdiv(operands.inputs, _index(4)), zeros, body)
    output_scales = [_load(b, _at(b, operands.scales, LANES * j), _FLOATS) for j in range(size)]
    for i, total in enumerate(sums):
        c, j = divmod(i, size)
        scale = b.fmul(_splat(b, b.load(_at(b, operands.row_scales, 2 * c))), output_scales[j])
        shift = _splat(b, b.bitcast(b.load(_at(b, operands.row_scales, 2 * c + 1)), _INT32))
        place = _at(b, operands.y[c], LANES * j)
        exact = b.sitofp(b.sub(total, shift), _FLOATS)
        _store(b, _fma(b, exact, scale, _load(b, place, _FLOATS)), place)


def _dot4_vnni(b: ir.IRBuilder, total: Vector, weights: ir.Value, four: ir.Value) -> Vector:
    """total[o] += Σ_{i<4} weights[o, i] · four[i] in one instruction: unsigned weights, signed activations."""
    many = ir.VectorType(_INT8, 4 * LANES)
    x = b.bitcast(_splat(b, b.load(b.bitcast(four, _INT32.as_pointer()), align=1)), many)
    dot = _declare(b, "llvm.x86.avx512.vpdpbusd.512", _INTS, [_INTS, many, many])
    return b.call(dot, [total, _load(b, weights, many), x])


def _dot4_madd(b: ir.IRBuilder, total: Vector, weights: ir.Value, four: ir.Value) -> Vector:
    """The same integers with AVX2: bytes widened to 16 bits, products of neighbours added."""
    short = ir.IntType(16)
    shorts = ir.VectorType(short, LANES)
    madd = _declare(b, "llvm.x86.avx2.pmadd.wd", ir.VectorType(_INT32, LANES // 2), [shorts, shorts])
    x = b.sext(_load(b, four, ir.VectorType(_INT8, 4)), ir.VectorType(short, 4))
    x = b.shuffle_vector(x, ir.Constant(x.type, ir.Undefined), _mask([0, 1, 2, 3] * (LANES // 4)))
    quarters = []  # each 4 outputs, two partial sums for each
    for q in range(4):
        w = b.zext(_load(b, _at(b, weights, LANES * q), ir.VectorType(_INT8, LANES)), shorts)
        quarters.append(b.call(madd, [w, x]))
    low, high = (b.shuffle_vector(quarters[i], quarters[i + 1], _mask(range(LANES))) for i in (0, 2))
    even = b.shuffle_vector(low, high, _mask(range(0, 2 * LANES, 2)))
    odd = b.shuffle_vector(low, high, _mask(range(1, 2 * LANES, 2)))
    return b.add(total, b.add(even, odd))


@intrinsic
def store_activations(typing: Any, kind: Any, q: Any, q_scale: Any, x: Any, count: Any) -> Any:
    """Copies `count` floats from address x to address q in the format of `kind`.

    For int8, bytes round(x / scale) with scale = max |x| / 127; at q_scale the scale and 128 Σ bytes (an int32).
    """

    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        kind, (_, q, q_scale, x, count) = sig.args[0], args
        source, blocks = _pointer(b, x, _FLOAT), b.sdiv(count, _index(LANES))
        if kind != types.int8:
            cgutils.raw_memcpy(b, _pointer(b, q, _FLOAT), source, count, 4, align=1)
            return context.get_dummy_value()

        def value(k: ir.Value) -> Vector:
            return _load(b, b.gep(source, [b.mul(k, _index(LANES))]), _FLOATS)

        def largest(k: ir.Value, most: Sequence[Vector]) -> list[Vector]:
            size = _unary(b, "fabs", value(k))
            return [b.select(b.fcmp_ordered(">", size, most[0]), size, most[0])]

        (most,) = _loop(b, blocks, [_constant(_FLOATS, 0.0)], largest)
        peak = _maximum(b, most)
        silent = b.fcmp_ordered("==", peak, ir.Constant(_FLOAT, 0.0))
        inverse = _splat(b, b.fdiv(ir.Constant(_FLOAT, 127.0), b.select(silent, ir.Constant(_FLOAT, 1.0), peak)))
        target = _pointer(b, q, _INT8)

        def store(k: ir.Value, sums: Sequence[Vector]) -> list[Vector]:
            whole = b.fptosi(_unary(b, "rint", b.fmul(value(k), inverse)), _INTS)
            _store(b, b.trunc(whole, ir.VectorType(_INT8, LANES)), b.gep(target, [b.mul(k, _index(LANES))]))
            return [b.add(sums[0], whole)]

        _store_scale(
            b, q_scale, b.fmul(peak, ir.Constant(_FLOAT, 1 / 127)), _loop(b, blocks, [_constant(_INTS, 0)], store)[0]
        )
        return context.get_dummy_value()

    return types.void(kind, *[types.int64] * 4), generate


@intrinsic
def gate(typing: Any, kind: Any, g: Any, g_scale: Any, z: Any, count: Any) -> Any:
    """g[r] = tanh(z[r]) · σ(z[count + r]) for r < count, as `store_activations` stores it, with a scale of 1 / 127."""

    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        kind, (_, g, g_scale, z, count) = sig.args[0], args
        source, blocks = _pointer(b, z, _FLOAT), b.sdiv(count, _index(LANES))
        target = _pointer(b, g, _INT8 if kind == types.int8 else _FLOAT)

        def store(k: ir.Value, sums: Sequence[Vector]) -> list[Vector]:
            place = b.mul(k, _index(LANES))
            tanh = _load(b, b.gep(source, [place]), _FLOATS)
            sigmoid = _load(b, b.gep(source, [b.add(place, count)]), _FLOATS)
            value = gate_value(b, tanh, sigmoid, 5 if kind == types.int8 else 7)
            if kind != types.int8:
                _store(b, value, b.gep(target, [place]))
                return list(sums)
            whole = b.fptosi(_unary(b, "rint", b.fmul(value, _constant(_FLOATS, 127.0))), _INTS)
            _store(b, b.trunc(whole, ir.VectorType(_INT8, LANES)), b.gep(target, [place]))
            return [b.add(sums[0], whole)]

        (sums,) = _loop(b, blocks, [_constant(_INTS, 0)], store)
        if kind == types.int8:
            _store_scale(b, g_scale, ir.Constant(_FLOAT, 1 / 127), sums)
        return context.get_dummy_value()

    return types.void(kind, *[types.int64] * 4), generate


def _store_scale(b: ir.IRBuilder, address: ir.Value, scale: ir.Value, sums: Vector) -> None:
    """A row's scale and 128 Σ bytes, side by side."""
    add = _declare(b, f"llvm.vector.reduce.add.v{LANES}i32", _INT32, [_INTS])
    b.store(scale, _pointer(b, address, _FLOAT), align=4)
    shift = b.shl(b.call(add, [sums]), ir.Constant(_INT32, 7))
    b.store(shift, _pointer(b, b.add(address, _index(4)), _INT32), align=4)


@intrinsic
def add_row(typing: Any, y: Any, x: Any, count: Any) -> Any:
    """y[: count] += x[: count], floats at two addresses."""
    return _elementwise(lambda b, y, x: b.fadd(y, x))


@intrinsic
def relu(typing: Any, y: Any, x: Any, count: Any) -> Any:
    """y[: count] = max(x[: count], 0), floats at two addresses."""
    zero = _constant(_FLOATS, 0.0)
    return _elementwise(lambda b, _, x: b.select(b.fcmp_ordered(">", x, zero), x, zero))


def _elementwise(function: Callable[[ir.IRBuilder, Vector, Vector], Vector]) -> Any:
    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        target, source = _pointer(b, args[0], _FLOAT), _pointer(b, args[1], _FLOAT)
        with cgutils.for_range(b, b.sdiv(args[2], _index(LANES))) as loop:
            place = b.mul(loop.index, _index(LANES))
            out = b.gep(target, [place])
            _store(b, function(b, _load(b, out, _FLOATS), _load(b, b.gep(source, [place]), _FLOATS)), out)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


@intrinsic
def copy_bytes(typing: Any, target: Any, source: Any, count: Any) -> Any:
    """Copies `count` bytes from one address to another."""

    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        cgutils.raw_memcpy(b, _pointer(b, args[0], _INT8), _pointer(b, args[1], _INT8), args[2], 1, align=1)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


@intrinsic
def read_int(typing: Any, address: Any) -> Any:
    """The int64 at an address."""

    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        return b.load(_pointer(b, args[0], _INT64))

    return types.int64(types.int64), generate


@intrinsic
def write_int(typing: Any, address: Any, value: Any) -> Any:
    """Puts an int64 at an address."""

    def generate(context: Any, b: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        b.store(args[1], _pointer(b, args[0], _INT64))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def gate_value(b: ir.IRBuilder, tanh: Vector, sigmoid: Vector, terms: int = 7) -> Vector:
    """tanh(a) · σ(c) = (1 − e^−2a) / ((1 + e^−2a) (1 + e^−c)): two exponentials and one division."""
    one = _constant(_FLOATS, 1.0)
    ea = exponential2(b, b.fmul(_clamp(b, tanh, 15.0), _constant(_FLOATS, -2 * _LOG2_E)), terms)
    ec = exponential2(b, b.fmul(_clamp(b, sigmoid, 30.0), _constant(_FLOATS, -_LOG2_E)), terms)
    above = b.fadd(one, ea)
    return b.fdiv(b.fsub(one, ea), _fma(b, above, ec, above))


def exponential2(b: ir.IRBuilder, x: Vector, terms: int = 7) -> Vector:
    """2^x for |x| < 120: 2^n with n = round(x) by the exponent's bits, the rest by `terms` of Taylor's series.

    Relative error 2e-7 with 7 terms, 1e-5 with 5.
    """
    n = _unary(b, "rint", x)
    r = b.fsub(x, n)  # exact, |r| ≤ 1/2
    factors = [math.log(2) ** i / math.factorial(i) for i in range(terms, -1, -1)]
    p = _constant(_FLOATS, factors[0])
    for factor in factors[1:]:
        p = _fma(b, p, r, _constant(_FLOATS, factor))
    if HAS_AVX512:
        scale = _declare(
            b, "llvm.x86.avx512.mask.scalef.ps.512", _FLOATS, [_FLOATS, _FLOATS, _FLOATS, ir.IntType(16), _INT32]
        )
        return b.call(scale, [p, n, p, ir.Constant(ir.IntType(16), 0xFFFF), ir.Constant(_INT32, 4)])
    power = b.shl(b.add(b.fptosi(n, _INTS), _constant(_INTS, 127)), _constant(_INTS, 23))
    return b.fmul(p, b.bitcast(power, _FLOATS))


def _clamp(b: ir.IRBuilder, x: Vector, bound: float) -> Vector:
    low, high = _constant(_FLOATS, -bound), _constant(_FLOATS, bound)
    x = b.select(b.fcmp_ordered("<", x, low), low, x)
    return b.select(b.fcmp_ordered(">", x, high), high, x)


def _maximum(b: ir.IRBuilder, x: Vector) -> ir.Value:
    reduce = _declare(b, f"llvm.vector.reduce.fmax.v{LANES}f32", _FLOAT, [_FLOATS])
    return b.call(reduce, [x], fastmath=_FAST)


def _fma(b: ir.IRBuilder, x: Vector, y: Vector, z: Vector) -> Vector:
    return b.call(_declare(b, f"llvm.fma.v{LANES}f32", _FLOATS, [_FLOATS] * 3), [x, y, z])


def _unary(b: ir.IRBuilder, name: str, x: Vector) -> Vector:
    return b.call(_declare(b, f"llvm.{name}.v{LANES}f32", _FLOATS, [_FLOATS]), [x])


def _declare(b: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
    return cgutils.get_or_insert_function(b.module, ir.FunctionType(result, arguments), name)


def _loop(b: ir.IRBuilder, count: ir.Value, first: Sequence[Vector], body: Body) -> list[Vector]:
    """`for k in range(count): values = body(k, values)`, at least once, with the values in registers throughout."""
    before, head, end = b.block, b.append_basic_block("body"), b.append_basic_block("end")
    b.branch(head)
    b.position_at_end(head)
    k = b.phi(_INT64)
    k.add_incoming(_index(0), before)
    values = []
    for value in first:
        phi = b.phi(value.type)
        phi.add_incoming(value, before)
        values.append(phi)
    results = body(k, values)
    following = b.add(k, _index(1))
    k.add_incoming(following, b.block)
    for phi, result in zip(values, results, strict=True):
        phi.add_incoming(result, b.block)
    b.cbranch(b.icmp_signed("<", following, count), head, end)
    b.position_at_end(end)
    return results


def _pointer(b: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    return b.inttoptr(address, kind.as_pointer())


def _at(b: ir.IRBuilder, pointer: ir.Value, offset: int) -> ir.Value:
    return b.gep(pointer, [_index(offset)])


def _load(b: ir.IRBuilder, pointer: ir.Value, kind: ir.Type) -> Vector:
    return b.load(b.bitcast(pointer, kind.as_pointer()), align=1)


def _store(b: ir.IRBuilder, value: Vector, pointer: ir.Value) -> None:
    b.store(value, b.bitcast(pointer, value.type.as_pointer()), align=1)


def _splat(b: ir.IRBuilder, value: ir.Value) -> Vector:
    kind = ir.VectorType(value.type, LANES)
    one = b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_INT32, 0))
    return b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), _mask([0] * LANES))


def _mask(lanes: Sequence[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(_INT32, len(lanes)), list(lanes))


def _constant(kind: ir.VectorType, value: float) -> ir.Constant:
    return ir.Constant(kind, [value] * kind.count)


def _index(value: int) -> ir.Constant:
    return ir.Constant(_INT64, value)
