"""Praat TextGrid files, in the long and the short text format."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

from audio_vq.errors import UserError

# names of tiers, those of the usual aligners and corpora, the likeliest first; WebMAUS writes MAU and ORT-MAU
PHONE_TIERS = ("phones", "phone", "segments", "segment", "phonemes", "phoneme", "mau")
WORD_TIERS = ("words", "word", "ort-mau", "ort")


class LabelledInterval(NamedTuple):
    """A labelled stretch of time and the line of the file it stands on."""

    line: int
    start: float  # seconds
    end: float  # seconds
    label: str


@dataclass(frozen=True)
class Tier:
    """A tier of intervals. Aligners of several speakers write "SPEAKER - phones"."""

    name: str
    intervals: tuple[LabelledInterval, ...]

    @property
    def kind(self) -> str:
        """The name without the speaker's, in lower case."""
        return re.split(r"\s+-\s+|[\s_:.]", self.name.strip().lower())[-1]

    @property
    def speaker(self) -> str:
        """In lower case; empty in a file of one."""
        return self.name.strip().lower().removesuffix(self.kind).strip(" -_:.")


def read_phones(path: Path, text: str) -> tuple[LabelledInterval, ...]:
    """Intervals of the tier of phones; `path` is for messages, its folder is named for the speaker.

    Raises:
        UserError: not a TextGrid, malformed, or it does not tell which tier that is.
    """
    tiers = list(_interval_tiers(_Values(path, text)))
    names = ", ".join(tier.name or '""' for tier in tiers) or "no interval tier"
    found = _tiers_of(tiers, PHONE_TIERS, path.parent.name)
    if len(found) > 1:
        raise UserError(
            f"{path}: several tiers of phones, and none is named for {path.parent.name} alone (it has {names}); "
            "leave one, named phones"
        )
    # a lone tier may have any name but that of words
    if not found and not (len(tiers) == 1 and tiers[0].kind not in WORD_TIERS):
        raise UserError(f"{path}: no tier of phones (it has {names}); name one phones")
    return (found or tiers)[0].intervals


def read_words(path: Path, text: str) -> tuple[LabelledInterval, ...]:
    """Intervals of the tier of words; none where there is no such tier, or several.

    Raises:
        UserError: not a TextGrid, or malformed.
    """
    found = _tiers_of(list(_interval_tiers(_Values(path, text))), WORD_TIERS, path.parent.name)
    return found[0].intervals if len(found) == 1 else ()


def _tiers_of(tiers: Sequence[Tier], kinds: Sequence[str], speaker: str) -> Sequence[Tier]:
    """Tiers of the first of these kinds that occurs: those that hold anything before others, then the speaker's."""
    filled = [tier for tier in tiers if any(interval.label.strip() for interval in tier.intervals)]
    for some, kind in product((filled, tiers), kinds):
        if same := [tier for tier in some if tier.kind == kind]:
            return [tier for tier in same if tier.speaker == speaker.lower()] or same
    return ()


# Praat's rule: only free-standing numbers, quoted texts and <flags> count, whatever surrounds them is
# comment; so `xmin = 0` and the short format's bare `0` read the same
_TOKEN = re.compile(r'"(?:[^"]|"")*"|\S+')
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


class _Values:
    """The values of a TextGrid one after another, and the line of the latest."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._text = text
        self._tokens = _TOKEN.finditer(text)
        self._counted = 0  # characters before which line ends have been counted
        self.line = 1

    def text(self) -> str:
        return self._next(quoted=True)[1:-1].replace('""', '"')

    def number(self) -> float:
        return float(self._next(quoted=False))

    def count(self) -> int:
        number = self.number()
        if not number.is_integer():  # infinity is none either
            raise UserError(f"{self.path}, line {self.line}: {number:g} where a TextGrid has a count")
        return int(number)

    def skip(self, numbers: int) -> None:
        for _ in range(numbers):
            self.number()

    def _next(self, *, quoted: bool) -> str:
        for match in self._tokens:
            token = match.group()
            is_text = len(token) > 1 and token[0] == token[-1] == '"'
            if not is_text and not _NUMBER.fullmatch(token):
                continue
            self.line += self._text.count("\n", self._counted, match.start())
            self._counted = match.start()
            if is_text == quoted:
                return token
            wanted = "a quoted text" if quoted else "a number"
            raise UserError(f"{self.path}, line {self.line}: {token} where a TextGrid has {wanted}")
        raise UserError(f"{self.path}, line {self.line}: the TextGrid ends too early")


def _interval_tiers(values: _Values) -> Iterator[Tier]:
    if (values.text(), values.text()) != ("ooTextFile", "TextGrid"):
        raise UserError(f"{values.path}, line 1: not a Praat TextGrid in text format")
    values.skip(2)  # times of the whole
    for _ in range(values.count()):
        kind, name = values.text(), values.text()
        values.skip(2)  # times of the tier
        count = values.count()
        if kind == "IntervalTier":
            yield Tier(name, tuple(_interval(values) for _ in range(count)))
        else:  # points: time and mark
            for _ in range(count):
                values.number()
                values.text()


def _interval(values: _Values) -> LabelledInterval:
    start = values.number()
    return LabelledInterval(values.line, start, values.number(), values.text())
