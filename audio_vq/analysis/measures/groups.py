"""What the units of each group say alone: all of it counted; and the pitch that stands beside them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audio_vq.analysis.measures.abx import AbxErrors
from audio_vq.analysis.measures.encoded import EncodedUtterance, combinations
from audio_vq.analysis.measures.phones import PhoneScores
from audio_vq.analysis.measures.segments import BoundaryScores, score_boundaries, utterance_boundaries
from audio_vq.analysis.measures.speakers import NamedSpeakers
from audio_vq.units import bits_per_second, entropy_bits_per_second, perplexity, used_units


@dataclass(frozen=True, eq=False)
class GroupScores:
    counts: np.ndarray  # (K,) use of each unit in the chosen split
    phones: PhoneScores | None  # None, as the next two: there are no alignments
    segments: BoundaryScores | None
    abx: AbxErrors | None
    speakers: NamedSpeakers | None  # None: as of all groups together

    def figures(self, unit_rate_hz: float) -> dict[str, Any]:
        """An entry of metrics.json's `groups`, with keys as for a model of one group."""
        measured = {"phones": self.phones, "segments": self.segments, "abx": self.abx}
        return {
            "used_units": used_units(self.counts),
            "perplexity": perplexity(self.counts),
            "entropy_bits_per_second": entropy_bits_per_second(self.counts, unit_rate_hz),
            **{name: scores.figures() for name, scores in measured.items() if scores},
            "speaker_leakage": self.speakers and vars(self.speakers),
        }


@dataclass(frozen=True, eq=False)
class PitchUse:
    """What the pitch classes cost, and how much of the chosen split is voiced."""

    counts: np.ndarray  # (classes,), the first of them unvoiced

    def figures(self, unit_rate_hz: float) -> dict[str, Any]:
        """metrics.json's `pitch`."""
        return {
            "classes": len(self.counts),
            "voiced": float(self.counts[1:].sum() / max(1, self.counts.sum())),
            "bits_per_second": bits_per_second([len(self.counts)], unit_rate_hz),
            "entropy_bits_per_second": entropy_bits_per_second(self.counts, unit_rate_hz),
        }


def score_changes(
    scored: Sequence[EncodedUtterance],
    units_of: Callable[[EncodedUtterance], np.ndarray],
    hop_length: int,
    sample_rate: int,
) -> BoundaryScores:
    """Whether phones change where units `(groups, num_units)` do, in any group."""
    return score_boundaries(
        utterance_boundaries(
            combinations(units_of(each)),
            each.alignment,
            hop_length=hop_length,
            num_samples=each.utterance.num_samples,
            sample_rate=sample_rate,
            offset_seconds=each.utterance.offset_seconds,
        )
        for each in scored
        if each.alignment is not None
    )
