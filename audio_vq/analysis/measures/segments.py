"""Do units change where phones change? Boundary detection scores at a tolerance."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from audio_vq.analysis.alignment.alignments import Alignment

TOLERANCE_SECONDS = 0.02


@dataclass(frozen=True)
class BoundaryScores:
    boundary_precision: float  # share of unit changes that fall on a phone boundary
    boundary_recall: float  # share of phone boundaries that have a unit change
    f1: float
    r_value: float  # 1 is perfect; unlike F1 it punishes over-segmentation (Räsänen et al. 2009)

    def figures(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Boundaries:
    """Change points of one utterance, in seconds of prepared audio, ascending."""

    units: np.ndarray
    phones: np.ndarray


def utterance_boundaries(
    units: np.ndarray,
    alignment: Alignment,
    *,
    hop_length: int,
    num_samples: int,
    sample_rate: int,
    offset_seconds: float,
) -> Boundaries:
    """Where units and where phones change inside an utterance; its two ends do not count."""
    unit_changes = (np.flatnonzero(units[1:] != units[:-1]) + 1) * hop_length / sample_rate
    phone_changes = alignment.changes() - offset_seconds
    inside = (phone_changes > 0) & (phone_changes < num_samples / sample_rate)
    return Boundaries(units=unit_changes, phones=phone_changes[inside])


def score_boundaries(utterances: Iterable[Boundaries]) -> BoundaryScores:
    """Scores over all boundaries of all utterances at 20 ms; a boundary is matched at most once."""
    hits = found = wanted = 0
    for utterance in utterances:
        hits += count_matches(utterance.units, utterance.phones, TOLERANCE_SECONDS)
        found += len(utterance.units)
        wanted += len(utterance.phones)
    precision = hits / found if found else 0.0
    recall = hits / wanted if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    over_segmentation = found / wanted - 1 if wanted else 0.0
    return BoundaryScores(precision, recall, f1, r_value(recall, over_segmentation))


def count_matches(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> int:
    """Largest number of pairs (found, wanted) at most `tolerance` apart, each used once; both ascending.

    On a line, pairing the earliest two that reach each other is optimal.
    """
    tolerance += 1e-9  # 20 ms apart is within 20 ms, whatever float subtraction says
    matches = i = j = 0
    while i < len(found) and j < len(wanted):
        if abs(found[i] - wanted[j]) <= tolerance:
            matches, i, j = matches + 1, i + 1, j + 1
        elif found[i] < wanted[j]:
            i += 1
        else:
            j += 1
    return matches


def r_value(recall: float, over_segmentation: float) -> float:
    """Räsänen, Laine, Altosaar, "An improved speech segmentation quality measure: the R-value" (2009).

    One minus the mean distance to the ideal point (recall 1, no over-segmentation) and to the line of chance.
    """
    to_ideal = math.hypot(1 - recall, over_segmentation)
    to_line = (recall - 1 - over_segmentation) / math.sqrt(2)
    return 1 - (to_ideal + abs(to_line)) / 2
