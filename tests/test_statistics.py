"""What is known of a recording as a whole: mean spectrum and pitch range, found at once or while it goes on."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from test_encoding import buzz, model_with, noise, voice

from audio_vq import VQVAE
from audio_vq.codec.incremental import LiveEncoder, block_samples
from audio_vq.codec.source import FixedGain, array_source, levelled
from audio_vq.codec.statistics import RecordingStatistics, RunningRange, SpectrumMeter
from audio_vq.config import EncoderConfig
from audio_vq.models.filterbank import ACTIVE_RANGE_DB, LOG_SCALE, mean_spectrum
from audio_vq.pitch import NEUTRAL_HZ, LivePitch, PitchRange, at_units, classes_of, contour_of, track

RATE = 16000


@pytest.fixture(scope="module")
def model():
    return voice()


@pytest.fixture(scope="module")
def recording():
    """Voiced and unvoiced stretches, and a pause."""
    return np.concatenate([buzz(1.5), 0.3 * noise(RATE // 2), np.zeros(RATE // 2, np.float32), buzz(1.0, 180, 120)])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.floats(0.01, 1.5))
def test_a_mean_spectrum_is_found_in_parts(seed, count, spread):
    """As at once, but for frames within a tenth of a decibel of where the loudest one's range ends."""
    rng = np.random.default_rng(seed)
    frames = (spread * rng.standard_normal((count, 1)) + 0.1 * rng.standard_normal((count, 6))).astype(np.float32)
    meter = SpectrumMeter()
    for part in np.array_split(frames, 5):
        meter.add(part)
    per_db = np.log(10) / 10 / LOG_SCALE
    below = (frames.mean(1).max() - frames.mean(1)) / per_db - ACTIVE_RANGE_DB
    if not ((below > -0.01) & (below < 0.11)).any():
        expected = mean_spectrum(torch.from_numpy(frames)).numpy()
        np.testing.assert_allclose(meter.mean(), expected, rtol=1e-5, atol=1e-6)


def test_what_is_expected_counts_as_if_it_had_been_heard():
    frames, expected = np.full((30, 4), 0.5, np.float32), np.array([0.2, 0.4, 0.6, 0.8], np.float32)
    meter = SpectrumMeter()
    meter.expect(expected, 10)
    meter.add(frames[:0])
    np.testing.assert_allclose(meter.mean(), expected)
    meter.add(frames)
    np.testing.assert_allclose(meter.mean(), (30 * frames[0] + 10 * expected) / 40, rtol=1e-6)
    meter.add(frames - 5)  # silence does not count
    np.testing.assert_allclose(meter.mean(), (30 * frames[0] + 10 * expected) / 40, rtol=1e-6)


def test_a_running_range_begins_neutral_and_settles():
    running, f0 = RunningRange(), (220 * 2 ** (np.random.default_rng(0).standard_normal(3000) / 6)).astype(np.float32)
    assert running.range().median_hz == NEUTRAL_HZ
    running.add(np.zeros(50, np.float32))
    running.add(f0[:10])
    assert NEUTRAL_HZ * 1.1 < running.range().median_hz < 200
    running.add(f0[10:])
    assert running.range().median_hz == pytest.approx(PitchRange.of(f0).median_hz, rel=0.02)
    assert running.range().spread_semitones == PitchRange.of(f0).spread_semitones
    running.add(np.full(6000, 100, np.float32))  # somebody else, for a minute
    assert running.range().median_hz == pytest.approx(100, rel=0.02)


