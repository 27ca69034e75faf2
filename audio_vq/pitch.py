"""Pitch of a voice: its F0 in frames of 10 ms, its range, and the contour in classes relative to that range.

F0 is in Hz, float32 `(frames,)`, 0 where unvoiced; frame i is centred at (i + 0.5) * 10 ms. It is found by SwiftF0
(Nieradzik 2025), a small network whose weights come with its package.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audio_vq.audio.resampling import OffsetFilter, StreamResampler, at_rate
from audio_vq.audio.waveform import Waveform
from audio_vq.loudness import LoudnessMeter

if TYPE_CHECKING:
    from swift_f0 import SwiftF0

FRAMES_PER_SECOND = 100
HOP_SECONDS = 1 / FRAMES_PER_SECOND
LOWEST_HZ, HIGHEST_HZ = 50.0, 550.0  # of speaking voices
# Confidence from which a frame is voiced. What pYIN alone calls voiced (14 % of frames) lies 29 dB below the loudest
# and has no period; where both find a pitch, they differ by 0.13 semitones in the median, 0.2 % by more than 3.
VOICED = 0.5
TRACKER_RATE = 16000  # Hz
TRACKER_HOP = 256  # samples; the tracker's frame i is centred at sample 256 i
FRAMES_BEFORE, FRAMES_BEHIND = 11, 10  # of the tracker, that it hears before and after one
WINDOW_FRAMES = 1500  # of the tracker, found at a time
FRAME_LENGTH = TRACKER_RATE // FRAMES_PER_SECOND  # samples
# The tracker hears differently at other levels: 3 % of the frames change their voicing 20 dB below this, 25 % at 40 dB.
ACTIVE_RMS = 0.05
QUIETEST_RMS = 1e-4  # -80 dB: what is softer is not brought to that level

# The tracker can make use of 176 ms to each side. On 16 recordings of several voices (78 s), frames whose voicing was
# that of the whole recording's track, and voiced ones within half a semitone of it, by look-ahead:
# 20 ms 98.2 and 99.3 %, 30 ms 98.4 and 99.5, 40 ms 98.8 and 99.6, 48 ms 99.1 and 99.7.
# What it hears before a frame does not matter so much: 80 ms are as good as 176.
LIVE_LOOK_AHEAD_SECONDS = 0.03
LIVE_STEP_SECONDS = 0.04  # a frame comes this much later at most, since frames come in steps
# What must be heard after a moment for its F0: that may lie between two frames, the later of which ends 15 ms after it.
LIVE_LAG_SECONDS = 1.5 * HOP_SECONDS + LIVE_LOOK_AHEAD_SECONDS
LIVE_CONTEXT_SECONDS = 0.08

USUAL_SPREAD = 3.0  # semitones, of read speech
USUAL_WEIGHT = 100  # frames of voice: with as many, half the spread's square is the usual one's
SMALLEST_SPREAD = 1.0  # semitones: a monotonous voice's hum is not blown up to a melody
NEUTRAL_HZ = 150.0  # between the sexes: where no voice was heard
LIMIT = 3.2  # spreads to each side of the median that classes cover

F0 = npt.NDArray[np.float32]


def num_frames(num_samples: int, sample_rate: int) -> int:
    """Frames of a track: those that have begun."""
    return -(-num_samples * FRAMES_PER_SECOND // sample_rate)


def track(waveform: Waveform, sample_rate: int) -> F0:
    """F0 of a recording, `num_frames(time, sample_rate)` frames; its level and a constant offset do not matter.

    Raises:
        UserError: a sample rate that is not that of a recording.
    """
    heard = list(at_rate([waveform], sample_rate, TRACKER_RATE))
    meter = LoudnessMeter()
    for block in heard:
        meter.add(block)
    return track_blocks(heard, meter.active_rms(), num_frames(len(waveform), sample_rate))


def track_blocks(blocks: Iterable[Waveform], active_rms: float, frames: int) -> F0:
    """As `track`, so many frames of a recording that comes in blocks and need not lie in memory.

    Its blocks, of any length, are at the tracker's rate and have no offset; `active_rms` is that of all of them.
    """
    gain = np.float32(ACTIVE_RMS / max(active_rms, QUIETEST_RMS))
    found = [
        np.where(result.confidence >= VOICED, result.pitch_hz, 0.0)[first : first + WINDOW_FRAMES].astype(np.float32)
        for window, first in _windows(gain * block for block in blocks)
        for result in [_tracker().detect(window, TRACKER_RATE, LOWEST_HZ, HIGHEST_HZ)]
    ]
    return _at(np.concatenate(found), (2 * np.arange(frames) + 1) * FRAME_LENGTH / (2 * TRACKER_HOP))


def _windows(blocks: Iterable[Waveform]) -> Iterator[tuple[Waveform, int]]:
    """A recording in windows of `WINDOW_FRAMES` of the tracker's frames, on a grid, with what it hears around them.

    Each comes with the number of frames before its own. Behind the last one are two frames of silence.
    """
    step, before, behind = (each * TRACKER_HOP for each in (WINDOW_FRAMES, FRAMES_BEFORE, FRAMES_BEHIND))
    held, first = np.zeros(0, np.float32), 0  # frames of `held` that an earlier window had
    for block in chain(blocks, [np.zeros(2 * TRACKER_HOP, np.float32)]):
        held = np.concatenate([held, block])
        while len(held) >= first * TRACKER_HOP + step + behind:
            yield held[: first * TRACKER_HOP + step + behind], first
            held, first = held[first * TRACKER_HOP + step - before :], FRAMES_BEFORE
    yield held, first


def _tracked(waveform: Waveform, meter: LoudnessMeter, frames: npt.NDArray[np.int64], start: int = 0) -> F0:
    """F0 of frames, out of a waveform at the tracker's rate that begins at sample `start`, at the tracker's level."""
    gain = np.float32(ACTIVE_RMS / max(meter.active_rms(), QUIETEST_RMS))
    # so that the tracker has a frame behind the last one of ours; live, it errs a third as often with 30 ms ahead
    padded = np.pad(gain * waveform, (0, 2 * TRACKER_HOP))
    found = _tracker().detect(padded, TRACKER_RATE, LOWEST_HZ, HIGHEST_HZ)
    f0 = np.where(found.confidence >= VOICED, found.pitch_hz, 0.0)
    return _at(f0, ((2 * frames + 1) * FRAME_LENGTH - 2 * start) / (2 * TRACKER_HOP))


@cache
def _tracker() -> "SwiftF0":
    from swift_f0 import SwiftF0

    return SwiftF0(threads=1, spin=False)


def _at(f0: npt.NDArray[np.floating], positions: npt.NDArray[np.float64]) -> F0:
    """A contour at other places, given in its frames; those behind its end are unvoiced.

    Voiced is what its nearest frame is. F0 lies between that of the two frames around, on a logarithmic scale, where
    both are voiced.
    """
    inside = positions < len(f0) - 0.5
    nearest = np.floor(positions[inside] + 0.5).astype(np.int64)
    offset = positions[inside] - nearest
    other = (nearest + np.sign(offset).astype(np.int64)).clip(0, len(f0) - 1)
    here, there = f0[nearest], f0[other]
    share = np.where(there > 0, np.abs(offset), 0.0)
    found = np.zeros(len(positions), np.float32)
    logarithm = (1 - share) * np.log(np.maximum(here, 1.0)) + share * np.log(np.maximum(there, 1.0))
    found[inside] = np.where(here > 0, np.exp(logarithm), 0.0)
    return found


def at_units(f0: F0, num_units: int, hop_length: int, sample_rate: int, first_sample: int = 0) -> F0:
    """F0 at the centres of units, `(num_units,)`; a unit beyond the track's end is unvoiced.

    The first unit begins at sample `first_sample` of what was tracked.
    """
    centres = (2 * np.arange(num_units) + 1) * hop_length + 2 * first_sample  # half samples
    return _at(f0, (centres * FRAMES_PER_SECOND - sample_rate) / (2 * sample_rate))


@dataclass(frozen=True)
class PitchRange:
    """Where a voice's pitch lies, and how far it moves."""

    median_hz: float
    spread_semitones: float  # as a standard deviation

    @classmethod
    def of(cls, f0: F0) -> "PitchRange":
        """The range of what is voiced; of little voice, the spread is drawn towards a usual one."""
        voiced = f0[f0 > 0]
        if not voiced.size:
            return cls(NEUTRAL_HZ, USUAL_SPREAD)
        # half of what lies between is a normal distribution's standard deviation, and octave errors move it little
        low, median, high = np.percentile(12 * np.log2(voiced.astype(np.float64)), [15.87, 50, 84.13])
        weight = voiced.size / (voiced.size + USUAL_WEIGHT)
        spread = np.sqrt(weight * ((high - low) / 2) ** 2 + (1 - weight) * USUAL_SPREAD**2)
        return cls(float(2 ** (median / 12)), max(float(spread), SMALLEST_SPREAD))

    def shifted(self, semitones: float) -> "PitchRange":
        return replace(self, median_hz=self.median_hz * 2 ** (semitones / 12))


