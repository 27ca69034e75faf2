"""What a corpus layout yields: recordings, still untouched on disk."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audio_vq.errors import UserError


@dataclass(frozen=True)
class Recording:
    id: str  # unique in the corpus; alignments lie at <speaker>/<id>.lab
    speaker: str
    path: Path
    source: str  # the path relative to the corpus
    text: str | None = None
    split: str | None = None  # where the corpus itself says so


@dataclass(frozen=True)
class RecordingSet:
    """All recordings of a corpus, in the order in which they are prepared."""

    corpus: str  # vctk, librispeech or folder
    source: Path
    recordings: Sequence[Recording]
    speaker_info: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse two recordings with one id.

        Raises:
            UserError: naming both files.
        """
        seen: dict[str, str] = {}
        for recording in self.recordings:
            if recording.id in seen:
                raise UserError(
                    f"{seen[recording.id]} and {recording.source} would both be utterance {recording.id}; "
                    "rename one or list the wanted one in a --manifest"
                )
            seen[recording.id] = recording.source

    def fingerprint(self) -> str:
        """Changes when recordings come, go, or get another speaker, text or split."""
        digest = hashlib.sha256()
        for entry in self.recordings:
            line = [entry.id, entry.speaker, entry.source, entry.text, entry.split]
            digest.update(json.dumps(line).encode())
        return digest.hexdigest()


def recording_id(speaker: str, relative: Path) -> str:
    """An id for a file at `relative` in its corpus: path and speaker joined by _, the speaker named once.

    `alice/day1/001.wav` → `alice_day1_001`, `p239/p239_001.wav` → `p239_001`.
    """
    parts = relative.with_suffix("").parts
    stem = "_".join(parts[1:] if parts[0] == speaker and len(parts) > 1 else parts)
    return stem if stem.startswith(f"{speaker}_") else f"{speaker}_{stem}"


def read_transcript(path: Path) -> str | None:
    """A text file as one line; None where there is none."""
    if not path.is_file():
        return None
    return " ".join(path.read_text(encoding="utf-8-sig", errors="replace").split()) or None
