"""ABX: is a triphone nearer to another of its kind than to one with a different phone in the middle?

As in ZeroSpeech 2021 (Nguyen et al. 2020; Schatz et al. 2013): A and X are tokens of one triphone, B of one that
differs in the middle phone only. Their distance is the mean angle between frames along the path of dynamic time
warping. The errors of a cell (A's speaker, context, phone of A, phone of B, X's speaker) are averaged over contexts
and X's speakers, then over A's speakers, then over ordered pairs of phones. There are at most `TOKENS_PER_GROUP`
tokens of one triphone by one speaker, and at most `X_SPEAKERS` speakers of X beside one speaker of A and B.

Random units keep the durations of what they stand for, and these tell phones apart a little, in the wrong direction:
sequences of unequal length have more ways to be warped onto each other, hence B's are nearer (errors of 0.53 on VCTK).
What carries no information whatever, `abx_of_nothing`, is at 0.5.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from audio_vq.analysis.measures.triphones import Triphones, group_starts
from audio_vq.kernels.dtw import triplet_errors, warped_distances

X_SPEAKERS = 5
BOOTSTRAP_RESAMPLES = 300
ANGLE_STEPS = 1 << 24  # per half turn: sums of multiples of it are exact, so that equal distances are equal numbers
BLOCK_VALUES = 1 << 22  # of a table of distances between continuous frames


@dataclass(frozen=True)
class AbxErrors:
    """Error rates: 0 is perfect, 0.5 is chance. None where no speaker, or no two, say the same context twice."""

    within_speaker: float | None  # A, B and X by one speaker
    within_ci95: tuple[float, float] | None  # by bootstrap over contexts (phone before, phone after)
    across_speaker: float | None  # A and B by one speaker, X by another
    across_ci95: tuple[float, float] | None

    def figures(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Cells:
    """Errors of cells; the groups' numbers are those of `Triphones`."""

    context: np.ndarray  # (cells,)
    speaker: np.ndarray  # (cells,) of A and B
    phone_a: np.ndarray
    phone_b: np.ndarray
    error: np.ndarray


def abx_of_units(tokens: Triphones, units: np.ndarray, codebook: np.ndarray, *, seed: int) -> AbxErrors:
    """Errors of units `(frames,)` of all utterances, whose distances are those of their vectors `(codebook, dim)`."""
    table = angles(codebook, codebook)
    return _errors(tokens, lambda part: _unit_distances(part, units, table), seed=seed)


def abx_of_vectors(tokens: Triphones, vectors: np.ndarray, *, seed: int) -> AbxErrors:
    """Errors of vectors `(frames, dim)` of all utterances."""
    return _errors(tokens, lambda part: _vector_distances(part, vectors), seed=seed)


