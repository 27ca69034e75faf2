"""Praat TextGrid files: read in the long and the short text format, written in the long one."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from audio_vq.errors import UserError


class LabelledInterval(NamedTuple):
    """A labelled stretch of time and the line of the file it stands on."""

    line: int  # 0 of what was not read
    start: float  # seconds
    end: float  # seconds
    label: str


@dataclass(frozen=True)
class Tier:
    """A tier of intervals."""

    name: str
    intervals: tuple[LabelledInterval, ...]


def read_tiers(path: Path, text: str) -> list[Tier]:
    """The interval tiers of a TextGrid; `path` is for messages.

    Raises:
        UserError: not a TextGrid, or malformed.
    """
    return list(_interval_tiers(_Values(path, text)))


def textgrid_text(tiers: Sequence[Tier]) -> str:
    """A TextGrid of tiers that all end at the same time; their intervals follow each other from 0 on, without gaps."""
    end = tiers[0].intervals[-1].end
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", *_times(0.0, end, "")]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, tier in enumerate(tiers, 1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(tier.name)}"]
        lines += [*_times(0.0, end, " " * 8), f"        intervals: size = {len(tier.intervals)}"]
        for place, interval in enumerate(tier.intervals, 1):
            lines += [f"        intervals [{place}]:", *_times(interval.start, interval.end, " " * 12)]
            lines.append(f"            text = {_quoted(interval.label)}")
    return "\n".join(lines) + "\n"


def _times(start: float, end: float, indent: str) -> list[str]:
    return [f"{indent}xmin = {start!r}", f"{indent}xmax = {end!r}"]


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


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
