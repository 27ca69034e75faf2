"""What a corpus layout yields: recordings, still untouched on disk."""

import codecs
import errno
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from audio_vq.data.prepared import Skipped
from audio_vq.data.splits import normalise_text
from audio_vq.discovery import AUDIO_SUFFIXES, LeftOut
from audio_vq.errors import UserError
from audio_vq.files import safe_name

LONGEST_NAME = 200  # bytes of an id: file systems allow 255, and results append to it
UNFIT_FOR_NAMES = re.compile(r"[\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Recording:
    id: str  # unique in the corpus; alignments lie at <speaker>/<id>.lab
    speaker: str
    path: Path
    source: str  # the path relative to the corpus
    text: str | None = None
    split: str | None = None  # where the corpus itself says so
    sentence: str | None = None  # any name for what is said, where the corpus gives one instead of a text


@dataclass(frozen=True)
class RecordingSet:
    """All recordings of a corpus, in the order in which they are prepared."""

    corpus: str  # vctk, librispeech or folder
    source: Path
    recordings: Sequence[Recording]
    speaker_info: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    left_out: Sequence[Skipped] = ()  # what may be data and cannot be used
    numbered_sentences: bool = False  # names tell the sentence where nobody's text does

    def __post_init__(self) -> None:
        """Give equal ids a number, and refuse names that cannot be part of a path.

        Raises:
            UserError: naming the recording.
        """
        names = distinct([recording.id for recording in self.recordings])
        recordings = [
            replace(recording, id=name) if name != recording.id else recording
            for recording, name in zip(self.recordings, names, strict=True)
        ]
        object.__setattr__(self, "recordings", recordings)
        for recording in recordings:
            safe_name(recording.speaker, f"speaker of {recording.source}")
            safe_name(recording.id, f"id of {recording.source}")

    @cached_property
    def sentences(self) -> dict[str, str]:
        """What is said, by id, where the corpus gives no text itself but all others of that name say the same.

        Speakers who read the same numbered sentences have names in common: `p225_001` and `p315_001`.
        """
        texts: dict[str, set[str]] = {}
        for recording in self.recordings:
            if recording.text:
                texts.setdefault(_without_speaker(recording), set()).add(normalise_text(recording.text))
        known = {each.id: each.sentence for each in self.recordings if each.sentence}
        for recording in self.recordings:
            name = _without_speaker(recording)
            said = texts.get(name, {name} if self.numbered_sentences else set())
            if not recording.text and not recording.sentence and len(said) == 1:
                known[recording.id] = next(iter(said))
        return known

    def fingerprint(self) -> str:
        """Changes when recordings come, go, or get another speaker, text, sentence or split."""
        digest = hashlib.sha256()
        for entry in self.recordings:
            line = [entry.id, entry.speaker, entry.source, entry.text, entry.split, entry.sentence]
            digest.update(json.dumps(line).encode())
        return digest.hexdigest()


def distinct(names: Iterable[str]) -> list[str]:
    """The names in their order, where one comes again with -2, -3 … behind it."""
    names = list(names)
    taken = set(names)
    given: set[str] = set()
    for place, name in enumerate(names):
        number = 2
        while names[place] in given:
            if f"{name}-{number}" not in taken:
                names[place] = f"{name}-{number}"
                taken.add(names[place])
            number += 1
        given.add(names[place])
    return names


def as_name(text: str) -> str:
    """A file's name fit for any text or path: control characters, bytes that are not UTF-8 and backslashes as %XX."""
    # Python reads a byte 0x80 … 0xff that is not UTF-8 as the surrogate U+DC80 … U+DCFF (PEP 383)
    return UNFIT_FOR_NAMES.sub(lambda found: f"%{ord(found[0]) & 0xFF:02X}", text)


def recording_id(speaker: str, relative: Path) -> str:
    """An id for a file at `relative` in its corpus: path and speaker joined by _, the speaker named once.

    `alice/day1/001.wav` → `alice_day1_001`, `p239/p239_001.wav` → `p239_001`. Very long ones are shortened.
    """
    parts = tuple(as_name(part) for part in bare(relative).parts)
    stem = "_".join(parts[1:] if parts[0] == speaker and len(parts) > 1 else parts)
    name = stem if stem.startswith(f"{speaker}_") else f"{speaker}_{stem}"
    encoded = name.encode()
    if len(encoded) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:10]
    return f"{encoded[: LONGEST_NAME - 11].decode(errors='ignore')}~{digest}"


def bare(path: Path) -> Path:
    """The path without a suffix that says audio: `take.1.wav` and `take.1` are both `take.1`."""
    return path.with_suffix("") if path.suffix.lower() in AUDIO_SUFFIXES else path


def skipped(files: Iterable[LeftOut], folder: Path) -> list[Skipped]:
    """What was left out of a corpus, by its path in it."""
    return [Skipped(each.path.relative_to(folder).as_posix(), each.reason) for each in files]


def read_text(path: Path) -> str | None:
    """A text file, in UTF-8, UTF-16 with its mark, or else Windows' Latin alphabet; None where there is none.

    Raises:
        UserError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def read_transcript(path: Path) -> str | None:
    """A text file as one line; None where there is none."""
    return " ".join((read_text(path) or "").split()) or None


def _without_speaker(recording: Recording) -> str:
    return recording.id.removeprefix(f"{recording.speaker}_")