def abx_of_nothing(tokens: Triphones, codebook: np.ndarray, *, seed: int) -> AbxErrors:
    """Errors of random units for tokens whose durations have been shuffled as well."""
    rng = np.random.default_rng(seed)
    frames = rng.permutation(tokens.frames)
    shuffled = replace(tokens, first=np.cumsum(frames) - frames, frames=frames)
    return abx_of_units(shuffled, rng.integers(len(codebook), size=int(frames.sum())), codebook, seed=seed)


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle between every vector of a `(n, dim)` and of b `(m, dim)` as a share of π, `(n, m)` float64.

    Rounded to `ANGLE_STEPS`. A vector of zeros is at a right angle to all others.
    """
    cosines = _normalised(a) @ _normalised(b).T
    return np.asarray(np.round(np.arccos(np.clip(cosines, -1, 1)) * (ANGLE_STEPS / np.pi)) / ANGLE_STEPS)


def _normalised(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float64)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def _errors(tokens: Triphones, distances: Callable[[Triphones], np.ndarray], *, seed: int) -> AbxErrors:
    """All cells, context by context on all cores; then their means."""
    bounds = np.flatnonzero(np.diff(tokens.context, prepend=-1, append=-1))
    parts = [tokens.taken(np.arange(start, stop)) for start, stop in pairwise(bounds)]

    def score(part: Triphones) -> tuple[Cells, Cells]:
        return _score_context(part, distances(part), seed)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        scored = list(pool.map(score, parts))
    none = np.zeros(0, np.int64)
    nothing = Cells(none, none, none, none, np.zeros(0))
    within, across = (_concatenated([nothing, *(pair[side] for pair in scored)]) for side in (0, 1))
    return AbxErrors(
        within_speaker=mean_error(within),
        within_ci95=_ci95(within, seed=seed),
        across_speaker=mean_error(across),
        across_ci95=_ci95(across, seed=seed),
    )


def _unit_distances(tokens: Triphones, units: np.ndarray, table: np.ndarray) -> np.ndarray:
    frames, starts = _frames(tokens)
    out = np.zeros((len(tokens), len(tokens)))
    warped_distances(table, units[frames], units[frames], starts, 0, len(tokens), out)
    return out


def _vector_distances(tokens: Triphones, vectors: np.ndarray) -> np.ndarray:
    """A table of all frames against all would be too large; one for a few tokens' frames at a time is not."""
    frames, starts = _frames(tokens)
    everything = vectors[frames]
    out = np.zeros((len(tokens), len(tokens)))
    columns = np.arange(len(frames))
    step = max(1, BLOCK_VALUES // (len(frames) * int(np.diff(starts).max())))
    for first in range(0, len(tokens), step):
        stop = min(first + step, len(tokens))
        table = angles(everything[starts[first] : starts[stop]], everything)
        warped_distances(table, np.arange(len(table)), columns, starts, first, stop, out)
    return out


def _frames(tokens: Triphones) -> tuple[np.ndarray, np.ndarray]:
    """Frames of all tokens, one after another, and where each token's begin (and the last one's end)."""
    starts = np.concatenate([[0], np.cumsum(tokens.frames)])
    within = np.arange(starts[-1]) - np.repeat(starts[:-1], tokens.frames)
    return np.repeat(tokens.first, tokens.frames) + within, starts


def _score_context(tokens: Triphones, distances: np.ndarray, seed: int) -> tuple[Cells, Cells]:
    """Cells within and across speakers, of the tokens of one context."""
    starts = group_starts(tokens)
    sizes = np.diff(starts, append=len(tokens))
    speaker, phone = tokens.speaker[starts], tokens.phone[starts]
    by_speaker: dict[int, list[int]] = defaultdict(list)
    by_phone: dict[int, list[int]] = defaultdict(list)
    context = int(tokens.context[0])
    # an order of speakers for each context: the first few are X's
    rank = np.random.default_rng([seed, context]).permutation(len(tokens.speakers))
    for group in np.argsort(rank[speaker], kind="stable"):
        by_speaker[speaker[group]].append(int(group))
        by_phone[phone[group]].append(int(group))
    within: list[tuple[int, int, int]] = []
    across: list[tuple[int, int, int]] = []
    for a in range(len(starts)):
        others = [group for group in by_phone[phone[a]] if group != a][:X_SPEAKERS]
        for b in by_speaker[speaker[a]]:
            if b != a:
                within += [(a, b, a)] if sizes[a] > 1 else []
                across += [(a, b, x) for x in others]

    def scored(cells: list[tuple[int, int, int]]) -> Cells:
        array = np.array(cells, np.int64).reshape(-1, 3)
        error = np.zeros(len(array))
        triplet_errors(distances, np.append(starts, len(tokens)), array, error)
        of_a, of_b = array[:, 0], array[:, 1]
        return Cells(np.full(len(array), context), speaker[of_a], phone[of_a], phone[of_b], error)

    return scored(within), scored(across)


def mean_error(cells: Cells) -> float | None:
    """Mean over contexts (and X's speakers), then over speakers, then over pairs of phones; None without cells."""
    return _mean_error(cells, _levels(cells), np.ones(len(cells.error))) if len(cells.error) else None


def _ci95(cells: Cells, *, seed: int) -> tuple[float, float] | None:
    """95 % interval of the mean error, when whole contexts are drawn with replacement."""
    contexts, context = np.unique(cells.context, return_inverse=True)
    if len(contexts) < 2:
        return None
    levels, rng = _levels(cells), np.random.default_rng(seed)
    draws = rng.multinomial(len(contexts), np.full(len(contexts), 1 / len(contexts)), size=BOOTSTRAP_RESAMPLES)
    low, high = np.percentile([_mean_error(cells, levels, times[context]) for times in draws], [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class _Levels:
    """What is averaged together."""

    speaker: np.ndarray  # (cells,) number of the cell's phone pair and speaker
    pair: np.ndarray  # (numbers,) phone pair of each


def _levels(cells: Cells) -> _Levels:
    names = int(max(cells.phone_a.max(), cells.phone_b.max(), cells.speaker.max())) + 1
    keys = (cells.phone_a * names + cells.phone_b) * names + cells.speaker
    numbers, speaker = np.unique(keys, return_inverse=True)
    return _Levels(speaker, np.unique(numbers // names, return_inverse=True)[1])


def _mean_error(cells: Cells, levels: _Levels, weight: np.ndarray) -> float:
    """The mean when each cell `(cells,)` counts `weight` times; a speaker or pair without weight does not count."""
    total = np.bincount(levels.speaker, weight)
    there = total > 0
    by_speaker = np.bincount(levels.speaker, weight * cells.error)[there] / total[there]
    pair = levels.pair[there]
    counts = np.bincount(pair)
    return float((np.bincount(pair, by_speaker)[counts > 0] / counts[counts > 0]).mean())


def _concatenated(cells: Sequence[Cells]) -> Cells:
    return Cells(*(np.concatenate([getattr(each, name) for each in cells]) for name in Cells.__dataclass_fields__))
