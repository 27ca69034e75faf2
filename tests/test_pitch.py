"""Pitch: right where it is known, quiet where there is none; classes and contours are each other's inverse."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter, sawtooth, square

from audio_vq.errors import UserError
from audio_vq.parallel import in_order
from audio_vq.pitch import (
    LIMIT,
    NEUTRAL_HZ,
    SMALLEST_SPREAD,
    USUAL_SPREAD,
    LivePitch,
    PitchRange,
    at_units,
    classes_of,
    contour_of,
    num_frames,
    track,
)

RATE = 16000


def buzz(hertz, rate=RATE):
    """A voice's source at F0 `hertz` (time,)."""
    return (0.1 * sawtooth(2 * np.pi * np.cumsum(hertz) / rate)).astype(np.float32)


def glide(seconds=1.0, rate=RATE):
    """From 100 to 300 Hz, with a silent stretch in the middle half."""
    time = np.arange(round(seconds * rate)) / rate
    voice = buzz(100 * 3 ** (time / seconds), rate)
    voice[round(0.4 * seconds * rate) : round(0.6 * seconds * rate)] = 0
    return voice


def semitones(f0, expected):
    return 12 * np.log2(f0 / expected)


@pytest.mark.parametrize("rate", [4000, 8000, 16000, 22050, 44100, 96000])
def test_a_glide_is_followed_frame_by_frame(rate):
    f0 = track(glide(rate=rate), rate)
    assert f0.dtype == np.float32
    assert f0.shape == (100,)
    seconds = (np.arange(100) + 0.5) / 100
    inside = (abs(seconds - 0.5) > 0.13) & (seconds > 0.05) & (seconds < 0.95)
    assert (f0[inside] > 0).all()
    # 10 ms are 0.19 semitones
    np.testing.assert_allclose(semitones(f0[inside], 100 * 3 ** seconds[inside]), 0, atol=0.15)
    assert not f0[abs(seconds - 0.5) < 0.06].any()


@pytest.mark.parametrize("gain", [0.01, 0.1, 9.0])
def test_level_and_offset_do_not_matter(gain):
    voice = glide(0.5)
    expected = track(voice, RATE)
    assert (expected > 0).mean() > 0.6
    np.testing.assert_allclose(track(voice * np.float32(gain) + np.float32(0.3), RATE), expected, rtol=1e-3)


def noise(seconds=0.5):
    return np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32)


def whisper():
    """Noise through the resonances of a vowel."""
    heard = noise().astype(np.float64)
    for hertz, bandwidth in ((700, 90), (1200, 110), (2600, 160)):
        radius = np.exp(-np.pi * bandwidth / RATE)
        heard = lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * hertz / RATE), radius**2], heard)
    return (0.1 * heard / heard.std()).astype(np.float32)


