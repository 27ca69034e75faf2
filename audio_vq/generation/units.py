"""Unit sequences from the prior, and the bits it needs for given ones.

Sequences may be longer than the prior's context. Then the oldest units are forgotten, half a context at a
time: each unit is predicted from the speaker and at least the `context // 2` units before it. Moving the
window by one unit would change all that is cached; by half a context, it costs a pass over it now and then.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from audio_vq.generation.drawing import SamplingOptions, draw, random_stream
from audio_vq.models.prior import PriorModel

Units = npt.NDArray[np.int64]

SCORING_BATCH = 32  # windows at a time


@torch.inference_mode()
def sample_units(prior: PriorModel, speaker: Tensor, num_units: int, options: SamplingOptions) -> Units:
    """Draws units `(batch, num_units)`, any number, one sequence per entry of `speaker` `(batch,)` int64.

    Sequence b depends on the seed, b and its speaker, not on the others.
    """
    batch, device = len(speaker), prior.embedding.weight.device
    uniforms = np.stack([random_stream(options.seed, b).random(num_units) for b in range(batch)])
    draws = torch.from_numpy(uniforms).to(device)
    units = torch.zeros(batch, num_units, dtype=torch.int64, device=device)
    cached = CachedPrior(prior, speaker.to(device))
    for t in range(num_units):
        units[:, t] = draw(cached.logits(units[:, :t]), draws[:, t], options)
    return units.cpu().numpy()


class CachedPrior:
    """Predicts the next unit again and again; keeps keys and values of the past: each costs one step."""

    def __init__(self, prior: PriorModel, speaker: Tensor) -> None:
        self.prior = prior
        self.speaker = speaker  # (B,)
        self.start = 0  # first unit in the window
        self.caches = prior.empty_caches(len(speaker))

    def logits(self, units: Tensor) -> Tensor:
        """Logits `(batch, K)` of what follows `units` `(batch, time)`: none at first, one more each call."""
        time = units.shape[1]
        if 1 + time - self.start > self.prior.context:  # the speaker and the window
            self.start = time - self.prior.context // 2
            self.caches = self.prior.empty_caches(len(self.speaker))
        if self.caches[0].length == 0:
            inputs = self.prior.inputs(units[:, self.start :], self.speaker)
        else:
            inputs = self.prior.embedding(units[:, -1:])
        return self.prior.predict(inputs, self.caches)[:, -1]


@torch.inference_mode()
def unit_bits(prior: PriorModel, sequences: Sequence[Units], speakers: Sequence[int]) -> list[npt.NDArray[np.float64]]:
    """Bits −log2 p(unit | units before, speaker) of every unit `(time,)`, for sequences of any lengths.

    A sequence longer than the context is read in windows that begin half a context apart.
    """
    device = prior.embedding.weight.device
    bits = [np.zeros(len(sequence)) for sequence in sequences]
    windows = [(i, *window) for i, units in enumerate(sequences) for window in _windows(len(units), prior.context)]
    windows.sort(key=lambda window: window[1] - window[3])  # similar lengths together: little padding
    for first in range(0, len(windows), SCORING_BATCH):
        part = windows[first : first + SCORING_BATCH]
        units = torch.zeros(len(part), max(end - start for _, start, _, end in part), dtype=torch.int64)
        for row, (i, start, _, end) in enumerate(part):
            units[row, : end - start] = torch.from_numpy(sequences[i][start:end])
        speaker = torch.tensor([speakers[i] for i, *_ in part])
        logits = prior(units.to(device), speaker.to(device)).float()
        nats = F.cross_entropy(logits, units.to(device), reduction="none").cpu().numpy()  # (B, T)
        for row, (i, start, fresh, end) in enumerate(part):
            bits[i][fresh:end] = nats[row, fresh - start : end - start] / np.log(2)
    return bits


def _windows(length: int, context: int) -> list[tuple[int, int, int]]:
    """(start, first unit to be scored, end) of windows that together score every unit once."""
    windows = [(0, 0, min(length, context))] if length else []
    while windows and windows[-1][2] < length:
        fresh = windows[-1][2]
        start = fresh - context // 2
        windows.append((start, fresh, min(length, start + context)))
    return windows