def test_statistics_are_those_of_what_is_encoded(model, recording):
    """After the gain; pitch classes are relative to the recording's own range."""
    known = model.statistics(recording, RATE)
    heard = levelled(array_source(recording, RATE), RATE, model.loudness_db)
    loud = np.concatenate(list(heard.blocks()))
    frames = model.network.encoder.filterbank(torch.from_numpy(loud)[None])[0]
    np.testing.assert_allclose(known.mean_spectrum, mean_spectrum(frames), atol=1e-4)
    f0 = track(recording, RATE)
    assert known.pitch_range.median_hz == pytest.approx(PitchRange.of(f0).median_hz, rel=0.01)
    units = model.encode(recording, RATE)
    expected = at_units(f0, units.shape[1], model.hop_length, RATE)
    voiced = (units[-1] > 0) & (expected > 0)
    assert ((units[-1] > 0) == (expected > 0)).mean() > 0.95
    said = contour_of(units[-1], known.pitch_range, model.pitch_classes)
    error = 12 * np.abs(np.log2(said[voiced] / expected[voiced]))
    step = 2 * 3.2 * known.pitch_range.spread_semitones / (model.pitch_classes - 1)
    assert np.quantile(error, 0.95) < step / 2 + 0.2
    assert model_with(EncoderConfig(strides=[40], channels=4)).statistics(recording, RATE) == RecordingStatistics()


def test_a_microphone_and_a_register_are_taken_off(model):
    """The same melody an octave up has the same classes; a centred encoder hears little of a filter."""
    low, high = (np.tile(buzz(2.0, hertz, 1.5 * hertz), 2) for hertz in (100, 200))
    classes, other = (model.encode(waveform, RATE)[-1] for waveform in (low, high))
    assert (abs(classes - other) <= 1).mean() > 0.9
    assert len(np.unique(classes)) > 3
    here = noise(2 * RATE)
    there = lfilter([1.0], [1.0, -0.9], here).astype(np.float32)

    def moved(model):
        latents, others = (model.latents(waveform, RATE) for waveform in (here, there))
        return np.linalg.norm(latents - others) / np.linalg.norm(latents)

    plain = model_with(dataclasses.replace(model.config.encoder, centred=False), groups=2)
    assert moved(model) < 0.5 * moved(plain)


def live_codes(model, recording, statistics, blocks):
    """Of a recording as loud as it should be."""
    encoder = LiveEncoder(model.codec, FixedGain(1.0), statistics)
    return np.concatenate([*map(encoder.feed, np.array_split(recording, blocks)), encoder.finish()], 1)


@pytest.mark.parametrize("blocks", [1, 40])
def test_live_codes_are_the_offline_ones_where_all_is_known(model, recording, blocks):
    """Units to the bit; pitch classes are those of the live tracker's frames, whatever the blocks."""
    heard = levelled(array_source(recording, RATE), RATE, None)
    waveform = np.concatenate(list(heard.blocks()))
    known = model.statistics(recording, RATE, match_level=False)
    offline = model.encode(recording, RATE, match_level=False)
    live = live_codes(model, waveform, known, blocks)
    assert live.shape == offline.shape
    np.testing.assert_array_equal(live[:-1], offline[:-1])
    tracker = LivePitch(RATE, *(samples / RATE for samples in block_samples(model.codec)))
    f0 = at_units(np.concatenate([tracker.feed(waveform), tracker.finish()]), live.shape[1], model.hop_length, RATE)
    np.testing.assert_array_equal(live[-1], classes_of(f0, known.pitch_range, model.pitch_classes))
    assert (live[-1] == offline[-1]).mean() > 0.85


def test_running_estimates_approach_what_is_known(model, recording):
    """The longer somebody speaks, the more units are those that one would have found afterwards."""
    waveform = np.tile(recording, 2)
    heard = np.concatenate(list(levelled(array_source(waveform, RATE), RATE, None).blocks()))
    offline = model.encode(waveform, RATE, match_level=False)
    agreement = live_codes(model, heard, RecordingStatistics(), 20) == offline
    first, last = np.array_split(agreement.mean(0), 4)[::3]
    assert last.mean() > first.mean() + 0.05


def test_before_anything_is_heard_the_corpus_stands_for_it(model, recording):
    """With its mean in the checkpoint, and without, where the recording speaks for itself from the beginning."""
    plain = {key: value for key, value in model.info.data.items() if key != "mean_spectrum"}
    without = VQVAE(model.network, model.config, dataclasses.replace(model.info, data=plain))
    assert without.codec.mean_spectrum is None
    codes = [live_codes(each, recording, RecordingStatistics(), 30) for each in (model, without)]
    assert codes[0].shape == codes[1].shape
    assert (codes[0] != codes[1]).any()
