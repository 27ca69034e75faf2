"""Waveforms in and out: every promise of audio/ against an independent computation."""

import os
import resource
import threading

import librosa
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from audio_vq.audio.features import log_mel, trim_silence
from audio_vq.audio.files import BLOCK_SECONDS, audio_blocks, read_audio, read_comment, write_audio
from audio_vq.audio.resampling import StreamResampler, at_rate, resample
from audio_vq.audio.waveform import checked_waveform, from_pcm16, to_pcm16
from audio_vq.errors import UserError
from audio_vq.kernels.filtering import high_passed
from audio_vq.loudness import MAX_GAIN_DB, LoudnessMeter, active_rms, normalise_loudness
from audio_vq.models.mu_law import mu_law_decode, mu_law_encode


def tone(frequency, seconds, rate, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_written_audio_reads_back_within_half_a_step(tmp_path, suffix):
    waveform = tone(200, 0.5, 16000)
    write_audio(tmp_path / f"a{suffix}", waveform, 16000)
    audio = read_audio(tmp_path / f"a{suffix}")
    assert audio.sample_rate == 16000
    assert np.abs(audio.waveform - waveform).max() <= 0.5 / 32768 + 1e-7  # float32 rounding
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@given(st.lists(st.integers(-32768, 32767), min_size=1))
def test_pcm16_round_trip_is_exact(samples):
    pcm = np.array(samples, np.int16)
    np.testing.assert_array_equal(to_pcm16(from_pcm16(pcm)), pcm)


def test_samples_beyond_full_scale_clip_instead_of_wrapping():
    assert to_pcm16(np.array([1.5, -1.5], np.float32)).tolist() == [32767, -32768]


def test_channels_are_averaged_and_rates_converted(tmp_path):
    left, right = tone(200, 1, 44100), tone(300, 1, 44100)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), 44100, subtype="FLOAT")
    audio = read_audio(tmp_path / "stereo.wav", 16000)
    expected = (tone(200, 1, 16000) + tone(300, 1, 16000)) / 2
    assert audio.sample_rate == 16000
    inner = slice(800, -800)  # away from where the filter meets the ends
    np.testing.assert_allclose(audio.waveform[inner], expected[inner], atol=1e-4)


def test_resampling_removes_what_the_new_rate_cannot_hold():
    assert np.abs(resample(tone(11000, 1, 48000), 48000, 16000)[800:-800]).max() < 1e-4


@settings(deadline=None, max_examples=20)
@given(st.sampled_from([8000, 11025, 22050, 44100, 48000]), st.lists(st.integers(0, 3000), max_size=12))
def test_resampling_in_blocks_is_resampling_at_once(rate, lengths):
    """To the bit: soxr's state, not the caller's cutting, decides where its filters work."""
    waveform = np.random.default_rng(0).standard_normal(sum(lengths)).astype(np.float32)
    resampler = StreamResampler(rate, 16000)
    pieces = [resampler.feed(block) for block in np.split(waveform, np.cumsum(lengths))]
    streamed = np.concatenate([*pieces, resampler.finish()])
    assert len(streamed) == -(-len(waveform) * 16000 // rate)
    if len(waveform):
        expected = librosa.resample(waveform, orig_sr=rate, target_sr=16000, res_type="soxr_hq")
        np.testing.assert_array_equal(streamed, expected)


def test_a_file_in_blocks_is_the_file(tmp_path):
    rate = 44100
    seconds = 2.3 * BLOCK_SECONDS
    soundfile.write(tmp_path / "a.flac", np.stack([tone(200, seconds, rate), tone(300, seconds, rate)], 1), rate)
    blocks = list(audio_blocks(tmp_path / "a.flac", 16000))
    assert max(map(len, blocks)) <= BLOCK_SECONDS * 16000 + 1
    whole = at_rate([soundfile.read(tmp_path / "a.flac", dtype="float32")[0].mean(1)], rate, 16000)
    np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate(list(whole)))


