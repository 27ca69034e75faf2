"""The VCTK corpus, versions 0.92 (two microphones, FLAC) and 0.80 (WAV).

https://doi.org/10.7488/ds/2645
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from audio_vq.data.corpora.recordings import (
    Recording,
    RecordingSet,
    as_name,
    bare,
    read_text,
    read_transcript,
    skipped,
)
from audio_vq.data.prepared import Skipped
from audio_vq.discovery import RecordingFile, recordings_in
from audio_vq.errors import UserError

AUDIO_FOLDERS = ("wav48_silence_trimmed", "wav48")  # of 0.92, of 0.80
MICROPHONE = re.compile(r"_mic(\d)$")


def find_vctk(folder: Path) -> RecordingSet:
    """Recordings of VCTK: of two microphones the first, the second only where the first is missing.

    p315's texts are lost. Its recordings of sentences that all speakers read are kept, the others left out: they may
    say what is in the test split.

    Raises:
        UserError: the folder does not have VCTK's layout.
    """
    for root in (folder, *sorted(folder.glob("VCTK-Corpus*"))):  # where the archive unpacks
        for name in AUDIO_FOLDERS:
            found = recordings_in(root / name)
            if recordings := _recordings(root, found.files):
                info = _speaker_info(root / "speaker-info.txt")
                left_out = skipped(found.left_out, root)
                everything = RecordingSet("vctk", root, recordings, info, left_out, numbered_sentences=True)
                return _without_unknown_texts(everything)
    raise UserError(
        f"{folder} is not VCTK; expected wav48_silence_trimmed/<speaker>/<id>_mic1.flac (0.92) or "
        "wav48/<speaker>/<id>.wav (0.80) in it, and txt/<speaker>/<id>.txt"
    )


def _recordings(root: Path, files: Sequence[RecordingFile]) -> list[Recording]:
    chosen: dict[tuple[str, str], Path] = {}  # by speaker and id
    for file in files:  # mic1 sorts before mic2
        if len(file.relative.parts) == 2:
            chosen.setdefault((file.relative.parts[0], MICROPHONE.sub("", bare(file.path).name)), file.path)
    return [
        Recording(
            id=as_name(name),
            speaker=as_name(speaker),
            path=path,
            source=path.relative_to(root).as_posix(),
            text=read_transcript(root / "txt" / speaker / f"{name}.txt"),
        )
        for (speaker, name), path in chosen.items()
    ]


def _without_unknown_texts(found: RecordingSet) -> RecordingSet:
    """Without recordings of which nobody knows what they say."""
    known = [each for each in found.recordings if each.text or each.id in found.sentences]
    unknown = [each for each in found.recordings if not each.text and each.id not in found.sentences]
    reason = "has no text and may say a sentence of the test split"
    left_out = [*found.left_out, *(Skipped(each.source, reason) for each in unknown)]
    return replace(found, recordings=known, left_out=left_out)


def _speaker_info(path: Path) -> dict[str, dict[str, str]]:
    """Age, gender, accent and region per speaker, from the table that comes with VCTK."""
    info = {}
    for line in (read_text(path) or "").splitlines()[1:]:
        if line.strip():
            name, *values = line.split(maxsplit=4)
            known = dict(zip(("age", "gender", "accent", "region"), map(str.strip, values), strict=False))
            info[f"p{name}" if name.isdigit() else name] = known  # 0.80 leaves out the p
    return info
