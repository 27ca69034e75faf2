"""The vector kernels' parts against plain NumPy: packed weights, products in all formats, activations, gate."""

import numpy as np
import pytest
from numba import njit

from audio_vq.kernels import compiling, packed_step, packing, panels, rows, simd
from audio_vq.kernels.cpu import HAS_VECTORS, HAS_VNNI

pytestmark = pytest.mark.skipif(not HAS_VECTORS, reason="no vector kernel for this processor")

KINDS = {"float32": np.float32(0), "bfloat16": np.uint32(0), "int8": np.int8(0)}
VECTOR_BYTES = {"float32": 64, "bfloat16": 32, "int8": 16}


def pack_matrix(matrix, precision):
    """Weights and scales of one matrix as `packing.pack` lays them out."""
    parts = [packing._pack_panel(panel, precision) for panel in packing._panels(matrix)]
    return np.concatenate([w.ravel() for w, _ in parts]), np.concatenate([s for _, s in parts])


def unpacked(matrix, precision):
    """What the packed weights stand for, float64."""
    if precision == "float32":
        return matrix.astype(np.float64)
    if precision == "int8":
        scale = np.abs(matrix).max(0) / 127
        return np.rint(matrix / scale) * scale.astype(np.float64)
    words = packing.pack_pairs(matrix).reshape(len(matrix), -1, simd.LANES)
    pairs = np.stack([(words << np.uint32(16)).view(np.float32), words.view(np.float32)], 2)
    return pairs.reshape(matrix.shape).astype(np.float64)


def address(array):
    return np.int64(array.ctypes.data)


def stored(x, precision):
    """Activations `(rows, inputs)` as the kernel keeps them, their scales, and what they stand for."""
    q = np.zeros(x.shape, np.int8 if precision == "int8" else np.float32)
    scales = np.zeros((len(x), 2), np.float32)
    for r in range(len(x)):
        _store(KINDS[precision], address(q[r]), address(scales[r]), address(x[r]), x.shape[1])
    if precision != "int8":
        return q, scales, q.astype(np.float64)
    return q, scales, q.astype(np.float64) * scales[:, :1].astype(np.float64)


@njit
def _store(kind, q, scales, x, count):
    rows.store_activations(kind, q, scales, x, count)


@njit
def _gate(kind, g, scales, z, count):
    rows.gate(kind, g, scales, z, count)


@pytest.mark.parametrize("precision", KINDS)
@pytest.mark.parametrize("outputs", [32, 64, 96, 128, 192, 320])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_product_equals_plain_numpy(precision, outputs, count):
    rng = np.random.default_rng(outputs + count)
    matrix = rng.standard_normal((64, outputs)).astype(np.float32)
    x = rng.standard_normal((count, 64)).astype(np.float32)
    y = rng.standard_normal((count, outputs)).astype(np.float32)
    weights, scales = pack_matrix(matrix, precision)
    q, row_scales, x_as_kept = stored(x, precision)
    expected = y + x_as_kept @ unpacked(matrix, precision)
    packed_step._add_product(
        KINDS[precision], VECTOR_BYTES[precision], address(y), 4 * outputs, outputs, address(weights), address(scales),
        address(q), q.itemsize * 64, 64, address(row_scales), count,
    )  # fmt: skip
    # 64 products and sums, each rounded to a relative 2^-24 of at most a few tens; whole numbers are exact in between
    np.testing.assert_allclose(y, expected, rtol=0, atol=64 * 2**-24 * 40)


@pytest.mark.skipif(not HAS_VNNI, reason="this processor has no VNNI to compare with")
def test_integer_products_are_the_same_without_vnni(monkeypatch):
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((96, 64)).astype(np.float32)
    weights, scales = pack_matrix(matrix, "int8")
    q, row_scales, _ = stored(rng.standard_normal((1, 96)).astype(np.float32), "int8")

    def product():
        y = np.zeros(64, np.float32)

        @njit
        def run(y, weights, scales, x, row_scales):
            panels.add_panel(np.int8(0), 4, 1, y, 0, weights, scales, x, 0, 96, row_scales)

        run(address(y), address(weights), address(scales), address(q), address(row_scales))
        return y

    fast = product()
    monkeypatch.setattr(panels, "HAS_VNNI", False)
    np.testing.assert_array_equal(product(), fast)
    assert np.abs(fast).max() > 1


def test_bfloat16_pairs_are_nearest():
    rng = np.random.default_rng(0)
    matrix = (rng.standard_normal((4, 64)) * 10.0 ** rng.integers(-6, 3, (4, 64))).astype(np.float32)
    error = np.abs(unpacked(matrix, "bfloat16") - matrix)
    # 8 bits of mantissa: half a step is at most a relative 2^-8; the upper of a pair has as wide steps
    assert (error <= np.abs(matrix) * 2**-8).all()
    assert (error > np.abs(matrix) * 2**-10).any()


def test_int8_activations_are_nearest_and_silence_is_silence():
    rng = np.random.default_rng(0)
    x = np.stack([rng.standard_normal(64), 1e-6 * rng.standard_normal(64), np.zeros(64)]).astype(np.float32)
    q, scales, kept = stored(x, "int8")
    np.testing.assert_allclose(scales[:, 0], np.abs(x).max(1) / 127, rtol=1e-6)
    assert (np.abs(kept - x) <= np.abs(x).max(1, keepdims=True) / 127 * 0.5001).all()
    np.testing.assert_array_equal(scales[:, 1].copy().view(np.int32), 128 * q.sum(1, dtype=np.int32))
    assert not q[2].any()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_gate_equals_tanh_times_sigmoid(precision):
    z = np.concatenate([np.linspace(-100, 100, 4000), np.linspace(100, -100, 4000) ** 3]).astype(np.float32)
    a, b = np.split(z.astype(np.float64), 2)
    g, scale = np.zeros(4000, np.int8 if precision == "int8" else np.float32), np.zeros(2, np.float32)
    _gate(KINDS[precision], address(g), address(scale), address(z), 4000)
    exact = np.tanh(a) / (1 + np.exp(-np.clip(b, -700, 700)))
    if precision == "int8":
        np.testing.assert_allclose(g * np.float64(scale[0]), exact, atol=0.501 / 127)
        assert scale[1:].view(np.int32)[0] == 128 * g.sum(dtype=np.int32)
    else:
        np.testing.assert_allclose(g, exact, atol=5e-7)


def test_compiled_code_is_forgotten_when_any_kernel_changes(monkeypatch):
    def index_file():
        return compiling._KernelCache(packed_step.sample.py_func)._cache_file._index_name

    before = index_file()
    assert index_file() == before
    monkeypatch.setattr(compiling, "_DIGEST", "another")
    assert index_file() != before
