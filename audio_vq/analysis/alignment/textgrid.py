"""Which tier of a Praat TextGrid holds the phones, and which the words."""

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from audio_vq.errors import UserError
from audio_vq.textgrid import LabelledInterval, Tier, read_tiers

# names of tiers, those of the usual aligners and corpora, the likeliest first; WebMAUS writes MAU and ORT-MAU
PHONE_TIERS = ("phones", "phone", "segments", "segment", "phonemes", "phoneme", "mau")
WORD_TIERS = ("words", "word", "ort-mau", "ort")


def read_phones(path: Path, text: str) -> tuple[LabelledInterval, ...]:
    """Intervals of the tier of phones; `path` is for messages, its folder is named for the speaker.

    Raises:
        UserError: not a TextGrid, malformed, or it does not tell which tier that is.
    """
    tiers = read_tiers(path, text)
    names = ", ".join(tier.name or '""' for tier in tiers) or "no interval tier"
    found = _tiers_of(tiers, PHONE_TIERS, path.parent.name)
    if len(found) > 1:
        raise UserError(
            f"{path}: several tiers of phones, and none is named for {path.parent.name} alone (it has {names}); "
            "leave one, named phones"
        )
    # a lone tier may have any name but that of words
    if not found and not (len(tiers) == 1 and kind_of(tiers[0]) not in WORD_TIERS):
        raise UserError(f"{path}: no tier of phones (it has {names}); name one phones")
    return (found or tiers)[0].intervals


def read_words(path: Path, text: str) -> tuple[LabelledInterval, ...]:
    """Intervals of the tier of words; none where there is no such tier, or several.

    Raises:
        UserError: not a TextGrid, or malformed.
    """
    found = _tiers_of(read_tiers(path, text), WORD_TIERS, path.parent.name)
    return found[0].intervals if len(found) == 1 else ()


def _tiers_of(tiers: Sequence[Tier], kinds: Sequence[str], speaker: str) -> Sequence[Tier]:
    """Tiers of the first of these kinds that occurs: those that hold anything before others, then the speaker's."""
    filled = [tier for tier in tiers if any(interval.label.strip() for interval in tier.intervals)]
    for some, kind in product((filled, tiers), kinds):
        if same := [tier for tier in some if kind_of(tier) == kind]:
            return [tier for tier in same if speaker_of(tier) == speaker.lower()] or same
    return ()


def kind_of(tier: Tier) -> str:
    """The name without the speaker's, in lower case: aligners of several speakers write "SPEAKER - phones"."""
    return re.split(r"\s+-\s+|[\s_:.]", tier.name.strip().lower())[-1]


def speaker_of(tier: Tier) -> str:
    """In lower case; empty in a file of one."""
    return tier.name.strip().lower().removesuffix(kind_of(tier)).strip(" -_:.")
