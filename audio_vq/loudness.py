"""Loudness of speech: measured over its active part, so that pauses do not count.

Waveforms are float32 `(time,)` in [-1, 1].
"""

from array import array
from typing import Self

import numpy as np
import numpy.typing as npt

from audio_vq.audio.waveform import Waveform

FRAME_LENGTH = 400  # samples; 25 ms at 16 kHz
ACTIVE_RANGE_DB = 30.0  # frames this far below the loudest one are pauses
PEAK_LIMIT = 0.95  # of full scale
MAX_GAIN_DB = 30.0  # what would need more is no speech, or its noise would come up with it


class LoudnessMeter:
    """Loudness of a recording that comes in blocks of any length: one number is kept per 25 ms."""

    def __init__(self) -> None:
        self.num_samples = 0
        self.peak = 0.0
        self._power = array("d")  # of frames
        self._rest = np.zeros(0, np.float32)  # of a frame that is not complete

    def add(self, waveform: Waveform) -> Self:
        self.num_samples += len(waveform)
        if len(waveform):
            self.peak = max(self.peak, float(np.abs(waveform).max()))
        samples = np.concatenate([self._rest, waveform])
        whole = len(samples) - len(samples) % FRAME_LENGTH
        self._power.frombytes(_frame_power(samples[:whole]).tobytes())
        self._rest = samples[whole:]
        return self

    def active_rms(self) -> float:
        """RMS over the frames within 30 dB of the loudest one; 0 where there are none."""
        power = self.frame_power()
        if power.size == 0:
            return 0.0
        return float(np.sqrt(power[power >= power.max() * 10 ** (-ACTIVE_RANGE_DB / 10)].mean()))

    def frame_power(self) -> npt.NDArray[np.float64]:
        """Mean square of every frame of `FRAME_LENGTH` samples; silence completes the last one."""
        last = np.pad(self._rest, (0, -len(self._rest) % FRAME_LENGTH))
        return np.concatenate([np.frombuffer(self._power), _frame_power(last)])

    def gain(self, target_db: float) -> float:
        """What brings active speech to `target_db` within the peak limit, at most `MAX_GAIN_DB`; 1 for silence."""
        active = self.active_rms()
        if active == 0:
            return 1.0
        return min(10 ** (target_db / 20) / active, PEAK_LIMIT / self.peak, 10 ** (MAX_GAIN_DB / 20))

    def whole_decibel_gain(self, target_db: float) -> float:
        """`gain` in whole decibels: the same whether or not silence surrounds the recording."""
        return float(10 ** (round(20 * np.log10(self.gain(target_db))) / 20))


def normalise_loudness(waveform: Waveform, target_db: float) -> Waveform:
    """Scale so that active speech has an RMS of `target_db` (dB relative to full scale).

    Pauses do not count, see `active_rms`. The gain is lowered where the peak would pass 0.95 of full scale, and is at
    most 30 dB. Silence is returned as it is.
    """
    return waveform * np.float32(LoudnessMeter().add(waveform).gain(target_db))


def active_rms(waveform: Waveform) -> float:
    """RMS over the frames of 25 ms (at 16 kHz) within 30 dB of the loudest one; 0 for an empty waveform."""
    return LoudnessMeter().add(waveform).active_rms()


def _frame_power(waveform: Waveform) -> npt.NDArray[np.float64]:
    return (waveform.astype(np.float64).reshape(-1, FRAME_LENGTH) ** 2).mean(axis=1)  # (frames,)
