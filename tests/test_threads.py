"""Torch's number of threads belongs to the user: nothing changes it for others, nor does any result depend on it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from test_encoding import ENCODERS, model_with, noise, source
from test_sampling import make_inputs, make_wavenet

from audio_vq.codec.decode import sample_each
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.encode import encode_sources
from audio_vq.codec.threads import lone_threads, one_thread

GIVEN = 3  # more than a laptop that tests may have: numbers only


@pytest.fixture
def given_threads():
    torch.set_num_threads(GIVEN)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model():
    return model_with(ENCODERS["filterbank"])


def in_a_new_thread():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def encoding(model, threads):
    sources = [source(str(seed), noise(50_000, seed)) for seed in range(8)]
    return encode_sources(model.codec, sources, threads=threads)


def sampling(_, threads):
    _, latents, _ = make_inputs(units=5, batch=6)
    return sample_each(make_wavenet(), latents, [0] * 6, SamplingOptions(), threads=threads)


@pytest.mark.usefixtures("given_threads")
@pytest.mark.parametrize("work", [encoding, sampling])
@pytest.mark.parametrize("threads", [None, 1, 2])
def test_the_setting_is_the_users_between_results_and_after_them(model, work, threads):
    for _ in work(model, threads):
        assert torch.get_num_threads() == in_a_new_thread() == GIVEN
    assert torch.get_num_threads() == in_a_new_thread() == GIVEN


@pytest.mark.usefixtures("given_threads")
@pytest.mark.parametrize("work", [encoding, sampling])
def test_a_dropped_iterator_leaves_what_was_set_meanwhile(model, work):
    before = threading.active_count()
    results = work(model, 2)
    next(results)
    torch.set_num_threads(2)
    results.close()
    assert torch.get_num_threads() == in_a_new_thread() == 2
    assert threading.active_count() == before


@pytest.mark.usefixtures("given_threads")
def test_a_pool_works_alone_on_each_thread():
    with lone_threads(2) as pool:
        assert torch.get_num_threads() == in_a_new_thread() == GIVEN
        assert set(pool.map(lambda _: torch.get_num_threads(), range(20))) == {1}
    with pytest.raises(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == in_a_new_thread() == GIVEN


def test_no_result_depends_on_the_number(model):
    waveform = noise(30_000)
    units = model.encode(waveform, 16000)
    expected = model.decode(units, "ben")
    torch.set_num_threads(GIVEN)
    try:
        np.testing.assert_array_equal(model.encode(waveform, 16000), units)
        np.testing.assert_array_equal(list(model.encode_stream([waveform], gain=1.0)), list(offline(model, waveform)))
        np.testing.assert_array_equal(model.decode(units, "ben"), expected)
        np.testing.assert_array_equal(np.concatenate(list(model.decode_stream(units, "ben"))), expected)
        assert torch.get_num_threads() == GIVEN
    finally:
        torch.set_num_threads(1)


def offline(model, waveform):
    return model.encode(waveform, 16000, match_level=False)
