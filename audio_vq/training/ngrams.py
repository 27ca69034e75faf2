"""Unigram and bigram models of unit sequences: what a prior has to beat."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Units = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ngrams:
    """Smoothed probabilities: every unit has some everywhere."""

    unigram: npt.NDArray[np.float64]  # (K,)
    bigram: npt.NDArray[np.float64]  # (K + 1, K): rows are the unit before; the last one begins a sequence

    @classmethod
    def fit(cls, sequences: Sequence[Units], codebook_size: int) -> "Ngrams":
        """Counts, smoothed: unigrams by adding one, bigrams by Witten & Bell 1991, method C.

        A bigram row leaves the unigrams as large a share as it has seen kinds of successors among its pairs.
        """
        pairs = np.zeros((codebook_size + 1, codebook_size))
        for units in sequences:
            np.add.at(pairs, (_before(units, codebook_size), units), 1)
        counts = pairs.sum(0)
        unigram = (counts + 1) / (counts.sum() + codebook_size)
        # a unit never seen has no successors: one made-up kind leaves its row to the unigrams
        kinds = np.maximum((pairs > 0).sum(1, keepdims=True), 1)
        return cls(unigram, (pairs + kinds * unigram) / (pairs.sum(1, keepdims=True) + kinds))

    def unigram_bits(self, sequences: Sequence[Units]) -> float:
        """Mean −log2 p(unit)."""
        return float(-np.log2(self.unigram[np.concatenate(sequences)]).mean())

    def bigram_bits(self, sequences: Sequence[Units]) -> float:
        """Mean −log2 p(unit | unit before)."""
        size = len(self.unigram)
        return float(-np.log2(np.concatenate([self.bigram[_before(u, size), u] for u in sequences])).mean())


def ngram_bits(train: Sequence[Units], valid: Sequence[Units], track_sizes: Sequence[int]) -> dict[str, float]:
    """Bits per unit of the validation codes `(tracks, time)`: each track by n-grams of its own, summed."""
    unigram = bigram = 0.0
    for track, size in enumerate(track_sizes):
        ngrams = Ngrams.fit([code[track] for code in train], size)
        known = [code[track] for code in valid]
        unigram += ngrams.unigram_bits(known)
        bigram += ngrams.bigram_bits(known)
    return {"unigram_bits": round(unigram, 5), "bigram_bits": round(bigram, 5)}


def _before(units: Units, begin: int) -> Units:
    return np.concatenate([[begin], units[:-1]])