@given(st.lists(st.integers(0, 2000), max_size=8), st.sampled_from([0.0, 0.125, -0.5]), st.sampled_from([8000, 44100]))
def test_an_offset_changes_nothing_however_the_waveform_is_cut(lengths, offset, rate):
    """Not even at the ends: 2^-24 of the offset is what float32 rounds away, resampling at most doubles it."""
    waveform = (0.1 * np.random.default_rng(0).standard_normal(sum(lengths))).astype(np.float32)
    blocks = np.split(waveform + np.float32(offset), np.cumsum(lengths))
    plain, shifted = (np.concatenate(list(at_rate(each, rate, 16000))) for each in ([waveform], blocks))
    assert len(plain) == len(shifted) == -(-len(waveform) * 16000 // rate)
    np.testing.assert_allclose(shifted, plain, rtol=0, atol=2 * abs(offset) * 2**-24 + 1e-7 * (offset != 0))


def test_the_high_pass_is_scipys_to_the_last_bit():
    waveform = np.random.default_rng(0).standard_normal(3001).astype(np.float32)
    gain, pole = 0.9990, 0.9980
    expected, _ = lfilter([gain, -gain], [1.0, -pole], waveform.astype(np.float64), zi=np.array([0.125]))
    state = np.array([0.125])
    blocks = [high_passed(block, gain, pole, state) for block in np.split(waveform, [1, 700, 700, 1500])]
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


def test_removing_an_offset_leaves_speech_alone():
    """At 100 Hz less than a third of a decibel, and nothing above but the tail of a wrong guess at the beginning."""
    waveform = tone(100, 1, 16000)
    heard = np.concatenate(list(at_rate([waveform], 16000, 16000)))
    assert 0.97 < active_rms(heard) / active_rms(waveform) <= 1
    high = tone(1000, 1, 16000)
    np.testing.assert_allclose(np.concatenate(list(at_rate([high], 16000, 16000))), high, atol=0.01)


def test_read_audio_takes_a_constant_offset_away(tmp_path):
    waveform = tone(200, 0.5, 44100, 0.3)
    soundfile.write(tmp_path / "a.wav", waveform + 0.4, 44100)
    np.testing.assert_allclose(
        read_audio(tmp_path / "a.wav", 16000).waveform, resample(waveform, 44100, 16000), atol=1e-4
    )


def test_a_float_file_above_full_scale_is_scaled_not_clipped(tmp_path):
    loud = tone(200, 0.1, 16000, amplitude=4)
    soundfile.write(tmp_path / "loud.wav", loud, 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "loud.wav").waveform, loud / np.abs(loud).max(), atol=1e-6)


def test_a_pipe_is_read_as_a_file_is(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(200, 1, 16000), 16000)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes((tmp_path / "a.wav").read_bytes()))
    writer.start()
    heard = read_audio(tmp_path / "pipe").waveform
    writer.join()
    np.testing.assert_array_equal(heard, read_audio(tmp_path / "a.wav").waveform)


