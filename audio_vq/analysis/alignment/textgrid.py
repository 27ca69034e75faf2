"""Praat TextGrid files, in the long and the short text format."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from audio_vq.errors import UserError

_WORD_TIERS = ("words", "word")


class Interval(NamedTuple):
    """A labelled stretch of time and the line of the file it stands on."""

    line: int
    start: float  # seconds
    end: float  # seconds
    label: str


def read_textgrid(path: Path, text: str) -> tuple[Interval, ...]:
    """Intervals of the tier named phones or phone, else of the first interval tier; `path` is for messages.

    Raises:
        UserError: not a TextGrid, malformed, or without an interval tier.
    """
    tiers = list(_interval_tiers(_Values(path, text)))
    if not tiers:
        raise UserError(f"{path}: no interval tier; expected one named phones")
    # aligners of several speakers write "NAME - phones"
    named = (tier for tier in tiers if tier.name.strip().lower().endswith(("phones", "phone")))
    return next(named, tiers[0]).intervals


def read_words(path: Path, text: str) -> tuple[Interval, ...]:
    """Intervals of the tier named words or word; none where there is no such tier.

    Raises:
        UserError: not a TextGrid, or malformed.
    """
    named = (tier for tier in _interval_tiers(_Values(path, text)) if tier.name.strip().lower().endswith(_WORD_TIERS))
    return next((tier.intervals for tier in named), ())


@dataclass(frozen=True)
class _Tier:
    name: str
    intervals: tuple[Interval, ...]


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


def _interval_tiers(values: _Values) -> Iterator[_Tier]:
    if (values.text(), values.text()) != ("ooTextFile", "TextGrid"):
        raise UserError(f"{values.path}, line 1: not a Praat TextGrid in text format")
    values.skip(2)  # times of the whole
    for _ in range(int(values.number())):
        kind, name = values.text(), values.text()
        values.skip(2)  # times of the tier
        count = int(values.number())
        if kind == "IntervalTier":
            yield _Tier(name, tuple(_interval(values) for _ in range(count)))
        else:  # points: time and mark
            for _ in range(count):
                values.number()
                values.text()


def _interval(values: _Values) -> Interval:
    start = values.number()
    return Interval(values.line, start, values.number(), values.text())
