"""Any folder of recordings: one subfolder per speaker."""

from pathlib import Path

from audio_vq.data.corpora.recordings import (
    Recording,
    RecordingSet,
    as_name,
    bare,
    read_transcript,
    recording_id,
    skipped,
)
from audio_vq.data.prepared import Skipped
from audio_vq.discovery import recordings_in
from audio_vq.errors import UserError


def find_folder(folder: Path) -> RecordingSet:
    """Recordings in subfolders named after speakers, at any depth; a `.txt` of the same name holds the text.

    Raises:
        UserError: no subfolder with audio.
    """
    found = recordings_in(folder)
    left_out = skipped(found.left_out, folder)
    recordings = []
    for file in found.files:
        source = file.relative.as_posix()
        if len(file.relative.parts) == 1:
            left_out.append(Skipped(source, "lies in no speaker's folder"))
            continue
        speaker = as_name(file.relative.parts[0])
        text = read_transcript(file.path.with_name(f"{bare(file.path).name}.txt"))
        recordings.append(Recording(recording_id(speaker, file.relative), speaker, file.path, source, text))
    if not recordings:
        first = f"; left out {left_out[0].source}: {left_out[0].reason}" if left_out else ""
        raise UserError(
            f"{folder} has no recording in a speaker's folder; expected <speaker>/….wav in it, "
            f"or give --manifest FILE.csv{first}"
        )
    return RecordingSet("folder", folder, recordings, left_out=left_out)
