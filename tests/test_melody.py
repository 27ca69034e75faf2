"""Melody at conversion: moved to the target's range by itself, shifted or flat where that is wanted."""

import json
import warnings

import numpy as np
import pytest
from scipy.signal import lfilter
from test_cli import call, mistake
from test_encoding import ENCODERS, RANGES, buzz, model_with, noise, voice

from audio_vq.audio.files import write_audio
from audio_vq.codec.melody import Melody
from audio_vq.errors import UserError
from audio_vq.pitch import LIMIT
from audio_vq.unit_files.files import read_units

RATE = 16000


@pytest.fixture(scope="module")
def model():
    return voice()


@pytest.fixture(scope="module")
def units(model):
    """Every pitch class twice, unvoiced first."""
    classes = np.repeat(np.arange(model.pitch_classes), 2)
    return np.stack([classes % 32, classes % 5, classes])


def test_a_contour_lies_in_the_speakers_range(model, units):
    for speaker, (median, spread) in RANGES.items():
        f0 = model.contour(units, speaker)
        assert (f0[:2] == 0).all()
        semitones = 12 * np.log2(f0[2:] / median) / spread
        steps = 2 * LIMIT / (model.pitch_classes - 1)
        np.testing.assert_allclose(semitones[::2], (np.arange(8) + 0.5) * steps - LIMIT, atol=1e-5)


def test_melodies_shift_and_flatten(model, units):
    """Within half a class; what would leave the range stays at its end; unvoiced stays unvoiced, units stay."""
    codec = model.codec
    assert Melody().of(codec, units, 0) is units
    step = 2 * LIMIT / (model.pitch_classes - 1) * RANGES["ben"][1]  # semitones
    for shift in (-30, -3, -0.1, 0.1, 2, 5, 30):
        moved = Melody(shift).of(codec, units, 1)
        np.testing.assert_array_equal(moved[:-1], units[:-1])
        np.testing.assert_array_equal(moved[-1] > 0, units[-1] > 0)
        steps = np.clip(units[-1, 2:] + shift / step, 1, model.pitch_classes - 1)
        assert np.abs(moved[-1, 2:] - steps).max() <= 0.5 + 1e-6
    flat = Melody(flat=True).of(codec, units, 1)
    assert set(flat[-1, 2:]) <= {4, 5}  # the median lies between the two
    assert len(set(flat[-1, 2:])) == 1
    higher = Melody(2.25 * step, flat=True).of(codec, units, 1)
    assert (higher[-1, 2:] - flat[-1, 2:] == 2).all()


def test_conversions_take_a_melody(model):
    waveform = np.concatenate([buzz(), 0.1 * noise(4000)])
    plain, *others = (
        model.convert(waveform, RATE, "ben", **melody) for melody in ({}, {"pitch": 6.0}, {"pitch": -6.0, "flat": True})
    )
    units = model.encode(waveform, RATE)
    np.testing.assert_array_equal(plain, model.decode(units, "ben")[: len(waveform)])
    expected = Melody(6.0).of(model.codec, units, 1)
    np.testing.assert_array_equal(others[0], model.decode(expected, "ben")[: len(waveform)])
    assert (others[1] != others[0]).any()


def test_without_pitch_there_is_no_melody():
    model = model_with(ENCODERS["filterbank"])
    for options in ({"pitch": 1.0}, {"flat": True}):
        with pytest.raises(UserError, match="no pitch to shift or flatten"):
            model.convert(noise(1000), RATE, "ann", **options)
    with pytest.raises(UserError, match="no pitch"):
        model.contour(np.zeros(5, np.int64), "ann")
    for shift in (50, float("nan")):
        with pytest.raises(UserError, match="expected -48 to 48"):
            Melody(shift)


def test_units_files_hold_groups_and_pitch(model, tmp_path):
    """Encoded and decoded they are what is converted; and `info` counts all that is in them."""
    model.save_pretrained(tmp_path / "model")
    write_audio(tmp_path / "a.wav", buzz(), RATE)
    for name in ("units.jsonl", "units.npz"):
        call("encode", tmp_path / "model", tmp_path / "a.wav", "--out", tmp_path / name)
        (sequence,) = read_units(tmp_path / name)
        assert (len(sequence.groups), sequence.pitch.shape) == (2, (50,))
        assert (sequence.pitch > 0).mean() > 0.8
        decoded = tmp_path / name.replace(".", "_")
        call("decode", tmp_path / "model", tmp_path / name, "--speaker", "ben", "--out", decoded)
        call("convert", tmp_path / "model", tmp_path / "a.wav", "--to", "ben", "--out", decoded)
        assert (decoded / "a.wav").read_bytes()[:30_000] == (decoded / "a_to_ben.wav").read_bytes()[:30_000]
    facts = json.loads(call("info", tmp_path / "model", "--json")[0])
    expected = {"codebook_size": 32, "groups": 2, "pitch": 9, "bands": 4, "temperature": 1.0, "unit_rate_hz": 50}
    assert {key: facts[key] for key in expected} == expected
    assert facts["bits_per_second"] == pytest.approx(50 * (2 * 5 + np.log2(9))) == model.bits_per_second


def test_the_command_shifts_too(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    model_with(ENCODERS["filterbank"]).save_pretrained(tmp_path / "plain")
    write_audio(tmp_path / "a.wav", buzz(), RATE)
    arguments = ["convert", tmp_path / "model", tmp_path / "a.wav", "--to", "ben", "--out", tmp_path / "out"]
    call(*arguments)
    assert "something else" in mistake(*arguments, "--pitch", 3)
    assert "something else" in mistake(*arguments, "--flat")
    before = (tmp_path / "out" / "a_to_ben.wav").read_bytes()
    call(*arguments, "--pitch", 3, "--force")
    assert (tmp_path / "out" / "a_to_ben.wav").read_bytes() != before
    arguments[1] = tmp_path / "plain"
    for option in (["--pitch", -2], ["--flat"]):
        assert "no pitch" in mistake(*arguments, *option, "--force")


def whisper(samples):
    """Noise through the resonances of a vowel."""
    heard = noise(samples).astype(np.float64)
    for hertz, bandwidth in ((700, 90), (1200, 110), (2600, 160)):
        radius = np.exp(-np.pi * bandwidth / RATE)
        heard = lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * hertz / RATE), radius**2], heard)
    return heard.astype(np.float32)


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros(5000, np.float32), noise(5000), 1e-5 * noise(5000), whisper(5000),
        buzz()[:1600], noise(1600), np.zeros(1, np.float32), np.ones(1, np.float32),
    ],
    ids=["silence", "noise", "faint noise", "whisper", "0.1 s", "0.1 s of noise", "one sample", "one loud sample"],
)  # fmt: skip
def test_odd_recordings_are_encoded_and_converted(model, waveform):
    """Whatever it is, it has its length, nobody warns, and what holds no voice has no pitch."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        units = model.encode(waveform, RATE)
        converted = model.convert(waveform, RATE, "ben", pitch=2.0)
        live = list(model.encode_stream(np.array_split(waveform, 3)))
    assert units.shape == (3, -(-len(waveform) // model.hop_length)) == (3, len(live))
    assert converted.shape == waveform.shape
    assert np.isfinite(converted).all()
    if len(waveform) != 1600:
        assert (units[-1] == 0).mean() >= 0.9
