"""Any folder of recordings: one subfolder per speaker, or a CSV manifest that says who speaks where."""

import csv
from pathlib import Path

from audio_vq.data.corpora.recordings import Recording, RecordingSet, read_transcript, recording_id
from audio_vq.data.prepared import SPLITS
from audio_vq.discovery import recordings_in
from audio_vq.errors import UserError

REQUIRED_COLUMNS = {"path", "speaker"}


def find_folder(folder: Path) -> RecordingSet:
    """Recordings in subfolders named after speakers, at any depth; a `.txt` of the same name holds the text.

    Raises:
        UserError: no subfolder with audio.
    """
    recordings = []
    for file in recordings_in(folder).files:
        path, relative = file.path, file.relative
        if len(relative.parts) > 1:
            speaker = relative.parts[0]
            text = read_transcript(path.with_suffix(".txt"))
            recordings.append(Recording(recording_id(speaker, relative), speaker, path, relative.as_posix(), text))
    if not recordings:
        raise UserError(
            f"{folder} has no recording in a speaker's folder; expected <speaker>/….wav in it, "
            "or give --manifest FILE.csv"
        )
    return RecordingSet("folder", folder, recordings)


def find_listed(folder: Path, manifest: Path) -> RecordingSet:
    """Recordings listed in a CSV file with the header `path,speaker[,text][,split]`, in its order.

    Paths are relative to `folder` or else to the manifest's own folder. Other columns are ignored.

    Raises:
        UserError: no such manifest, a wrong header, or a line that cannot be understood.
    """
    if not manifest.is_file():
        raise UserError(f"{manifest}: no such file; expected a CSV manifest")
    with manifest.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.DictReader(file)
        _check_header(manifest, set(rows.fieldnames or ()))
        recordings = [_listed(row, folder, f"{manifest}, line {rows.line_num}", manifest.parent) for row in rows]
    if not recordings:
        raise UserError(f"{manifest} lists no recording")
    return RecordingSet("folder", folder, recordings)


def _check_header(manifest: Path, columns: set[str]) -> None:
    if not columns >= REQUIRED_COLUMNS:
        raise UserError(
            f"{manifest} begins with the columns {', '.join(sorted(columns)) or 'of an empty file'}; "
            "expected the header path,speaker[,text][,split]"
        )


def _listed(row: dict[str, str | None], folder: Path, line: str, manifest_folder: Path) -> Recording:
    values = {key: (value or "").strip() for key, value in row.items() if key is not None}
    name, speaker, split = values["path"], values["speaker"], values.get("split", "")
    if not name or not speaker:
        raise UserError(f"{line}: path and speaker must not be empty")
    if None in row:
        raise UserError(f"{line} has more values than the header has columns; put texts with commas in quotes")
    if Path(speaker).name != speaker:
        raise UserError(f"{line}: speaker {speaker!r} would not do as the name of a folder")
    if split and split not in SPLITS:
        raise UserError(f"{line}: split {split!r}, expected {', '.join(SPLITS)} or nothing")
    path = folder / name if (folder / name).exists() else manifest_folder / name
    relative = Path(Path(name).name) if Path(name).is_absolute() or ".." in Path(name).parts else Path(name)
    return Recording(
        id=recording_id(speaker, relative),
        speaker=speaker,
        path=path,
        source=name,
        text=values.get("text") or None,
        split=split or None,
    )
