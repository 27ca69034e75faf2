"""Sampled speech, brought to the spectrum that the model's conditioning network says (`Conditioner.with_spectrum`).

A decoder that has learned for hours, not weeks, draws noise between formants and harmonics; the network that tells it
what to say learns far faster. So each frame of what was drawn is filtered by the ratio, filter by filter of a
filterbank, of the energy that was said to the energy that is there.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from audio_vq.audio.waveform import Waveform
from audio_vq.models.filterbank import CENTRE, FLOOR, LOG_SCALE, Filterbank

Doubles = npt.NDArray[np.float64]

LIMIT_DB = 20.0  # of gains, up and down
DECIBELS = LOG_SCALE * 10 / math.log(10)  # of energy in one of the filterbank's units


@dataclass
class PostfilterState:
    """What is still needed of a waveform: plain arrays and numbers."""

    samples: Doubles  # from the next frame's first one on
    overlap: Doubles  # (hop,): what the last frame gives to the next one's first half
    surplus: int  # samples before the waveform, still to be left out
    spectrum: list[Doubles] = field(default_factory=list)  # (filters,) of each frame that waits
    last: Doubles | None = None  # frame of the spectrum that came last


class Postfilter:
    """Filters one waveform as it comes: the same samples however it is cut.

    Frames lie as the filterbank's do, one per hop, and are two hops long under the root of a Hann window. The first and
    the last one are used once more for what lies beyond them.

    Args:
        filterbank: which the spectrum is of.
        state: of a waveform to be continued.

    Attributes:
        filters: how many.
        state: to be kept and continued.
    """

    def __init__(self, filterbank: Filterbank, state: PostfilterState | None = None) -> None:
        self.filters = filterbank.filters
        self._hop = hop = filterbank.hop_length
        window = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop))
        responses = filterbank.responses(2 * hop).cpu().numpy()  # (filters, hop + 1)
        self._window = window
        self._energies = responses / (2 * hop * np.square(window).sum())  # of a frame's power spectrum
        self._shares = responses / responses.sum(0)  # of each filter in the gain of a frequency
        before = hop + hop // 2  # the first frame begins half a hop early, and one more comes before it
        self.state = state or PostfilterState(samples=np.zeros(before), overlap=np.zeros(hop), surplus=before)

    def push(self, waveform: Waveform, spectrum: npt.NDArray[np.floating]) -> Waveform:
        """Takes further samples, and further frames `(frames, filters)` of the spectrum that is wanted.

        Returns:
            the samples that depend on nothing still unknown.
        """
        state = self.state
        state.samples = np.concatenate([state.samples, waveform])
        if len(spectrum):
            first = [spectrum[0]] if state.last is None else []
            state.spectrum += [frame.astype(np.float64) for frame in (*first, *spectrum)]
            state.last = state.spectrum[-1]
        ready = max(0, min(len(state.spectrum), len(state.samples) // self._hop - 1))
        parts = [np.zeros(0), *(self._next(i) for i in range(ready))]
        state.samples, state.spectrum = state.samples[ready * self._hop :], state.spectrum[ready:]
        filtered = np.concatenate(parts)
        given = filtered[state.surplus :]
        state.surplus -= len(filtered) - len(given)
        return given.clip(-1, 1).astype(np.float32)

    def finish(self) -> Waveform:
        """The last samples: silence follows."""
        if self.state.last is None:
            return np.zeros(0, np.float32)
        beyond = self._hop - self._hop // 2
        return self.push(np.zeros(self._hop + beyond, np.float32), self.state.last[None])[:-beyond]

    def _next(self, number: int) -> Doubles:
        """The samples of a hop that the frame of this number among those waiting completes."""
        state, hop = self.state, self._hop
        frame = state.samples[number * hop : (number + 2) * hop]
        # frame by frame, not together: products of other sizes round differently
        spectrum = np.fft.rfft(frame * self._window)
        energies = self._energies @ np.square(np.abs(spectrum))
        there = (np.log(energies + FLOOR) + CENTRE) / LOG_SCALE
        gains_db = ((state.spectrum[number] - there) * DECIBELS).clip(-LIMIT_DB, LIMIT_DB)
        filtered = np.fft.irfft(spectrum * 10 ** (gains_db @ self._shares / 20), 2 * hop) * self._window
        completed = state.overlap + filtered[:hop]
        state.overlap = filtered[hop:]
        return completed


def held_back(filterbank: Filterbank, late: int = 0) -> int:
    """Samples of whole frames that have been pushed, `late` samples late, and not yet come back."""
    hop, begun = filterbank.hop_length, filterbank.hop_length // 2
    return hop + begun + max(0, -((begun - late) // hop)) * hop


def postfiltered(filterbank: Filterbank, waveform: Waveform, spectrum: npt.NDArray[np.floating]) -> Waveform:
    """A whole waveform `(frames · hop_length,)`, by the spectrum `(frames, filters)` that is wanted."""
    postfilter = Postfilter(filterbank)
    return np.concatenate([postfilter.push(waveform, spectrum), postfilter.finish()])
