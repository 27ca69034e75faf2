"""Do these alignments belong to these recordings? How much of their time they label, and how much of it as phones.

Outside its alignment a recording counts as silence, and silence is easily recognised: where hardly anything else is
left, every figure is high and says nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from audio_vq.analysis.alignment.alignments import SILENCE
from audio_vq.analysis.measures.selection import AlignedCorpus, Selection
from audio_vq.data.prepared import Utterance
from audio_vq.errors import UserError

LEAST_ALIGNED = 0.6
LEAST_PHONES = 0.1


@dataclass(frozen=True)
class Coverage:
    """Shares of the time of the recordings that have an alignment."""

    aligned: float  # inside the alignment
    phones: float  # labelled with a phone, not with silence


@dataclass(frozen=True)
class Coverages:
    scored: Coverage
    mapping: Coverage

    def figures(self) -> dict[str, Any]:
        return asdict(self)


def check_coverage(selection: Selection) -> Coverages:
    """How much of the recordings the alignments say something about.

    Raises:
        UserError: too little, or always the same.
    """
    return Coverages(
        scored=_checked(selection.scored_corpus, selection.scored),
        mapping=_checked(selection.mapping_corpus, selection.mapping),
    )


def _checked(source: AlignedCorpus, utterances: Sequence[Utterance]) -> Coverage:
    coverage, labels = _measure(source, utterances)
    where = f"the alignments in {source.folder}"
    if coverage.aligned < LEAST_ALIGNED:
        raise UserError(
            f"{where} cover {coverage.aligned:.0%} of the time of their {len(utterances)} recordings, "
            f"expected at least {LEAST_ALIGNED:.0%}; are they of these recordings, with times in seconds?"
        )
    if coverage.phones < LEAST_PHONES:
        raise UserError(
            f"{where} label {coverage.phones:.0%} of the time of their {len(utterances)} recordings with phones, "
            f"expected at least {LEAST_PHONES:.0%}; all else is silence or has no label"
        )
    if len(labels) < 2:
        raise UserError(f"{where} know one label, {next(iter(labels))!r}; expected phones")
    return coverage


def _measure(source: AlignedCorpus, utterances: Sequence[Utterance]) -> tuple[Coverage, frozenset[str]]:
    """And the labels that occur."""
    total = aligned = phones = 0.0
    labels: set[str] = set()
    for utterance in utterances:
        alignment = source.alignment(utterance)
        assert alignment is not None
        seconds = utterance.num_samples / source.corpus.sample_rate
        inside = np.clip(alignment.boundaries - utterance.offset_seconds, 0, seconds)
        total += seconds
        aligned += float(inside[-1] - inside[0])
        phones += float(np.diff(inside)[np.array(alignment.labels) != SILENCE].sum())
        labels.update(alignment.labels)
    return Coverage(aligned / total, phones / total), frozenset(labels)
