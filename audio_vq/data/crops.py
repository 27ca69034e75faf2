"""Training crops: batch number `step` of process `rank` is a pure function of (seed, step, rank).

Resuming therefore needs no loader state, and any step can be reproduced alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle, islice, zip_longest

import numpy as np
import numpy.typing as npt
import torch

from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.errors import UserError

FIXED_SEED = 20171102  # validation crops are the same in every run, so that runs compare


@dataclass(frozen=True)
class Crops:
    waveform: torch.Tensor  # (batch, time) float32 in [-1, 1]
    speaker: torch.Tensor  # (batch,) int64, index in corpus.speakers
    utterance: tuple[int, ...]  # (batch,) index in corpus.utterances
    start: tuple[int, ...]  # (batch,) the crops' first samples in their utterances


class CropSampler:
    """Draws a speaker, then one of its utterances in proportion to its length, then a start, uniform.

    A speaker's probability is proportional to seconds ** speaker_balance: 1 follows the data, 0 gives all
    speakers the same share.
    """

    def __init__(
        self,
        corpus: PreparedCorpus,
        split: str,
        crop_length: int,
        batch_size: int,
        seed: int,
        *,
        speaker_balance: float = 0.5,
    ) -> None:
        """Utterances shorter than `crop_length` samples are left out and counted in `skipped`.

        Raises:
            UserError: no utterance of the split is long enough.
        """
        chosen = corpus.select(split)
        long_enough = {utterance for utterance in chosen if utterance.num_samples >= crop_length}
        if not long_enough:
            raise UserError(_nothing_to_crop(corpus, split, chosen, crop_length))
        self.corpus = corpus
        self.crop_length = crop_length  # samples
        self.batch_size = batch_size
        self.seed = seed
        self.skipped = len(chosen) - len(long_enough)
        by_speaker: dict[str, list[int]] = {}
        for index, utterance in enumerate(corpus.utterances):
            if utterance in long_enough:
                by_speaker.setdefault(utterance.speaker, []).append(index)
        self._utterances = [np.array(by_speaker[speaker]) for speaker in sorted(by_speaker)]
        lengths = np.array([utterance.num_samples for utterance in corpus.utterances], dtype=np.float64)
        self._utterance_bounds = [_bounds(lengths[indices]) for indices in self._utterances]
        seconds = np.array([lengths[indices].sum() for indices in self._utterances]) / corpus.sample_rate
        self._speaker_bounds = _bounds(seconds**speaker_balance)

    def batch(self, step: int, rank: int = 0) -> Crops:
        """The crops of one training step of one process."""
        # only uniform draws are used: numpy keeps their stream the same from version to version
        draws = np.random.default_rng([self.seed, step, rank]).random((self.batch_size, 3))
        picks = []
        for for_speaker, for_utterance, for_start in draws:
            speaker = _pick(self._speaker_bounds, for_speaker)
            index = self._utterances[speaker][_pick(self._utterance_bounds[speaker], for_utterance)]
            picks.append((int(index), for_start))
        return self._cut(picks)

    def fixed(self, count: int) -> Crops:
        """A validation set: the same `count` crops in every call and every run, whatever the seed.

        Speakers take turns, and no utterance returns before all have been used: neighbours in the batch come
        from different utterances wherever the split has two.
        """
        rng = np.random.default_rng(FIXED_SEED)
        shuffled = [indices[np.argsort(rng.random(len(indices)))] for indices in self._utterances]
        turns = [int(index) for turn in zip_longest(*shuffled) for index in turn if index is not None]
        return self._cut([(index, rng.random()) for index in islice(cycle(turns), count)])

    def _cut(self, picks: Iterable[tuple[int, float]]) -> Crops:
        """Crops of utterances at places given as a fraction of the possible starts."""
        waveforms, speakers, indices, starts = [], [], [], []
        for index, fraction in picks:
            utterance = self.corpus.utterances[index]
            start = int(fraction * (utterance.num_samples - self.crop_length + 1))
            waveforms.append(self.corpus.waveform(utterance, start, self.crop_length))
            speakers.append(self.corpus.speakers.index(utterance.speaker))
            indices.append(index)
            starts.append(start)
        return Crops(torch.from_numpy(np.stack(waveforms)), torch.tensor(speakers), tuple(indices), tuple(starts))


def _bounds(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Upper ends of the weights' shares of [0, 1)."""
    bounds = np.cumsum(weights)
    return bounds / bounds[-1]


def _pick(bounds: npt.NDArray[np.float64], draw: float) -> int:
    return int(np.searchsorted(bounds, draw, side="right"))


def _nothing_to_crop(corpus: PreparedCorpus, split: str, chosen: tuple[Utterance, ...], crop_length: int) -> str:
    if not chosen:
        return (
            f"{corpus.folder} has no {split} utterance of a speaker who is trained on; prepare a corpus with more "
            "recordings of each speaker, or with longer ones, which are cut at pauses"
        )
    longest = max(chosen, key=lambda utterance: utterance.num_samples)
    return (
        f"no {split} utterance of {corpus.folder} has the {crop_length} samples of a crop; the longest is "
        f"{longest.id} with {longest.num_samples}: use shorter crops or longer recordings"
    )
