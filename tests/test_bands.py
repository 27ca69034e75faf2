"""Sub-bands: reconstruction, gain, silence, no lines at the bands' edges, and joining block by block."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_vq.codec.bands import BandStream, joined
from audio_vq.models.bands import Bands

RATE = 16000
SEVERAL = pytest.mark.parametrize("count", [2, 4, 8])
ANY = pytest.mark.parametrize("count", [1, 2, 4, 8])


def noise(samples=RATE, seed=0):
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))


def sweep(samples=RATE):
    """From 0 Hz to half the sample rate."""
    return 0.5 * torch.sin(torch.pi * torch.arange(samples) ** 2 / (2 * samples))[None]


@cache
def speech_like(seconds=4.0):
    """Noise that falls by 6 dB per octave, in syllables: loud in some places, almost nothing in others."""
    samples = round(seconds * RATE)
    spectrum = torch.fft.rfft(noise(samples)[0])
    spectrum /= 1 + torch.arange(len(spectrum)) / (seconds * 300)
    shaped = torch.fft.irfft(spectrum, samples)
    syllables = (0.5 + 0.5 * torch.sin(2 * torch.pi * 4 * torch.arange(samples) / RATE)) ** 4
    return (0.3 * shaped * syllables / shaped.abs().max())[None]


@cache
def fitted(count, classes=256):
    bands = Bands(count, classes)
    bands.fit(speech_like())
    return bands


def ratio_db(signal, error):
    return 10 * torch.log10(signal.square().sum() / error.square().sum())


@SEVERAL
@pytest.mark.parametrize("signal", [noise, sweep])
def test_bands_reconstruct_the_waveform(count, signal):
    """By more than 60 dB, up to where the silence beyond the ends is heard."""
    bands, waveform = Bands(count, 256), signal()
    back = bands.join(bands.split(waveform))
    assert back.shape == waveform.shape
    inner = slice(2 * bands.reach, -2 * bands.reach)
    assert ratio_db(waveform[:, inner], (back - waveform)[:, inner]) > 60


@SEVERAL
def test_ends_are_reconstructed_where_the_waveform_begins_and_ends_in_silence(count):
    """Steps before the first and after the last would tell of a loud end, too; there are none."""
    bands, waveform = Bands(count, 256), torch.zeros(1, RATE)
    inner = slice(2 * bands.reach, -2 * bands.reach)
    waveform[:, inner] = noise()[:, inner]
    assert ratio_db(waveform, bands.join(bands.split(waveform)) - waveform) > 60


def test_one_band_is_the_waveform():
    bands, waveform = Bands(1, 256), noise()
    bands.fit(waveform)
    assert bands.reach == 0
    assert torch.equal(bands.join(bands.split(waveform)), waveform)


@SEVERAL
def test_a_tone_comes_to_lie_in_its_band(count):
    bands = Bands(count, 256)
    for band in range(count):
        hertz = (band + 0.5) * RATE / (2 * count)
        tone = torch.sin(2 * torch.pi * hertz * torch.arange(RATE) / RATE)[None]
        power = bands.split(tone)[0, :, 20:-20].square().mean(1)
        assert power[band] > 1e4 * (power.sum() - power[band])


@SEVERAL
def test_gain_brings_every_band_to_full_scale(count):
    bands = fitted(count)
    loud = (bands.split(speech_like()) * bands.gain[:, None])[0].abs() > 0.8 * (1 - 1e-6)
    steps = loud.shape[1]
    assert (loud.sum(1) == max(1, round(5e-4 * steps))).all()


@ANY
def test_digital_silence_stays_digital_silence(count):
    bands = fitted(count)
    classes = bands.encode(torch.zeros(1, 50 * count))
    assert (classes == 128).all()
    assert not bands.decode(classes).any()
    assert not joined(bands, classes[0].numpy()).any()


@SEVERAL
def test_no_lines_at_the_edges_of_bands(count):
    """In the mean spectrum of what 256 classes keep of a waveform, and of almost nothing."""
    bands = fitted(count)
    for waveform in (speech_like(), 1e-4 * noise(4 * RATE), 0 * noise(4 * RATE)):
        classes = bands.encode(waveform)
        assert max(lines_db(bands.decode(classes)[0], count)) < 1
    # what it would be like were zero no class, and every band a little above or below it
    buzz = classes + torch.arange(classes.shape[2]) % 2
    assert min(lines_db(bands.decode(buzz)[0], count)) > 20


def lines_db(waveform, count):
    """How far the mean spectrum at each edge rises above that around it."""
    frames = waveform.unfold(0, 2048, 512) * torch.hann_window(2048)
    spectrum = 10 * np.log10(torch.fft.rfft(frames).abs().square().mean(0).numpy() + 1e-12)
    hertz = np.linspace(0, RATE / 2, len(spectrum))
    for edge in range(1, count):
        distance = np.abs(hertz - edge * RATE / (2 * count))
        line, around = spectrum[distance < 20], spectrum[(distance > 40) & (distance < 300)]
        yield line.max() - around.max()


@ANY
def test_joined_is_what_decode_computes(count):
    bands = fitted(count)
    classes = bands.encode(noise())
    # float32 sums of 21 steps of each band, of full scale at most
    np.testing.assert_allclose(joined(bands, classes[0].numpy()), bands.decode(classes)[0], rtol=0, atol=1e-5)


@ANY
def test_joined_stays_within_full_scale(count):
    classes = np.random.default_rng(0).choice([1, 255], (count, 200))
    assert np.abs(joined(Bands(count, 256), classes)).max() == 1


@ANY
@settings(max_examples=20, deadline=None)
@given(steps=st.integers(0, 90), cuts=st.lists(st.integers(0, 90), max_size=5))
def test_joined_block_by_block_equals_at_once(count, steps, cuts):
    """Bit by bit, `reach` samples late, also where the stream is taken up again."""
    bands = Bands(count, 256)
    classes = np.random.default_rng(steps).integers(256, size=(count, steps))
    stream, parts, known = BandStream(bands), [], 0
    for part in np.split(classes, sorted(cut for cut in cuts if cut < steps), axis=1):
        parts.append(stream.push(part))
        known += part.shape[1] * count
        assert sum(map(len, parts)) == max(0, known - bands.reach)
        stream = BandStream(bands, stream.waiting)
    parts.append(stream.finish())
    np.testing.assert_array_equal(np.concatenate(parts), joined(bands, classes))
    assert known == sum(map(len, parts))
