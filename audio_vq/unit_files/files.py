"""Files of units, their format chosen by suffix: `.npz`, `.parquet`, `.txt`; anything else is JSON Lines."""

from collections.abc import Iterable
from pathlib import Path

from audio_vq.errors import UserError
from audio_vq.files import atomic_write_bytes, atomic_write_text
from audio_vq.unit_files.arrays import npz_bytes, read_npz
from audio_vq.unit_files.json_lines import json_line, parse_lines
from audio_vq.unit_files.plain_text import plain_text, refuse_blanks
from audio_vq.unit_files.records import distinct
from audio_vq.unit_files.table import read_table, require_tables, write_table
from audio_vq.units import UnitSequence

ARRAYS, TABLE, TEXT = ".npz", ".parquet", ".txt"


def read_units(path: Path) -> tuple[UnitSequence, ...]:
    """Read unit sequences from JSON Lines, or by suffix from packed arrays or a table.

    Raises:
        UserError: the file is missing or malformed; the message names the line.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; units are written by `audio-vq encode`")
    suffix = path.suffix.lower()
    if suffix == ARRAYS:
        return read_npz(path)
    if suffix == TABLE:
        return read_table(path)
    content = path.read_bytes()
    if suffix == TEXT and content.strip() and not content.lstrip().startswith(b"{"):
        raise UserError(f"{path} is plain text, which holds too little to decode; give .jsonl, .npz or .parquet")
    return distinct(path, parse_lines(str(path), content))


def read_unit_stream(name: str, content: bytes) -> tuple[UnitSequence, ...]:
    """As `read_units`, of JSON Lines that came from elsewhere."""
    return distinct(Path(name), parse_lines(name, content))


def check_writable(path: Path, ids: Iterable[str]) -> None:
    """Raises UserError where sequences of these ids cannot be written here: better before they are made."""
    suffix = path.suffix.lower()
    if suffix == TABLE:
        require_tables()
    if suffix == TEXT:
        refuse_blanks(ids)
    if suffix == ".textgrid":
        raise UserError(f"{path}: a TextGrid is of one recording; give --textgrid a folder, and --out units.jsonl")


def write_units(path: Path, sequences: Iterable[UnitSequence]) -> None:
    """Write unit sequences in the format of the suffix; whole or not at all.

    Raises:
        UserError: what does not fit the format, or a package that it needs is missing.
    """
    sequences, suffix = tuple(sequences), path.suffix.lower()
    if suffix == ARRAYS:
        atomic_write_bytes(path, npz_bytes(sequences))
    elif suffix == TABLE:
        write_table(path, sequences)
    elif suffix == TEXT:
        atomic_write_text(path, plain_text(sequences))
    else:
        atomic_write_text(path, "".join(map(json_line, sequences)))
