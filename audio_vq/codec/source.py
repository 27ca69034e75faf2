"""Recordings on their way to the encoder: the one home of reading them and of bringing them to their level.

Arrays, files, prepared utterances and live input all become blocks of a waveform at the model's sample rate, without a
constant offset (`audio.at_rate`). A recording that is there from end to end then gets one gain, by how loud it is; of
one that is still being spoken only the beginning is known.
"""

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from audio_vq.audio.files import audio_blocks, file_seconds, read_bytes
from audio_vq.audio.resampling import at_rate
from audio_vq.audio.waveform import Waveform, checked_waveform
from audio_vq.errors import UserError
from audio_vq.loudness import MAX_GAIN_DB, LoudnessMeter

KEPT_SAMPLES = 1 << 22  # a recording up to this long (4 minutes) is read once; a longer one again for every use
SPEECH_DB = -50.0  # below full scale; what is softer is taken for a pause while nothing louder was heard


@dataclass(frozen=True)
class Source:
    """A recording, read when its turn comes."""

    id: str
    speaker: str  # empty where unknown
    version: str  # changes when the recording does
    read: Callable[[int], Iterator[Waveform]]  # its blocks, from the beginning, at this sample rate
    seconds: float = 0.0  # its duration as far as it is known beforehand: of files, what their headers say


def array_source(waveform: Waveform, sample_rate: int) -> Source:
    """Raises UserError for what is not a waveform."""
    checked = checked_waveform(waveform)
    seconds = len(checked) / sample_rate if sample_rate else 0.0  # an impossible rate is said when it is read
    return Source("waveform", "", "", partial(at_rate, [checked], sample_rate), seconds)


def file_source(path: Path, name: str) -> Source:
    """What is not there, or is not audio, is a UserError when it is read. A pipe is read once and kept."""
    try:
        status = path.stat()
    except OSError:
        return Source(name, "", "", partial(audio_blocks, path))
    version = f"{status.st_size} {status.st_mtime_ns}"
    if stat.S_ISREG(status.st_mode):
        return Source(name, "", version, partial(audio_blocks, path), file_seconds(path))
    return Source(name, "", version, _Kept(path).blocks)


class _Kept:
    """What comes through a pipe, which can be read only once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content: bytes | None = None

    def blocks(self, sample_rate: int) -> Iterator[Waveform]:
        if self._content is None:
            self._content = read_bytes(self._path)
        yield from audio_blocks(self._path, sample_rate, self._content)


@dataclass(frozen=True)
class Levelled:
    """A recording that was heard from end to end."""

    meter: LoudnessMeter  # of what was heard, before the gain
    gain: float
    read: Callable[[], Iterator[Waveform]]  # again, without the gain
    told: Callable[[int], None] | None = None  # of samples that were gone through

    def blocks(self) -> Iterator[Waveform]:
        """From the beginning, with the gain; as often as wanted."""
        for block in self.read():
            yield block * np.float32(self.gain)
            if self.told:
                self.told(len(block))

    @property
    def too_quiet(self) -> bool:
        """Whether more gain was wanted than is given."""
        return self.gain >= 10 ** (MAX_GAIN_DB / 20)


def levelled(
    source: Source, sample_rate: int, loudness_db: float | None, told: Callable[[int], None] | None = None
) -> Levelled:
    """Brings a recording to a loudness, in whole decibels; without one, within full scale.

    Raises:
        UserError: it cannot be read.
    """
    kept: list[Waveform] = []
    meter = LoudnessMeter()
    for block in source.read(sample_rate):
        meter.add(block)
        if meter.num_samples <= KEPT_SAMPLES:
            kept.append(block)
        else:
            kept.clear()
        if told:
            told(len(block))
    if meter.num_samples == 0:
        raise UserError(f"{source.id} holds no samples; expected recorded audio")
    gain = 1 / max(1.0, meter.peak) if loudness_db is None else meter.whole_decibel_gain(loudness_db)
    return Levelled(meter, gain, kept.__iter__ if kept else partial(source.read, sample_rate), told)


class RunningGain:
    """Brings speech to a loudness by what was heard so far, in whole decibels.

    It is 0 dB until something louder than `SPEECH_DB` was heard, follows all that was heard from then on, and settles
    within the first words.
    """

    def __init__(self, target_db: float | None) -> None:
        self._target_db = target_db
        self._meter = LoudnessMeter()

    def apply(self, waveform: Waveform) -> Waveform:
        if self._target_db is None:
            return waveform
        self._meter.add(waveform)
        if self._meter.active_rms() < 10 ** (SPEECH_DB / 20):
            return waveform
        return waveform * np.float32(self._meter.whole_decibel_gain(self._target_db))


class FixedGain:
    """The same gain throughout: with the one that the whole recording would get, units are those of `encode`."""

    def __init__(self, factor: float) -> None:
        self._gain = np.float32(factor)

    @classmethod
    def of_decibels(cls, decibels: float) -> "FixedGain":
        """Raises UserError for a number that makes no sense."""
        if not abs(decibels) <= 100:
            raise UserError(f"a gain (--gain-db) of {decibels:g} dB; expected a number from -100 to 100")
        return cls(10 ** (decibels / 20))

    def apply(self, waveform: Waveform) -> Waveform:
        return waveform * self._gain
