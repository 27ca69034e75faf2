"""The phone protocol: what units say about phones.

Each unit is mapped to the phone it co-occurs with most in the mapping utterances; the map is scored on
others, at the centre of each unit's frame (van den Oord et al. 2017, section 4.3). Purities and PNMI are
those of HuBERT (Hsu et al. 2021, section III.C), measured on the scored utterances.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audio_vq.analysis.alignment.alignments import Alignment

BOOTSTRAP_RESAMPLES = 1000
SHUFFLES = 5


@dataclass(frozen=True, eq=False)
class LabelledUnits:
    """One utterance: a unit and a phone per frame."""

    id: str
    units: np.ndarray  # (frames,) int64
    phones: np.ndarray  # (frames,) of strings


@dataclass(frozen=True, eq=False)
class PhoneScores:
    """Figures of the contract's `phones`, and what the plots need."""

    classes: int  # phones that occur in the mapping or the scored utterances
    accuracy: float  # share of scored frames whose unit maps to their phone
    ci95: tuple[float, float]  # of the accuracy, by bootstrap over utterances
    majority: float  # accuracy of always saying the commonest phone of the mapping utterances
    shuffled_units: float  # accuracy when units are permuted over the frames, mapping and scored alike
    num_frames: int  # scored
    pnmi: float  # I(phone; unit) / H(phone)
    phone_purity: float  # accuracy if every unit knew its commonest phone among the scored frames
    unit_purity: float  # the same the other way round: each phone's commonest unit
    recall: dict[str, float]  # per phone that was scored
    joint: np.ndarray  # (codebook_size, classes) scored frames with this unit and this phone
    phones: tuple[str, ...]  # (classes,) names, sorted
    unit_phones: tuple[str, ...]  # (codebook_size,) what each unit maps to

    def figures(self) -> dict[str, Any]:
        """The contract's keys."""
        for_plots = {"recall", "joint", "phones", "unit_phones"}
        return {name: value for name, value in vars(self).items() if name not in for_plots}


def frame_centres(num_units: int, hop_length: int, num_samples: int, sample_rate: int) -> np.ndarray:
    """Seconds of the centre of each unit's frame in the prepared audio, `(num_units,)`.

    Unit i covers samples [i · hop, (i + 1) · hop). The last may end after the recording; its centre does not.
    """
    samples = (np.arange(num_units) + 0.5) * hop_length
    return np.minimum(samples, num_samples - 0.5) / sample_rate


def label_frames(alignment: Alignment, centres: np.ndarray, offset_seconds: float) -> np.ndarray:
    """Phone at each frame centre, `(frames,)` strings; centres count from the start of the prepared audio."""
    return alignment.labels_at(centres + offset_seconds)


def score_phones(
    mapping: Sequence[LabelledUnits],
    scored: Sequence[LabelledUnits],
    *,
    codebook_size: int,
    seed: int,
) -> PhoneScores:
    """Learn unit → phone on `mapping`, score it on `scored`; both must hold frames."""
    names = tuple(np.unique(np.concatenate([each.phones for each in (*mapping, *scored)])).tolist())
    map_units, map_phones = _concatenated(mapping, names)
    units, phones = _concatenated(scored, names)
    to_phone = learn_map(joint_counts(map_units, map_phones, codebook_size, len(names)))
    correct = to_phone[units] == phones
    joint = joint_counts(units, phones, codebook_size, len(names))
    frames_per_phone = joint.sum(axis=0)
    hits_per_phone = np.bincount(phones[correct], minlength=len(names))
    majority = np.bincount(map_phones, minlength=len(names)).argmax()
    return PhoneScores(
        classes=len(names),
        accuracy=float(correct.mean()),
        ci95=bootstrap_ci95(correct, [len(utterance.units) for utterance in scored], seed=seed),
        majority=float((phones == majority).mean()),
        shuffled_units=_shuffled_accuracy(
            (map_units, map_phones), (units, phones), (codebook_size, len(names)), seed=seed
        ),
        num_frames=len(phones),
        pnmi=pnmi(joint),
        phone_purity=float(joint.max(axis=1).sum() / joint.sum()),
        unit_purity=float(joint.max(axis=0).sum() / joint.sum()),
        recall={names[p]: float(hits_per_phone[p] / frames_per_phone[p]) for p in np.flatnonzero(frames_per_phone)},
        joint=joint,
        phones=names,
        unit_phones=tuple(names[p] for p in to_phone),
    )


def joint_counts(units: np.ndarray, phones: np.ndarray, codebook_size: int, classes: int) -> np.ndarray:
    """Frames with each unit and each phone, both given as indices: `(codebook_size, classes)` int64."""
    pairs = np.bincount(units * classes + phones, minlength=codebook_size * classes)
    return pairs.reshape(codebook_size, classes)


def learn_map(joint: np.ndarray) -> np.ndarray:
    """Commonest phone of each unit, `(codebook_size,)` indices; an unseen unit gets the commonest of all."""
    return np.where(joint.any(axis=1), joint.argmax(axis=1), joint.sum(axis=0).argmax())


def pnmi(joint: np.ndarray) -> float:
    """Phone-normalised mutual information: the share of phone uncertainty that knowing the unit removes."""
    p = joint / joint.sum()
    p_unit, p_phone = p.sum(axis=1, keepdims=True), p.sum(axis=0, keepdims=True)
    seen = p > 0
    information = (p[seen] * np.log(p[seen] / (p_unit * p_phone)[seen])).sum()
    p_phone = p_phone[p_phone > 0]
    uncertainty = -(p_phone * np.log(p_phone)).sum()
    return float(information / uncertainty) if uncertainty > 0 else 0.0


def bootstrap_ci95(correct: np.ndarray, lengths: Sequence[int], *, seed: int) -> tuple[float, float]:
    """95 % interval of the mean of `correct` (frames,), when whole utterances are drawn with replacement."""
    hits = np.add.reduceat(correct.astype(np.int64), np.cumsum([0, *lengths[:-1]]))  # (utterances,)
    count = len(lengths)
    # how often each utterance is drawn: (resamples, utterances)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(count, np.full(count, 1 / count), size=BOOTSTRAP_RESAMPLES)
    accuracies = (draws @ hits) / (draws @ np.asarray(lengths))
    low, high = np.percentile(accuracies, [2.5, 97.5])
    return float(low), float(high)


def _concatenated(utterances: Sequence[LabelledUnits], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """All frames of all utterances: units (frames,), phones (frames,) as indices into the sorted `names`."""
    phones = np.concatenate([utterance.phones for utterance in utterances])
    return np.concatenate([utterance.units for utterance in utterances]), np.searchsorted(names, phones)


def _shuffled_accuracy(
    mapping: tuple[np.ndarray, np.ndarray],
    scored: tuple[np.ndarray, np.ndarray],
    shape: tuple[int, int],
    *,
    seed: int,
) -> float:
    """What unrelated units score: they keep their frequencies only. Mean of a few permutations.

    The majority's accuracy, or a little less where a unit occurs too rarely to tell which phone is the commonest.
    """
    rng = np.random.default_rng(seed)
    accuracies = []
    for _ in range(SHUFFLES):
        to_phone = learn_map(joint_counts(rng.permutation(mapping[0]), mapping[1], *shape))
        accuracies.append((to_phone[rng.permutation(scored[0])] == scored[1]).mean())
    return float(np.mean(accuracies))
