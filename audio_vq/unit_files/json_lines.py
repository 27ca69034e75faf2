"""Unit sequences as JSON Lines: whole files, streams and journals."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from audio_vq.errors import UserError
from audio_vq.unit_files.records import FIELDS, record_of, sequence_of
from audio_vq.units import UnitSequence


def json_line(sequence: UnitSequence) -> str:
    return json.dumps(record_of(sequence), ensure_ascii=False) + "\n"


def parse_lines(name: str, content: bytes) -> Iterator[UnitSequence]:
    """The sequences of a file or stream; `name` is for messages.

    Raises:
        UserError: not text, or a malformed line, which is named.
    """
    try:
        lines = content.decode().split("\n")  # splitlines would also split at U+2028
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: not a text file; expected JSON Lines of units (or .npz, .parquet)") from error
    yield from (_parse_line(f"{name}, line {n}", line) for n, line in enumerate(lines, 1) if line.strip())


class UnitsJournal:
    """A growing file of unit sequences; what an interrupted writer has completed is there again.

    Use it as a context. A last line that is not whole, as a kill leaves it, is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = path.read_bytes() if path.exists() else b""
        self._whole = content.rfind(b"\n") + 1  # bytes
        self.sequences = list(parse_lines(str(path), content[: self._whole]))

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab")
        self._file.truncate(self._whole)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, sequence: UnitSequence) -> None:
        self._file.write(json_line(sequence).encode())
        self._file.flush()
        self.sequences.append(sequence)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _parse_line(place: str, line: str) -> UnitSequence:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, lists in lists in lists
        raise UserError(f"{place}: not JSON ({error}); expected one object per line") from error
    if not isinstance(record, dict):
        raise UserError(f"{place}: expected an object with {', '.join(FIELDS)}, units")
    return sequence_of(place, record)
