"""Any folder of recordings: one subfolder per speaker, or one speaker's recordings alone."""

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

    Where no audio lies in a subfolder, all is of one speaker, whose name is the folder's.

    Raises:
        UserError: no audio.
    """
    found = recordings_in(folder)
    left_out = skipped(found.left_out, folder)
    places = [*(file.path for file in found.files), *(each.path for each in found.left_out)]
    flat = all(place.parent == folder for place in places)
    recordings = []
    for file in found.files:
        source = file.relative.as_posix()
        if len(file.relative.parts) == 1 and not flat:
            left_out.append(Skipped(source, "lies in no speaker's folder"))
            continue
        speaker = as_name(folder.resolve().name if flat else file.relative.parts[0])
        text = read_transcript(file.path.with_name(f"{bare(file.path).name}.txt"))
        recordings.append(Recording(recording_id(speaker, file.relative), speaker, file.path, source, text))
    if not recordings:
        first = f"; left out {left_out[0].source}: {left_out[0].reason}" if left_out else ""
        raise UserError(
            f"{folder} has no recording; expected <speaker>/….wav in it, or one speaker's ….wav alone, "
            f"or give --manifest FILE.csv{first}"
        )
    return RecordingSet("folder", folder, recordings, left_out=left_out)
