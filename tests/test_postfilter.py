"""The postfilter: brings noise to the spectrum that is wanted, leaves silence and what is right, however it is cut."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_vq.codec.postfilter import LIMIT_DB, Postfilter, held_back, postfiltered
from audio_vq.models.filterbank import LOG_SCALE, Filterbank

RATE = 16000
NEPERS = np.log(10) / 10 / LOG_SCALE  # of the filterbank's units in one decibel
FRAMES = 30


@pytest.fixture(scope="module")
def filterbank():
    return Filterbank(32, RATE, RATE // 100).requires_grad_(False)


def noise(frames=FRAMES, seed=0):
    return np.random.default_rng(seed).normal(size=frames * RATE // 100).astype(np.float32) * np.float32(0.05)


def spectrum_of(filterbank, waveform):
    return filterbank(torch.from_numpy(waveform)[None])[0].numpy()


def speech_like(filterbank, frames=FRAMES):
    """A smooth spectrum `(frames, filters)` with two moving peaks, 30 dB above the valleys."""
    time, place = np.mgrid[:frames, : filterbank.filters] / np.array([frames, filterbank.filters])[:, None, None]
    peaks = sum(np.exp(-(((place - centre - 0.2 * time) / 0.08) ** 2)) for centre in (0.2, 0.5))
    return -0.7 + 30 * NEPERS * peaks


def test_energies_by_responses_are_the_filterbanks(filterbank):
    waveform = noise(400)
    power = np.square(np.abs(np.fft.rfft(waveform)))
    responses = filterbank.responses(len(waveform)).numpy()
    energies = responses @ power / len(waveform) ** 2
    expected = np.log(np.exp(spectrum_of(filterbank, waveform)[2:-2] * LOG_SCALE - 12).mean(0))
    np.testing.assert_allclose(np.log(energies), expected, atol=0.15)


def test_noise_comes_to_the_spectrum(filterbank):
    waveform, wanted = noise(), speech_like(filterbank)
    before = spectrum_of(filterbank, waveform) - wanted
    after = spectrum_of(filterbank, postfiltered(filterbank, waveform, wanted)) - wanted
    assert np.abs(before).mean() / NEPERS > 8  # dB
    assert np.abs(after)[2:-2].mean() / NEPERS < 2.5


def test_what_is_right_stays(filterbank):
    """White noise whose own spectrum is said, smoothed by nothing: each frame's gains are near one."""
    waveform = noise()
    same = postfiltered(filterbank, waveform, spectrum_of(filterbank, waveform))
    assert np.corrcoef(waveform, same)[0, 1] > 0.95
    louder = postfiltered(filterbank, waveform, spectrum_of(filterbank, waveform) + 6 * NEPERS)
    assert 20 * np.log10(louder.std() / same.std()) == pytest.approx(6, abs=0.2)


def test_silence_stays_silent(filterbank):
    silence = np.zeros(FRAMES * RATE // 100, np.float32)
    assert not postfiltered(filterbank, silence, speech_like(filterbank) + 3).any()


def test_gains_have_a_limit(filterbank):
    waveform = noise() / 100
    loud = postfiltered(filterbank, waveform, np.full((FRAMES, filterbank.filters), 2.0))
    gain_db = 20 * np.log10(loud.std() / waveform.std())
    assert gain_db == pytest.approx(LIMIT_DB, abs=0.5)


def test_nothing_beyond_full_scale(filterbank):
    loud = postfiltered(filterbank, noise() * 10, np.full((FRAMES, filterbank.filters), 4.0))
    assert np.abs(loud).max() == 1


@settings(max_examples=25, deadline=None)
@given(
    frames=st.integers(1, 8),
    late=st.integers(0, 200),
    cuts=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1280)), max_size=5),
)
def test_however_it_is_cut(filterbank, frames, late, cuts):
    """Spectrum and samples may come apart, and the filter may be put away and taken up in between."""
    waveform, wanted = noise(frames), speech_like(filterbank, frames)
    postfilter, parts, taken = Postfilter(filterbank), [], (0, 0)
    for of_spectrum, of_samples in [*cuts, (frames, len(waveform) - late)]:
        to = max(taken[0], min(of_spectrum, frames)), max(taken[1], min(of_samples, len(waveform)))
        parts.append(postfilter.push(waveform[taken[1] : to[1]], wanted[taken[0] : to[0]]))
        taken = to
        postfilter = Postfilter(filterbank, pickle.loads(pickle.dumps(postfilter.state)))
    parts += [postfilter.push(waveform[taken[1] :], wanted[taken[0] :]), postfilter.finish()]
    np.testing.assert_array_equal(np.concatenate(parts), postfiltered(filterbank, waveform, wanted))
    assert sum(map(len, parts)) == len(waveform)


@pytest.mark.parametrize("late", [0, 40, 80, 81, 300])
def test_so_much_is_held_back(filterbank, late):
    frames = 12
    postfilter, waveform = Postfilter(filterbank), noise(frames)
    given_back = postfilter.push(waveform[: len(waveform) - late], speech_like(filterbank, frames))
    assert len(waveform) - len(given_back) == held_back(filterbank, late)


def test_without_a_frame_there_is_nothing(filterbank):
    assert len(Postfilter(filterbank).finish()) == 0
