"""The sampling kernels' parts against plain NumPy: products, packed weights, activations, exponential, gate."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numba import njit

from audio_vq.kernels import compiling, sampling, weights
from audio_vq.kernels.arithmetic import exp2
from audio_vq.kernels.dots import PANEL, multiply

KINDS = pytest.mark.parametrize("activations", [np.float32, np.int16])


def numbers(rng, shape, dtype):
    """Floats, or whole numbers with the largest among them."""
    if dtype == np.float32:
        return rng.standard_normal(shape).astype(np.float32)
    return rng.choice([-127, 127, *range(-126, 127)], shape).astype(dtype)


@KINDS
@pytest.mark.parametrize("outputs", [32, 64, 96, 160])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7])
def test_product_equals_plain_numpy(activations, outputs, rows):
    """On any processor: int16 is the portable kind. Buffers are wider than what a product takes and makes."""
    rng = np.random.default_rng(outputs + rows)
    whole = activations == np.int16
    matrices = numbers(rng, (3, 40, outputs), np.int8 if whole else np.float32)
    x = numbers(rng, (rows, 48), activations)
    starts = numbers(rng, (3, outputs), np.int32 if whole else np.float32)
    sums = np.zeros((rows, outputs + 5), starts.dtype)
    multiply(sums, x, weights._panels(matrices, matrices.dtype, 2 if whole else 1), starts, 1)
    expected = starts[1] + x[:, :40].astype(np.float64) @ matrices[1].astype(np.float64)
    # whole numbers are exact; floats are rounded to a relative 2^-24 of at most a few tens, 40 times
    np.testing.assert_allclose(sums[:, :outputs], expected, rtol=0, atol=0 if whole else 40 * 2**-24 * 40)
    assert not sums[:, outputs:].any()


@KINDS
def test_a_row_is_the_same_alone_and_in_company(activations):
    rng = np.random.default_rng(0)
    whole = activations == np.int16
    matrices = numbers(rng, (1, 64, 96), np.int8 if whole else np.float32)
    panels = weights._panels(matrices, matrices.dtype, 2 if whole else 1)
    x = numbers(rng, (7, 64), activations)
    starts = np.zeros((1, 96), np.int32 if whole else np.float32)
    together = np.zeros((7, 96), starts.dtype)
    multiply(together, x, panels, starts, 0)
    for r in range(7):
        alone = np.zeros((1, 96), starts.dtype)
        multiply(alone, x[r : r + 1], panels, starts, 0)
        np.testing.assert_array_equal(alone[0], together[r])


@pytest.mark.parametrize(("integer", "zero"), [(np.int16, 0), (np.uint8, 128)])
def test_both_kinds_of_whole_numbers_make_the_same_sums(integer, zero, monkeypatch):
    """As laid out for VNNI and for other processors, multiplied by NumPy: Σ q w of −127 … 127 both times."""
    monkeypatch.setattr(weights, "INTEGER", integer)
    monkeypatch.setattr(weights, "ZERO", zero)
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((1, 32, 64)).astype(np.float32)
    packed = weights.pack(matrix, "int8")
    q = numbers(rng, 32, np.int64)
    word = 4 // np.dtype(integer).itemsize
    assert packed.weights.shape == (1, 64 // PANEL, 32 // word, PANEL, word)
    words = (q + zero).astype(integer).astype(np.int64).reshape(-1, word)
    sums = packed.starts[0] + np.einsum("wi,pwoi->po", words, packed.weights[0].astype(np.int64)).ravel()
    rounded = np.rint(matrix[0] / (np.abs(matrix[0]).max(0) / np.float32(127)))
    np.testing.assert_array_equal(sums, q @ rounded.astype(np.int64))


def test_vnni_instructions_are_made_for_processors_that_have_them(tmp_path):
    """Compiled for another processor than this, and not run."""
    code = (
        "from numba import int32, int64, int8, types, uint8\n"
        "from audio_vq.kernels.dots import INTEGER, multiply\n"
        "assert INTEGER.__name__ == 'uint8', INTEGER\n"
        "multiply.compile((int32[:, ::1], uint8[:, ::1], types.Array(int8, 5, 'C'), int32[:, ::1], int64))\n"
        "(assembly,) = multiply.inspect_asm().values()\n"
        "print(assembly.count('vpdpbusd'))\n"
    )
    features = "+avx2,+fma,+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512vnni"
    settings = {"NUMBA_CPU_NAME": "znver4", "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) >= 4 + 8 + 2  # sums of the three tiles


@pytest.mark.parametrize("terms", [1, 2])
def test_int8_weights_are_nearest_and_a_second_term_takes_what_is_left(terms):
    matrix = np.random.default_rng(0).standard_normal((2, 32, 64)).astype(np.float32)
    packed = weights.pack(matrix, "int8", terms)
    inputs_first = packed.weights.transpose(0, 2, 4, 1, 3).reshape(2, 32, terms, 64)
    scales = packed.scales.astype(np.float64) * 127  # that of activations of size 1 is in them
    kept = (inputs_first * scales[:, None]).sum(2)
    steps = np.abs(matrix).max(1, keepdims=True) / 127
    assert (np.abs(kept - matrix) <= steps * 0.5001 / 254 ** (terms - 1)).all()
    assert (np.abs(kept - matrix) > steps * 0.4 / 254 ** (terms - 1)).any()


@pytest.mark.parametrize("kind", [np.float32, weights.INTEGER])
def test_activations_are_nearest_and_silence_is_silence(kind):
    rng = np.random.default_rng(0)
    for x in np.stack([rng.standard_normal(64), 1e-6 * rng.standard_normal(64), np.zeros(64)]).astype(np.float32):
        row = np.full(70, 9, kind)
        top = sampling._peak(row, x)
        sampling._store(row, 3, x, top)
        assert (row[:3] == 9).all() and (row[67:] == 9).all()
        if kind == np.float32:
            assert top == 1
            np.testing.assert_array_equal(row[3:67], x)
        else:
            assert top == max(np.abs(x).max(), np.float32(1e-30))
            kept = (row[3:67] - sampling.ZERO) * (top / 127)
            assert (np.abs(kept - x) <= top / 127 * 0.5001).all()


def test_exponential():
    @njit
    def powers(x):
        return np.array([exp2(each) for each in x])

    x = np.linspace(-126, 126, 100_001, dtype=np.float32)
    # seven terms leave (ln 2 / 2)^8 / 8! = 5e-9, rounding a few times 2^-24
    assert np.abs(powers(x) / np.exp2(x.astype(np.float64)) - 1).max() < 2e-7


def test_gate_equals_tanh_times_sigmoid():
    z = np.concatenate([np.linspace(-100, 100, 4000), np.linspace(100, -100, 4000) ** 3]).astype(np.float32)
    a, b = np.split(z.astype(np.float64), 2)
    half = z / 2  # half of it comes as conditioning
    memory = sampling.Memory(
        activations=np.zeros((1, 4000), np.float32),
        scales=np.ones(1, np.float32),
        sums=half[None].copy(),
        x=np.zeros((1, 1), np.float32),
        gate=np.zeros(4000, np.float32),
        hidden=np.zeros((1, 1), np.float32),
        logits=np.zeros((1, 1), np.float32),
        weights=np.zeros(1, np.float32),
        candidates=np.zeros(1, np.float32),
    )
    sampling._gate(memory, np.ones((1, 1, 8000), np.float32), half[None, None, None], 0, 0)
    exact = np.tanh(a) / (1 + np.exp(-np.clip(b, -700, 700)))
    np.testing.assert_allclose(memory.activations[0], exact, atol=5e-7)


def test_compiled_code_is_forgotten_when_any_kernel_changes(monkeypatch):
    def index_file():
        return compiling._KernelCache(sampling.sample.py_func)._cache_file._index_name

    before = index_file()
    assert index_file() == before
    monkeypatch.setattr(compiling, "_DIGEST", "another")
    assert index_file() != before
