"""Recordings listed in a table (CSV) that says who speaks where."""

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from audio_vq.data.corpora.recordings import Recording, RecordingSet, read_text, recording_id
from audio_vq.data.prepared import SPLITS
from audio_vq.errors import UserError
from audio_vq.files import safe_name

REQUIRED_COLUMNS = ("path", "speaker")
SPEAKER_COLUMNS = ("gender", "corpus")  # about the speaker: shown by `audio-vq info`, and what evaluation balances
SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Row:
    """A line of the table that is not empty."""

    line: str  # which one, for complaints
    values: dict[str, str]  # by column, without blanks around them


def find_listed(folder: Path, manifest: Path) -> RecordingSet:
    """Recordings listed in a CSV file, in its order: `path,speaker[,text][,split][,sentence][,gender][,corpus]`.

    A sentence is any name for what is said: recordings that share one, as those of one text, fall into one split.
    Gender and corpus tell of the speaker, in any of the speaker's lines. Commas, semicolons or tabs separate the
    columns, of which others are ignored. Paths are relative to `folder` or else to the manifest's own folder. A
    recording that is listed twice with the same values counts once.

    Raises:
        UserError: no such manifest, a wrong header, or a line that cannot be understood.
    """
    if not manifest.is_file():
        raise UserError(f"{manifest}: no such file; expected a CSV manifest")
    listed: dict[str, tuple[str, Recording]] = {}
    about: dict[str, dict[str, str]] = {}
    for row in _rows(manifest):
        recording = _recording(row, folder, manifest.parent)
        earlier, known = listed.setdefault(os.path.realpath(recording.path), (row.line, recording))
        if (known.speaker, known.text, known.split) != (recording.speaker, recording.text, recording.split):
            raise UserError(f"{row.line} lists {recording.source} again, with other values than {earlier}")
        told = {column: value for column in SPEAKER_COLUMNS if (value := row.values.get(column))}
        about.setdefault(recording.speaker, {}).update(told)
    if not listed:
        raise UserError(f"{manifest} lists no recording")
    return RecordingSet("folder", folder, [recording for _, recording in listed.values()], about)


def _rows(manifest: Path) -> Iterator[Row]:
    """The lines below the header."""
    # no value goes on in the next line: a quote that is not closed would make one text of all up to the next quote
    lines = enumerate(io.StringIO(read_text(manifest), newline=None), 1)
    header, separator = _header(manifest, next((line for _, line in lines if line.strip()), ""))
    for number, line in lines:
        where = f"{manifest}, line {number}"
        values = _split(line, separator, where)
        if not any(values):
            continue
        if any(values[len(header) :]):
            raise UserError(f"{where} has more values than the header has columns; put texts with commas in quotes")
        yield Row(where, dict.fromkeys(header, "") | dict(zip(header, values, strict=False)))


def _header(manifest: Path, line: str) -> tuple[list[str], str]:
    """The columns' names, and what separates them."""
    separator = max(SEPARATORS, key=line.count)
    names = [name.lower() for name in _split(line, separator, f"{manifest}, header")]
    if not set(names) >= set(REQUIRED_COLUMNS):
        raise UserError(
            f"{manifest} begins with the columns {', '.join(names) or 'of an empty file'}; "
            "expected the header path,speaker[,text][,split][,sentence]"
        )
    return names, separator


def _split(line: str, separator: str, where: str) -> list[str]:
    """The values of a line."""
    try:
        values = next(csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise UserError(
            f"{where} cannot be read ({error}); a quote at the beginning of a value needs another at its end "
            "in the same line, and quotes in between are written twice"
        ) from None
    return [value.strip() for value in values]


def _recording(row: Row, folder: Path, manifest_folder: Path) -> Recording:
    name, speaker, split = row.values["path"], row.values["speaker"], row.values.get("split", "")
    if not name or not speaker:
        raise UserError(f"{row.line}: path and speaker must not be empty")
    if not name.isprintable():
        raise UserError(f"{row.line}: path {name!r} holds characters that no name of a file should")
    safe_name(speaker, f"{row.line}: speaker")
    if split and split not in SPLITS:
        raise UserError(f"{row.line}: split {split!r}, expected {', '.join(SPLITS)} or nothing")
    path = folder / name if (folder / name).exists() else manifest_folder / name
    relative = Path(Path(name).name) if Path(name).is_absolute() or ".." in Path(name).parts else Path(name)
    return Recording(
        id=recording_id(speaker, relative),
        speaker=speaker,
        path=path,
        source=name,
        text=" ".join(row.values.get("text", "").split()) or None,
        split=split or None,
        sentence=row.values.get("sentence") or None,
    )