def classes_of(f0: F0, pitch_range: PitchRange, num_classes: int) -> npt.NDArray[np.int64]:
    """A contour in classes `(frames,)`: 0 is unvoiced, the others divide the range evenly from low to high.

    The range is `LIMIT` spreads to each side of the median; what lies beyond is in the first or last class.
    """
    voiced = f0 > 0
    semitones = 12 * np.log2(np.where(voiced, f0, pitch_range.median_hz).astype(np.float64) / pitch_range.median_hz)
    above = semitones / pitch_range.spread_semitones + LIMIT
    steps = np.floor(above * (num_classes - 1) / (2 * LIMIT)).astype(np.int64)
    return np.where(voiced, 1 + steps.clip(0, num_classes - 2), 0)


def centres_of(classes: Any, num_classes: int) -> Any:
    """Centres of voiced classes in spreads above the median, of an array or a tensor alike."""
    return (classes - 0.5) * (2 * LIMIT / (num_classes - 1)) - LIMIT


def contour_of(classes: npt.NDArray[np.int64], pitch_range: PitchRange, num_classes: int) -> F0:
    """F0 in Hz of classes: their centres, of the range given; 0 where unvoiced."""
    hertz = pitch_range.median_hz * 2 ** (centres_of(classes, num_classes) * pitch_range.spread_semitones / 12)
    return np.where(classes > 0, hertz, 0.0).astype(np.float32)