def bad_files(folder):
    (folder / "text.wav").write_text("not audio at all")
    (folder / "empty.flac").touch()
    soundfile.write(folder / "nothing.wav", np.zeros(0, np.float32), 16000)
    soundfile.write(folder / "nan.wav", np.array([0, np.nan], np.float32), 16000, subtype="FLOAT")
    (folder / "folder.wav").mkdir()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text.wav", "not audio"),
        ("empty.flac", "not audio"),
        ("nothing.wav", "no samples"),
        ("nan.wav", "NaN"),
        ("absent.wav", "no such file"),
        ("folder.wav", "folder"),
    ],
)
def test_bad_files_are_named_with_their_fault(tmp_path, name, reason):
    bad_files(tmp_path)
    with pytest.raises(UserError, match=reason) as caught:
        read_audio(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("waveform", [np.zeros(0), np.zeros((2, 3)), np.array([0, np.nan]), np.array([1e300]), ["a"]])
def test_what_is_no_waveform(waveform):
    with pytest.raises(UserError, match="waveform"):
        checked_waveform(waveform)


def test_sample_rates_that_no_recording_has():
    for rate in (0, -16000, 10**9, float("nan")):
        with pytest.raises(UserError, match="sample rate"):
            resample(np.zeros(10, np.float32), rate, 16000)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_file_may_say_who_made_it(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    write_audio(file, tone(200, 0.1, 16000), 16000, comment="made by hand")
    assert read_comment(file) == "made by hand"
    assert soundfile.info(file).frames == 1600
    write_audio(file, tone(200, 0.1, 16000), 16000)
    assert read_comment(file) == read_comment(tmp_path / "none.wav") == ""


def test_a_file_that_cannot_be_written_is_an_error_of_the_system(tmp_path):
    """As on a full disk, of which libsndfile says nothing that Python understands."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_audio(tmp_path / "a.wav", tone(200, 1, 16000), 16000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_other_suffixes_are_not_written(tmp_path):
    with pytest.raises(UserError, match="mp3"):
        write_audio(tmp_path / "a.mp3", tone(200, 0.1, 16000), 16000)


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_trimming_leaves_the_margin_and_says_what_it_took(rate):
    silence = np.zeros(rate, np.float32)
    waveform = np.concatenate([silence, tone(200, 1, rate), silence])
    trimmed = trim_silence(waveform, rate, top_db=40, margin_seconds=0.1)
    end = trimmed.offset_samples + len(trimmed.waveform)
    np.testing.assert_array_equal(trimmed.waveform, waveform[trimmed.offset_samples : end])
    # frames of 25 ms every 5 ms may reach that much further out than the sound, never less far
    assert 0.9 - 0.03 <= trimmed.offset_samples / rate <= 0.9
    assert 2.1 <= end / rate <= 2.1 + 0.03


def test_trimming_speech_without_silence_takes_nothing():
    waveform = tone(200, 1, 16000)
    trimmed = trim_silence(waveform, 16000, top_db=40, margin_seconds=0.1)
    assert trimmed.offset_samples == 0
    np.testing.assert_array_equal(trimmed.waveform, waveform)


@pytest.mark.parametrize("pause_seconds", [0, 2])
@pytest.mark.parametrize("amplitude", [0.01, 0.9])
def test_loudness_is_that_of_the_active_part(amplitude, pause_seconds):
    waveform = np.concatenate([tone(200, 1, 16000, amplitude), np.zeros(pause_seconds * 16000, np.float32)])
    levelled = normalise_loudness(waveform, -23)
    assert 20 * np.log10(np.sqrt((levelled[:16000] ** 2).mean())) == pytest.approx(-23, abs=0.01)


def test_a_peak_limits_the_gain():
    waveform = tone(200, 1, 16000, 0.01)
    waveform[8000] = 1.0
    assert np.abs(normalise_loudness(waveform, -3)).max() == pytest.approx(0.95)


@given(st.lists(st.integers(0, 1000), max_size=8), st.floats(0.001, 1))
def test_loudness_of_blocks_is_that_of_the_whole(lengths, amplitude):
    rng = np.random.default_rng(0)
    waveform = (amplitude * rng.standard_normal(sum(lengths))).astype(np.float32)
    meter = LoudnessMeter()
    for block in np.split(waveform, np.cumsum(lengths)):
        meter.add(block)
    assert meter.num_samples == len(waveform)
    assert meter.active_rms() == active_rms(waveform)
    assert meter.whole_decibel_gain(-23) == LoudnessMeter().add(waveform).whole_decibel_gain(-23)


def test_loudness_of_frames_by_hand():
    """A loud frame, one 20 dB below (counts) and one 40 dB below (a pause)."""
    waveform = np.repeat(np.array([0.5, 0.05, 0.005], np.float32), 400)
    assert active_rms(waveform) == pytest.approx(np.sqrt((0.5**2 + 0.05**2) / 2))


def test_near_silence_is_not_raised_to_the_level_of_speech():
    hiss = tone(200, 1, 16000, 1e-4)
    assert 20 * np.log10(active_rms(normalise_loudness(hiss, -23)) / active_rms(hiss)) == pytest.approx(MAX_GAIN_DB)
    assert LoudnessMeter().add(hiss).whole_decibel_gain(-23) == pytest.approx(10 ** (MAX_GAIN_DB / 20))


def test_silence_has_no_level():
    silence = np.zeros(1000, np.float32)
    assert active_rms(silence) == 0
    np.testing.assert_array_equal(normalise_loudness(silence, -23), silence)


@settings(deadline=None)
@given(st.floats(-1, 1), st.sampled_from([64, 256, 1024]))
def test_mu_law_inverts_within_its_step(value, classes):
    mu = classes - 1
    index = mu_law_encode(torch.tensor([value]), classes)
    assert 0 <= index.item() < classes
    # a step of the compressed domain is 2/mu, rounding errs by half of it; the rest is the expansion's slope
    half_step = np.log1p(mu) * (1 + mu * abs(value)) / mu / mu
    slack = 1 + np.log1p(mu) / mu  # the step grows towards the far end of the interval
    assert abs(mu_law_decode(index, classes).item() - value) <= half_step * slack + 1e-6


def test_mu_law_classes_survive_decoding():
    indices = torch.arange(1, 256)  # the first is that of no sample
    decoded = mu_law_decode(indices)
    assert decoded.dtype == torch.float32
    assert torch.equal(mu_law_encode(decoded), indices)


@pytest.mark.parametrize("classes", [4, 255, 256])
def test_mu_law_silence_stays_silent(classes):
    assert mu_law_decode(mu_law_encode(torch.zeros(1), classes), classes).item() == 0


def test_mu_law_clips_what_lies_beyond_full_scale():
    assert mu_law_encode(torch.tensor([-3.0, 3.0])).tolist() == [1, 255]


def test_log_mel_finds_a_tone_in_its_band():
    import librosa

    mel = log_mel(tone(1000, 1, 16000), 16000, 160)
    assert mel.shape == (80, 101)
    centres = librosa.mel_frequencies(82, fmin=0, fmax=8000)[1:-1]
    assert abs(centres[mel[:, 50].argmax()] - 1000) < 60  # the bands there lie some 50 Hz apart


def test_log_mel_is_a_logarithm_of_magnitude():
    waveform = tone(1000, 0.5, 16000)
    difference = log_mel(waveform, 16000, 160) - log_mel(waveform / 10, 16000, 160)
    assert difference.max() == pytest.approx(np.log(10), abs=1e-3)


@pytest.mark.parametrize("samples", [1, 159, 160, 1000])
def test_log_mel_has_a_frame_per_hop_even_of_little(samples):
    mel = log_mel(np.zeros(samples, np.float32), 16000, 160)
    assert mel.shape == (80, 1 + samples // 160)
    assert np.isfinite(mel).all()
