"""LibriSpeech: https://www.openslr.org/12 ."""

import re
from functools import cache
from pathlib import Path

from audio_vq.data.corpora.recordings import Recording, RecordingSet
from audio_vq.discovery import recordings_in
from audio_vq.errors import UserError

NAME = re.compile(r"(?P<speaker>\d+)-(?P<chapter>\d+)-\d+")


def find_librispeech(folder: Path) -> RecordingSet:
    """Recordings of one subset, or of several under one root, at any depth.

    Raises:
        UserError: the folder does not have LibriSpeech's layout.
    """
    recordings = []
    for path in (file.path for file in recordings_in(folder).files):
        name = NAME.fullmatch(path.stem)
        if name and path.parts[-3:-1] == (name["speaker"], name["chapter"]):
            chapter = path.with_name(f"{name['speaker']}-{name['chapter']}.trans.txt")
            text = _transcripts(chapter).get(path.stem)
            source = path.relative_to(folder).as_posix()
            recordings.append(Recording(path.stem, name["speaker"], path, source, text))
    if not recordings:
        raise UserError(
            f"{folder} is not LibriSpeech; expected <speaker>/<chapter>/<speaker>-<chapter>-<number>.flac in "
            "it or in subsets such as train-clean-100, and a <speaker>-<chapter>.trans.txt in each chapter"
        )
    return RecordingSet("librispeech", folder, recordings)


@cache
def _transcripts(path: Path) -> dict[str, str]:
    """Texts by utterance id, of one chapter."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return dict(line.split(maxsplit=1) for line in lines if len(line.split(maxsplit=1)) == 2)
