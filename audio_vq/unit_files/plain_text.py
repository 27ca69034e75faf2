"""Unit sequences as plain text, a line for each recording: `id unit unit …`, as Kaldi's tables have it.

What reads words separated by blanks reads it: Kaldi, n-gram toolkits, fairseq's preprocessing of text. A unit of
several groups is one word, `12_205`. Pitch, sample rate and speaker have no place in it, so that it cannot be decoded:
it is written, not read.
"""

from collections.abc import Iterable, Sequence

from audio_vq.errors import UserError
from audio_vq.units import UnitSequence

JOINT = "_"  # between the groups of a unit


def refuse_blanks(ids: Iterable[str]) -> None:
    """Raises UserError for an id with blanks, of which readers would take what follows for units."""
    blank = next((each for each in ids if each.split() != [each]), None)
    if blank is not None:
        raise UserError(f"id {blank!r} has a blank, where a line of text has its units; write .jsonl, or rename it")


def plain_text(sequences: Sequence[UnitSequence]) -> str:
    """Raises UserError as `refuse_blanks`."""
    refuse_blanks(each.id for each in sequences)
    return "".join(" ".join([each.id, *_words(each)]) + "\n" for each in sequences)


def _words(sequence: UnitSequence) -> list[str]:
    return [JOINT.join(map(str, unit)) for unit in sequence.groups.T.tolist()]
