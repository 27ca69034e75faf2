"""The VCTK corpus, versions 0.92 (two microphones, FLAC) and 0.80 (WAV).

https://doi.org/10.7488/ds/2645
"""

import re
from pathlib import Path

from audio_vq.data.corpora.recordings import Recording, RecordingSet, read_transcript
from audio_vq.discovery import recordings_in
from audio_vq.errors import UserError

AUDIO_FOLDERS = ("wav48_silence_trimmed", "wav48")  # of 0.92, of 0.80
MICROPHONE = re.compile(r"_mic(\d)$")


def find_vctk(folder: Path) -> RecordingSet:
    """Recordings of VCTK: of two microphones the first, the second only where the first is missing.

    Raises:
        UserError: the folder does not have VCTK's layout.
    """
    for root in (folder, *sorted(folder.glob("VCTK-Corpus*"))):  # where the archive unpacks
        for name in AUDIO_FOLDERS:
            if recordings := _find(root, root / name):
                return RecordingSet("vctk", root, recordings, _speaker_info(root / "speaker-info.txt"))
    raise UserError(
        f"{folder} is not VCTK; expected wav48_silence_trimmed/<speaker>/<id>_mic1.flac (0.92) or "
        "wav48/<speaker>/<id>.wav (0.80) in it, and txt/<speaker>/<id>.txt"
    )


def _find(root: Path, audio: Path) -> list[Recording]:
    chosen: dict[tuple[str, str], Path] = {}  # by speaker and id
    for path in (file.path for file in recordings_in(audio).files):  # mic1 sorts before mic2
        if path.parent.parent == audio:
            chosen.setdefault((path.parent.name, MICROPHONE.sub("", path.stem)), path)
    return [
        Recording(
            id=name,
            speaker=speaker,
            path=path,
            source=path.relative_to(root).as_posix(),
            text=read_transcript(root / "txt" / speaker / f"{name}.txt"),
        )
        for (speaker, name), path in chosen.items()
    ]


def _speaker_info(path: Path) -> dict[str, dict[str, str]]:
    """Age, gender, accent and region per speaker, from the table that comes with VCTK."""
    info = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    for line in lines[1:]:
        name, *values = line.split(maxsplit=4)
        known = dict(zip(("age", "gender", "accent", "region"), map(str.strip, values), strict=False))
        info[f"p{name}" if name.isdigit() else name] = known  # 0.80 leaves out the p
    return info
