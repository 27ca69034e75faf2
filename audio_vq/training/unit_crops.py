"""Training examples of the prior: a batch is a pure function of (seed, step, rank)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Code = npt.NDArray[np.int64]  # (tracks, time)

NOT_SCORED = -100  # torch's own mark for targets that do not count
LEAD_IN = 8  # units that a crop from inside an utterance only reads: its beginning is not an utterance's


@dataclass(frozen=True)
class UnitBatch:
    codes: Tensor  # (batch, tracks, context), padded with 0
    targets: Tensor  # the same shape: what is to be predicted of them, NOT_SCORED elsewhere
    speaker: Tensor  # (batch,)


class UnitCrops:
    """Draws an utterance, then where its crop begins.

    Utterances are drawn in proportion to their length and, like the VQ-VAE's crops, such that a speaker's
    share is proportional to units ** speaker_balance. A crop begins anywhere from half a context before the
    utterance, which means at its first unit: the model has to learn how utterances begin.

    Args:
        sequences: the utterances' codes, `(tracks, time)`, at least one.
        speakers: of each.
        context: units of a crop.
        batch_size: crops of a batch.
        seed: of the draws.
        speaker_balance: 0 gives all speakers the same share, 1 follows the data.
    """

    def __init__(
        self,
        sequences: Sequence[Code],
        speakers: Sequence[int],
        *,
        context: int,
        batch_size: int,
        seed: int,
        speaker_balance: float,
    ) -> None:
        self.sequences = sequences
        self.speakers = np.array(speakers)
        self.context, self.batch_size, self.seed = context, batch_size, seed
        lengths = np.array([code.shape[1] for code in sequences], dtype=np.float64)
        of_speaker = np.bincount(self.speakers, weights=lengths)[self.speakers]
        bounds = np.cumsum(lengths * of_speaker ** (speaker_balance - 1))
        self._bounds = bounds / bounds[-1]

    def batch(self, step: int, rank: int = 0) -> UnitBatch:
        """The crops of one training step of one process."""
        draws = np.random.default_rng([self.seed, step, rank]).random((self.batch_size, 2))
        codes = np.zeros((self.batch_size, len(self.sequences[0]), self.context), np.int64)
        targets = np.full_like(codes, NOT_SCORED)
        chosen = np.searchsorted(self._bounds, draws[:, 0], side="right")
        for row, (index, place) in enumerate(zip(chosen, draws[:, 1], strict=True)):
            sequence = self.sequences[index]
            before = self.context // 2
            last = max(0, sequence.shape[1] - self.context)
            start = max(0, int(place * (before + last + 1)) - before) if last else 0
            crop = sequence[:, start : start + self.context]
            read_only = min(LEAD_IN, self.context // 2) if start else 0
            codes[row, :, : crop.shape[1]] = crop
            targets[row, :, read_only : crop.shape[1]] = crop[:, read_only:]
        return UnitBatch(torch.from_numpy(codes), torch.from_numpy(targets), torch.from_numpy(self.speakers[chosen]))