def clicks():
    waveform = np.zeros(RATE // 2, np.float32)
    waveform[[0, 1000, 7999]] = 1, -1, 1
    return waveform


UNVOICED = {
    "digital silence": np.zeros(RATE // 2, np.float32),
    "an offset": np.full(RATE // 2, 0.3, np.float32),
    "white noise": 0.1 * noise(),
    "soft noise": 1e-3 * noise(),
    "a whisper": whisper(),
    "clicks": clicks(),
    "one sample": np.ones(1, np.float32),
    "two samples": np.array([1, -1], np.float32),
    "a tenth of a second of silence": np.zeros(1600, np.float32),
}


@pytest.mark.parametrize("name", UNVOICED)
def test_what_is_no_voice_is_unvoiced(name):
    f0 = track(UNVOICED[name], RATE)
    assert f0.shape == (num_frames(len(UNVOICED[name]), RATE),)
    assert not f0.any()
    live = LivePitch(RATE)
    assert not np.concatenate([live.feed(UNVOICED[name]), live.finish()]).any()


def test_little_and_loud_sounds_have_their_pitch():
    short = track(buzz(np.full(RATE // 10, 200.0)), RATE)
    assert short.shape == (10,)
    assert np.median(short) == pytest.approx(200, rel=0.02)
    loud = track(square(2 * np.pi * 150 * np.arange(RATE // 2) / RATE).astype(np.float32), RATE)
    assert np.median(loud) == pytest.approx(150, rel=0.02)


@pytest.mark.parametrize("num_samples", [1, 79, 80, 81, 159, 160, 161, 255, 256, 257, 4096])
def test_frames_that_have_begun_are_counted(num_samples):
    assert len(track(np.ones(num_samples, np.float32), RATE)) == -(-num_samples // 160)


def test_a_rate_that_no_recording_has_is_refused():
    with pytest.raises(UserError, match="300 Hz"):
        track(np.zeros(100, np.float32), 300)
    with pytest.raises(UserError, match="300 Hz"):
        LivePitch(300)


def test_threads_and_processes_find_the_same():
    voices = [glide(seconds) for seconds in (0.5, 0.6, 0.7)]
    job = partial(track, sample_rate=RATE)
    with ThreadPoolExecutor(3) as threads:
        in_threads = list(threads.map(job, voices))
    expected = [job(voice) for voice in voices]
    (in_process,) = in_order(job, voices[:1], 2)
    for one, other in zip([*in_threads, in_process], [*expected, expected[0]], strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_tracker_is_loaded_when_it_is_needed():
    program = (
        "import audio_vq.pitch, sys; assert not {'onnxruntime', 'swift_f0', 'scipy.signal', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


F0_VALUES = st.lists(st.just(0.0) | st.floats(50, 550), max_size=50).map(lambda values: np.array(values, np.float32))
RANGES = st.builds(PitchRange, st.floats(60, 400), st.floats(SMALLEST_SPREAD, 8))


@given(F0_VALUES, RANGES, st.integers(3, 65))
def test_classes_are_a_contour_up_to_half_a_class(f0, pitch_range, num_classes):
    classes = classes_of(f0, pitch_range, num_classes)
    contour = contour_of(classes, pitch_range, num_classes)
    np.testing.assert_array_equal(classes == 0, f0 == 0)
    np.testing.assert_array_equal(contour == 0, f0 == 0)
    voiced = f0 > 0
    width = 2 * LIMIT / (num_classes - 1)  # spreads
    asked = (semitones(f0[voiced].astype(np.float64), pitch_range.median_hz) / pitch_range.spread_semitones).clip(
        -LIMIT, LIMIT
    )
    made = semitones(contour[voiced].astype(np.float64), pitch_range.median_hz) / pitch_range.spread_semitones
    assert (abs(made - asked) <= width / 2 + 1e-5).all()  # float32 holds F0 to 1e-6 semitones


@given(st.lists(st.integers(0, 15), max_size=50), RANGES)
def test_a_contour_is_its_classes(classes, pitch_range):
    classes = np.array(classes, np.int64)
    again = classes_of(contour_of(classes, pitch_range, 16), pitch_range, 16)
    assert again.dtype == np.int64
    np.testing.assert_array_equal(again, classes)


@given(F0_VALUES, RANGES, st.floats(-24, 24))
def test_a_voice_moved_with_its_range_keeps_its_classes(f0, pitch_range, shift):
    moved = (f0.astype(np.float64) * 2 ** (shift / 12)).astype(np.float32)
    difference = classes_of(moved, pitch_range.shifted(shift), 32) - classes_of(f0, pitch_range, 32)
    assert (abs(difference) <= 1).all()  # on a border
    np.testing.assert_array_equal(moved > 0, f0 > 0)


def test_a_range_is_robust_and_careful():
    rng = np.random.default_rng(0)
    voice = (120 * 2 ** (rng.normal(0, 2.0, 20_000) / 12)).astype(np.float32)
    voice[:400] *= 2  # octave errors
    mixed = np.where(rng.random(len(voice)) < 0.4, 0, voice)
    found = PitchRange.of(mixed)
    assert found.median_hz == pytest.approx(120, rel=0.01)
    assert found.spread_semitones == pytest.approx(2.0, rel=0.1)
    assert PitchRange.of(np.full(10_000, 200, np.float32)).spread_semitones == SMALLEST_SPREAD
    assert PitchRange.of(np.full(5, 200, np.float32)).spread_semitones == pytest.approx(USUAL_SPREAD, rel=0.05)
    for nothing in (np.zeros(0, np.float32), np.zeros(9, np.float32)):
        assert PitchRange.of(nothing) == PitchRange(NEUTRAL_HZ, USUAL_SPREAD)
    assert found.shifted(12).median_hz == pytest.approx(2 * found.median_hz)


def test_units_have_the_pitch_at_their_centres():
    f0 = np.array([100, 0, 200, 400, 0, 300], np.float32)
    np.testing.assert_allclose(at_units(f0, 8, 160, RATE), [*f0, 0, 0], rtol=1e-6)  # units of a frame
    # units of two frames, whose centres lie between them: as the later one is voiced, in octaves between both
    np.testing.assert_allclose(at_units(f0, 4, 320, RATE), [0, 200 * 2**0.5, 300, 0], rtol=1e-6)
    np.testing.assert_allclose(at_units(f0, 2, 480, RATE), [0, 0])  # of three: frames 1 and 4
    np.testing.assert_allclose(at_units(f0, 2, 160, RATE, first_sample=320), [200, 400], rtol=1e-6)
    np.testing.assert_allclose(at_units(f0, 14, 80, RATE)[[0, 11, 12, 13]], [100, 300, 0, 0], rtol=1e-6)  # half frames
    assert at_units(np.zeros(0, np.float32), 3, 80, RATE).tolist() == [0, 0, 0]
    assert at_units(f0, 0, 320, RATE).shape == (0,)


def fed(waveform, cuts, rate):
    live = LivePitch(rate)
    return np.concatenate([*(live.feed(block) for block in np.split(waveform, cuts)), live.finish()])


@pytest.fixture(scope="module", params=[16000, 22050])
def heard_live(request):
    waveform = glide(0.4, request.param)
    return waveform, request.param, fed(waveform, [], request.param)


@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_live_pitch_does_not_depend_on_how_its_input_is_cut(heard_live, data):
    waveform, rate, expected = heard_live
    cuts = sorted(data.draw(st.lists(st.integers(0, len(waveform)), max_size=12)))
    np.testing.assert_array_equal(fed(waveform, cuts, rate), expected)


def test_live_pitch_is_nearly_that_of_the_whole(heard_live):
    waveform, rate, found = heard_live
    whole = track(waveform, rate)
    assert found.shape == whole.shape
    assert ((found > 0) == (whole > 0)).mean() >= 0.95
    both = (found > 0) & (whole > 0)
    assert (abs(semitones(found[both], whole[both])) < 0.5).mean() > 0.95


def test_live_pitch_comes_in_time_and_forgets():
    live, frames = LivePitch(RATE), 0
    for end in range(320, RATE + 1, 320):
        frames += len(live.feed(glide()[end - 320 : end]))
        # a step of 40 ms and 30 ms of look-ahead; the beginning waits for an offset
        assert end < 480 or frames * 160 > end - (0.04 + 0.03) * RATE - 160
        assert len(live._heard) < 0.25 * RATE
    assert frames + len(live.finish()) == 100
