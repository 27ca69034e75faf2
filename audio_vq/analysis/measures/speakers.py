"""How well a linear probe names the speaker of an utterance: the encoder should lose the speaker, the decoder hold it.

Each utterance is one example, as many of each speaker as the one with fewest has. Every utterance is judged once, by a
probe that has seen no utterance with its sentence.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array, hstack
from sklearn.model_selection import StratifiedGroupKFold

from audio_vq.analysis.measures.acoustics import mean_and_deviation
from audio_vq.analysis.measures.encoded import EncodedUtterance
from audio_vq.analysis.measures.probe import Features, fit_linear_probe
from audio_vq.analysis.measures.selection import sentence

FOLDS = 5
LEAST = FOLDS  # utterances of a speaker that counts
MOST = 40  # utterances of one speaker
Z95 = 1.959964  # standard deviations, of a normal distribution's middle 95 %


@dataclass(frozen=True)
class NamedSpeakers:
    """How many utterances were named rightly."""

    accuracy: float
    ci95: tuple[float, float]  # of the accuracy (Wilson's: a bootstrap says nothing where all are right)

    @classmethod
    def of(cls, right: np.ndarray) -> "NamedSpeakers":
        """`right`: `(utterances,)` bool."""
        return cls(float(right.mean()), wilson_ci95(int(right.sum()), len(right)))


@dataclass(frozen=True)
class SpeakerLeakage:
    """Accuracies on held-out utterances, as many of each speaker."""

    units: NamedSpeakers  # from how often each unit of each group occurs in the utterance
    groups: tuple[NamedSpeakers, ...]  # the same from one group's units alone
    chance: float  # 1 / speakers
    from_unit_bigrams: float  # from how often each pair of units that follow each other in a group occurs
    from_pitch: float | None  # from how often each pitch class occurs; None: the model has no pitch
    from_mfcc_kmeans: float  # as of the units, of those of k-means on MFCC
    from_latents: float  # from mean and deviation over time
    from_log_mel: float  # from mean and deviation over time
    speakers: int
    utterances: int

    def figures(self) -> dict[str, Any]:
        """The contract's `speaker_leakage`."""
        others = {name: value for name, value in vars(self).items() if name not in ("units", "groups")}
        return asdict(self.units) | others


def speaker_leakage(
    encoded: Sequence[EncodedUtterance],
    kmeans_units: Sequence[np.ndarray],
    codebook_size: int,
    pitch_classes: int = 0,
    *,
    seed: int,
) -> SpeakerLeakage | None:
    """None where fewer than two speakers have `LEAST` utterances, or all say the same sentence.

    `kmeans_units` `(groups, num_units)` are of the same utterances. `pitch_classes`: 0 of models without pitch.
    """
    chosen = _balanced([each.utterance.speaker for each in encoded], seed=seed)
    if not len(chosen):
        return None
    some = [encoded[index] for index in chosen]
    speakers = np.array([each.utterance.speaker for each in some])
    sentences = [sentence(each.utterance) for each in some]
    if len(set(sentences)) == 1:
        return None
    folds = _folds(speakers, sentences, seed=seed)

    def correct(features: Features) -> np.ndarray:
        """Whether each utterance `(n,)` was named rightly by the probe of the other folds."""
        right = np.zeros(len(speakers), bool)
        for fold in np.unique(folds):
            held_out = np.flatnonzero(folds == fold)
            probe = fit_linear_probe(features[np.flatnonzero(folds != fold)], speakers[folds != fold])
            right[held_out] = probe.predict(features[held_out]) == speakers[held_out]
        return right

    def named(sequences: Sequence[np.ndarray]) -> np.ndarray:
        return correct(_of_groups(frequencies, sequences, codebook_size))

    units = [each.units for each in some]
    pitch = [each.pitch for each in some if each.pitch is not None]
    together = NamedSpeakers.of(named(units))
    alone = [NamedSpeakers.of(named([each[[group]] for each in units])) for group in range(len(units[0]))]
    return SpeakerLeakage(
        units=together,
        groups=tuple(alone),
        chance=1 / len(np.unique(speakers)),
        from_unit_bigrams=float(correct(_of_groups(bigram_frequencies, units, codebook_size)).mean()),
        from_pitch=float(correct(frequencies(pitch, pitch_classes)).mean()) if pitch else None,
        from_mfcc_kmeans=float(named([kmeans_units[i] for i in chosen]).mean()),
        from_latents=float(correct(np.stack([mean_and_deviation(each.latents.T) for each in some])).mean()),
        from_log_mel=float(correct(np.stack([each.acoustics.log_mel for each in some])).mean()),
        speakers=len(np.unique(speakers)),
        utterances=len(some),
    )


def _of_groups(
    features: Callable[[Sequence[np.ndarray], int], csr_array], units: Sequence[np.ndarray], codebook_size: int
) -> csr_array:
    """Features of every group of units `(groups, num_units)`, side by side."""
    rows = [[each[group] for each in units] for group in range(len(units[0]))]
    return hstack([features(row, codebook_size) for row in rows], format="csr")


def frequencies(sequences: Sequence[np.ndarray], size: int) -> csr_array:
    """Square root of how often each unit occurs, per sequence of whole numbers below `size`: `(sequences, size)`.

    Roots of shares are at distances that follow how well two distributions can be told apart (Hellinger). Their
    squares add up to 100, so that weights of variance 1 can tell them apart.
    """
    counts = [Counter(units.tolist()) for units in sequences]
    starts = np.cumsum([0, *(len(each) for each in counts)])
    shares = [10 * np.sqrt(n / each.total()) for each in counts for n in each.values()]
    columns = [unit for each in counts for unit in each]
    return csr_array((np.array(shares, np.float32), np.array(columns, np.int64), starts), shape=(len(counts), size))


def bigram_frequencies(sequences: Sequence[np.ndarray], codebook_size: int) -> csr_array:
    """The same of pairs of neighbours, of those pairs only that occur in more than one sequence."""
    pairs = frequencies([units[:-1] * codebook_size + units[1:] for units in sequences], codebook_size**2)
    return pairs[:, np.flatnonzero(np.bincount(pairs.indices, minlength=1) > 1)]


def wilson_ci95(right: int, count: int) -> tuple[float, float]:
    """95 % interval of a share of independent examples (Wilson 1927)."""
    share, z2 = right / count, Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    reach = Z95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _balanced(speakers: Sequence[str], *, seed: int) -> np.ndarray:
    """Indices of as many utterances of each speaker who has enough; none where that is not two speakers."""
    of_speaker: dict[str, list[int]] = defaultdict(list)
    for index in np.random.default_rng(seed).permutation(len(speakers)):
        of_speaker[speakers[index]].append(int(index))
    enough = {name: indices for name, indices in of_speaker.items() if len(indices) >= LEAST}
    if len(enough) < 2:
        return np.zeros(0, np.int64)
    count = min(MOST, *(len(indices) for indices in enough.values()))
    return np.sort(np.concatenate([indices[:count] for indices in enough.values()]))


def _folds(speakers: np.ndarray, sentences: Sequence[str], *, seed: int) -> np.ndarray:
    """A fold for each utterance: speakers spread evenly, a sentence in one fold only."""
    folds = np.zeros(len(speakers), np.int64)
    splitter = StratifiedGroupKFold(min(FOLDS, len(set(sentences))), shuffle=True, random_state=seed % 2**32)
    for fold, (_, held_out) in enumerate(splitter.split(folds[:, None], speakers, sentences)):
        folds[held_out] = fold
    return folds
