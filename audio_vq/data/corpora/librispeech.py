"""LibriSpeech: https://www.openslr.org/12 ."""

import re
from functools import cache
from pathlib import Path

from audio_vq.data.corpora.recordings import Recording, RecordingSet, bare, read_text, skipped
from audio_vq.data.prepared import Skipped
from audio_vq.discovery import recordings_in
from audio_vq.errors import UserError

NAME = re.compile(r"(?P<speaker>\d+)-(?P<chapter>\d+)-\d+")


def find_librispeech(folder: Path) -> RecordingSet:
    """Recordings of one subset, or of several under one root, at any depth.

    Raises:
        UserError: the folder does not have LibriSpeech's layout.
    """
    found = recordings_in(folder)
    left_out = skipped(found.left_out, folder)
    recordings = []
    for file in found.files:
        identity, source = bare(file.path).name, file.relative.as_posix()
        name = NAME.fullmatch(identity)
        if name is None or file.path.parts[-3:-1] != (name["speaker"], name["chapter"]):
            left_out.append(Skipped(source, "is not <speaker>/<chapter>/<speaker>-<chapter>-<number>"))
            continue
        chapter = file.path.with_name(f"{name['speaker']}-{name['chapter']}.trans.txt")
        recordings.append(Recording(identity, name["speaker"], file.path, source, _transcripts(chapter).get(identity)))
    if not recordings:
        raise UserError(
            f"{folder} is not LibriSpeech; expected <speaker>/<chapter>/<speaker>-<chapter>-<number>.flac in "
            "it or in subsets such as train-clean-100, and a <speaker>-<chapter>.trans.txt in each chapter"
        )
    return RecordingSet("librispeech", folder, recordings, left_out=left_out)


@cache
def _transcripts(path: Path) -> dict[str, str]:
    """Texts by utterance id, of one chapter."""
    lines = (read_text(path) or "").splitlines()
    return dict(line.split(maxsplit=1) for line in lines if len(line.split(maxsplit=1)) == 2)