class LivePitch:
    """F0 of a recording that is going on: the same frames, however it is cut into blocks.

    The tracker runs again and again over the last few frames, on a grid of steps, and hears `LIVE_LOOK_AHEAD_SECONDS`
    beyond a frame's end before that is given.

    Args:
        sample_rate: in Hz.
        first: seconds after which the first step ends.
        step: seconds of the others.

    Raises:
        UserError: a sample rate that is not that of a recording.
    """

    def __init__(self, sample_rate: int, first: float = LIVE_STEP_SECONDS, step: float = LIVE_STEP_SECONDS) -> None:
        self.sample_rate = sample_rate
        self._filter, self._resampler = OffsetFilter(sample_rate), StreamResampler(sample_rate, TRACKER_RATE)
        self._meter = LoudnessMeter()  # of what was heard up to the last step
        self._received = 0  # samples, at `sample_rate`; all others are at the tracker's
        self._heard = np.zeros(0, np.float32)  # what is still needed of it
        self._start = 0  # where that begins, a multiple of the tracker's hop
        self._end = 0  # of the last step
        self._ends = (math.floor((first + step * number) * TRACKER_RATE) for number in count())  # of all
        self._next = next(self._ends)
        self._given = 0  # frames

    def feed(self, waveform: Waveform) -> F0:
        """The frames that are certain now and were not before."""
        self._received += len(waveform)
        return self._take(self._resampler.feed(self._filter.feed(waveform)))

    def finish(self) -> F0:
        """The last frames, when the recording has ended."""
        rest = np.concatenate([self._resampler.feed(self._filter.finish()), self._resampler.finish()])
        certain = self._take(rest)
        self._meter.add(self._heard[self._end - self._start :])
        last = self._upto(num_frames(self._received, self.sample_rate), self._heard)
        return np.concatenate([certain, last])

    def _take(self, waveform: Waveform) -> F0:
        """As many steps as the waveform completes."""
        look_ahead = round(LIVE_LOOK_AHEAD_SECONDS * TRACKER_RATE)
        self._heard = np.concatenate([self._heard, waveform])
        found = [np.zeros(0, np.float32)]
        while self._start + len(self._heard) >= self._next:
            heard = self._heard[: self._next - self._start]
            self._meter.add(heard[self._end - self._start :])
            self._end, self._next = self._next, next(self._ends)
            found.append(self._upto((self._end - look_ahead) // FRAME_LENGTH, heard))
        return np.concatenate(found)

    def _upto(self, frame: int, heard: Waveform) -> F0:
        """The frames from the last one given up to this one, out of what was heard since `_start`."""
        frames = np.arange(self._given, frame)
        if not frames.size:
            return np.zeros(0, np.float32)
        found = _tracked(heard, self._meter, frames, self._start)
        self._given = frame
        self._forget()
        return found

    def _forget(self) -> None:
        """Let go of what no later frame needs."""
        context = round(LIVE_CONTEXT_SECONDS * TRACKER_RATE)
        needed = max(0, self._given * FRAME_LENGTH - context) // TRACKER_HOP * TRACKER_HOP
        self._heard, self._start = self._heard[needed - self._start :], needed
