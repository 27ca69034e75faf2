"""Another sample rate, and no constant offset: of waveforms at once or in blocks, with the same samples."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from audio_vq.audio.waveform import Waveform
from audio_vq.errors import UserError
from audio_vq.kernels.filtering import high_passed

LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000  # Hz, of recordings
OFFSET_HZ = 5.0  # below it, what changes is no sound
OFFSET_SECONDS = 0.03  # of a beginning that tells the offset: some periods of a voice, less than live input waits for
# what the lower rate cannot hold comes 130 dB softer; "VHQ" would hold back 76 ms of a microphone's 48 kHz, this 37
QUALITY = "HQ"


def resample(waveform: Waveform, from_rate: int, to_rate: int) -> Waveform:
    """Band-limited resampling (soxr) to ceil(time · to_rate / from_rate) samples."""
    resampler = StreamResampler(from_rate, to_rate)
    return np.concatenate([resampler.feed(waveform), resampler.finish()])


def at_rate(blocks: Iterable[Waveform], from_rate: int, to_rate: int) -> Iterator[Waveform]:
    """A recording's blocks of any length → the same without a constant offset, resampled.

    Raises:
        UserError: a sample rate that no recording has.
    """
    resampler, offset = StreamResampler(from_rate, to_rate), OffsetFilter(from_rate)
    for block in blocks:
        yield resampler.feed(offset.feed(block))
    yield resampler.feed(offset.finish())
    yield resampler.finish()


class OffsetFilter:
    """Takes a constant offset from a waveform that comes in blocks: the same samples, however it is cut.

    A high-pass far below speech (first order, 5 Hz) that begins as if what the first 30 ms have on average had been
    there always: the result does not depend on the offset, not even at the beginning. It follows an offset that drifts,
    and needs no future, so that it is the same live.
    """

    def __init__(self, sample_rate: int) -> None:
        self._pole = float(np.exp(-2 * np.pi * OFFSET_HZ / sample_rate))
        self._gain = (1 + self._pole) / 2  # 1 at the highest frequency
        self._needed = round(OFFSET_SECONDS * sample_rate)
        self._beginning = np.zeros(0, np.float32)
        self._state: npt.NDArray[np.float64] | None = None  # once the beginning has been heard

    def feed(self, waveform: Waveform) -> Waveform:
        """As much as was fed, but nothing before the first 30 ms are there."""
        if self._state is not None:
            return self._filtered(waveform)
        self._beginning = np.concatenate([self._beginning, waveform])
        return self._begin() if len(self._beginning) >= self._needed else np.zeros(0, np.float32)

    def finish(self) -> Waveform:
        """What is still held back of a waveform that was shorter."""
        return np.zeros(0, np.float32) if self._state is not None else self._begin()

    def _begin(self) -> Waveform:
        beginning = self._beginning
        offset = beginning[: self._needed].mean(dtype=np.float64) if len(beginning) else 0.0
        self._state, self._beginning = np.array([-self._gain * offset]), np.zeros(0, np.float32)
        return self._filtered(beginning)

    def _filtered(self, waveform: Waveform) -> Waveform:
        if not len(waveform):
            return waveform
        assert self._state is not None
        block = np.ascontiguousarray(waveform, np.float32)
        return high_passed(block, self._gain, self._pole, self._state).astype(np.float32)


class StreamResampler:
    """`resample` for a waveform that comes in blocks: the same samples, however it is cut."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        for rate in (from_rate, to_rate):
            if not LOWEST_RATE <= rate <= HIGHEST_RATE:
                raise UserError(f"a sample rate of {rate} Hz; expected {LOWEST_RATE} to {HIGHEST_RATE} Hz")
        self.from_rate, self.to_rate = from_rate, to_rate
        self._received, self._given = 0, 0  # samples in and out
        self._stream = None
        if from_rate != to_rate:
            import soxr

            self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality=QUALITY)

    def feed(self, waveform: Waveform) -> Waveform:
        """What this block completes; less than it covers, since the filter looks ahead."""
        if self._stream is None:
            return waveform
        self._received += len(waveform)
        resampled = self._stream.resample_chunk(np.ascontiguousarray(waveform, np.float32))
        self._given += len(resampled)
        return np.asarray(resampled, np.float32)

    def finish(self) -> Waveform:
        """The rest, when the waveform has ended."""
        if self._stream is None:
            return np.zeros(0, np.float32)
        rest = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        missing = -(-self._received * self.to_rate // self.from_rate) - self._given
        return np.pad(rest[:missing], (0, max(0, missing - len(rest))))
