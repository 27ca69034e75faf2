"""What is known of a recording as a whole when it is encoded: its mean spectrum and its pitch range.

Of a recording that is there from end to end both are found before its units are. Of one that is still being spoken,
they are estimated from what was heard so far, and from what one expects of anybody.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from audio_vq.audio.resampling import StreamResampler
from audio_vq.audio.waveform import Waveform
from audio_vq.codec.codec import Codec
from audio_vq.codec.source import Levelled
from audio_vq.models.filterbank import ACTIVE_RANGE_DB, LOG_SCALE
from audio_vq.pitch import F0, TRACKER_RATE, PitchRange, num_frames, track_blocks

STEP_DB = 0.1  # frames are told apart by loudness in so many decibels
STEP = STEP_DB * math.log(10) / 10 / LOG_SCALE  # the same in the filterbank's units
EXPECTED_SECONDS = 1.0  # that the mean spectrum of a corpus weighs: half of it was worse after 0.5 s, twice after 1.5 s
EXPECTED_VOICED = 10  # frames of voice that a neutral pitch range weighs: voices differ more than one moves
VOICED_KEPT = 6000  # frames of voice, a minute, that a running pitch range remembers

Spectrum = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RecordingStatistics:
    mean_spectrum: Spectrum | None = None  # (filters,), of models whose encoder is centred
    pitch_range: PitchRange | None = None  # of models with pitch


UNKNOWN = RecordingStatistics()


class SpectrumMeter:
    """`mean_spectrum` of a recording that comes in parts: sums of its frames are kept, apart by loudness.

    Where the loudest frame's range ends, it is right to `STEP_DB`.
    """

    def __init__(self) -> None:
        self._sums: dict[int, npt.NDArray[np.float64]] = {}  # by loudness in steps: (1 + filters,), how many first

    def add(self, frames: Spectrum) -> None:
        """Frames `(frames, filters)` of the filterbank."""
        steps = np.floor(frames.mean(1, dtype=np.float64) / STEP).astype(np.int64)
        counted = np.concatenate([np.ones((len(frames), 1)), frames], 1)
        for step in np.unique(steps).tolist():
            self._sums[step] = self._sums.get(step, 0.0) + counted[steps == step].sum(0)

    def expect(self, frame: Spectrum, count: float) -> None:
        """As if one frame `(filters,)` had been heard `count` times; it may be a fraction."""
        step = math.floor(frame.mean(dtype=np.float64) / STEP)
        self._sums[step] = self._sums.get(step, 0.0) + count * np.concatenate([[1.0], frame])

    def mean(self) -> Spectrum:
        """`(filters,)`. Something must have been heard or expected."""
        lowest = max(self._sums) - round(ACTIVE_RANGE_DB / STEP_DB)
        total = np.sum([self._sums[step] for step in sorted(self._sums) if step >= lowest], axis=0)
        return (total[1:] / total[0]).astype(np.float32)


class RunningRange:
    """The pitch range of somebody who is still speaking."""

    def __init__(self) -> None:
        self._voiced = np.zeros(0, np.float32)

    def add(self, f0: F0) -> None:
        self._voiced = np.concatenate([self._voiced, f0[f0 > 0]])[-VOICED_KEPT:]

    def range(self) -> PitchRange:
        found, neutral = PitchRange.of(self._voiced), PitchRange.of(self._voiced[:0])
        weight = len(self._voiced) / (len(self._voiced) + EXPECTED_VOICED)
        return replace(found, median_hz=found.median_hz**weight * neutral.median_hz ** (1 - weight))


def mean_spectrum_of(codec: Codec, heard: Levelled) -> Spectrum:
    """Of a recording as it will be encoded."""
    meter = SpectrumMeter()
    for chunk in codec.chunk_encoder.cut(heard.blocks()):
        meter.add(codec.chunk_encoder.spectrum(chunk))
    return meter.mean()


def pitch_of(codec: Codec, heard: Levelled) -> F0:
    """The contour of a recording."""
    blocks = _for_tracker(heard.blocks(), codec.sample_rate)
    return track_blocks(
        blocks, heard.gain * heard.meter.active_rms(), num_frames(heard.meter.num_samples, codec.sample_rate)
    )


def _for_tracker(blocks: Iterator[Waveform], sample_rate: int) -> Iterator[Waveform]:
    """At the rate of the tracker."""
    resampler = StreamResampler(sample_rate, TRACKER_RATE)
    for block in blocks:
        yield resampler.feed(block)
    yield resampler.finish()
