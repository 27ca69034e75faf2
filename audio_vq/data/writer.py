"""Writes a prepared corpus so that it can be stopped at any moment and gone on with.

While it grows there are `audio.pcm`, `pitch.f32` and `utterances.partial.jsonl`: first a line with the settings, then
one line per recording, with its utterances (several where it was cut) or the reason why it was skipped. A line
follows its samples and their pitch. Going on means: keep the complete lines, cut the other two after what the last
one names. The bytes are then the same.
"""

import errno
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from audio_vq.data.prepared import (
    AUDIO_FILE,
    CORPUS_FILE,
    PCM_DTYPE,
    PITCH_DTYPE,
    PITCH_FILE,
    UTTERANCES_FILE,
    CorpusHeader,
    Skipped,
    Utterance,
)
from audio_vq.data.splits import UNASSIGNED
from audio_vq.errors import UserError
from audio_vq.files import LOCK_FILE, atomic_write_text, locked
from audio_vq.pitch import F0, num_frames

PARTIAL_FILE = "utterances.partial.jsonl"


@dataclass(frozen=True)
class Spoken:
    """One recording, or a piece of one, ready to be appended."""

    id: str
    speaker: str
    samples: npt.NDArray[np.int16]  # (time,)
    pitch: F0  # (frames,), of these samples
    source: str
    text: str | None = None
    split: str | None = None  # where the corpus names one
    offset_seconds: float = 0.0
    gain_db: float = 0.0


class CorpusWriter:
    """Appends recordings to a prepared corpus; a context manager.

    `utterances` and `skipped` hold what is written, also by an earlier, interrupted writer.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, force: bool) -> None:
        """Open a new or an unfinished corpus; `sample_rate` is among the settings.

        Raises:
            UserError: a finished corpus or one begun with other settings, without `force`; a folder that
                holds something else, which is never touched; or one that another process writes.
        """
        self.folder = folder
        self.utterances: list[Utterance] = []
        self.skipped: list[Skipped] = []
        self._settings = json.loads(json.dumps(settings))  # as it will be read back
        self.done = 0  # recordings that have been dealt with
        self._samples, self._frames = 0, 0  # written so far
        refuse_to_overwrite(folder, force=force)
        with explained(folder), ExitStack() as lock:
            lock.enter_context(locked(folder, "the corpus"))
            refuse_to_overwrite(folder, force=force)  # another process may just have finished it
            if force:
                self._start_anew()
            self._resume()
            self._lines: BinaryIO = (folder / PARTIAL_FILE).open("ab")
            if not self._lines.tell():
                self._write_line({"settings": self._settings})
            self._pcm: BinaryIO = (folder / AUDIO_FILE).open("ab")
            self._pitch: BinaryIO = (folder / PITCH_FILE).open("ab")
            self._lock = lock.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._close_files()

    def _close_files(self) -> None:
        with explained(self.folder):
            self._pcm.close()
            self._pitch.close()
            self._lines.close()

    def add(self, *parts: Spoken | Skipped) -> None:
        """Append one recording, in its pieces, or note that it was skipped.

        Raises:
            UserError: the disk is full or may not be written.
        """
        samples, frames = self._samples, self._frames
        entries: list[Utterance | Skipped] = []
        with explained(self.folder):
            for part in parts:
                if isinstance(part, Spoken):
                    entries.append(_utterance(part, samples, frames))
                    samples += len(part.samples)
                    frames += len(part.pitch)
                    self._pcm.write(part.samples.astype(PCM_DTYPE).tobytes())
                    self._pitch.write(part.pitch.astype(PITCH_DTYPE).tobytes())
                else:
                    entries.append(part)
            self._pcm.flush()
            self._pitch.flush()
            self._write_line({"recording": [_as_json(entry) for entry in entries]})
        self._take(entries)

    def finish(self, utterances: Sequence[Utterance], header: CorpusHeader) -> None:
        """Write what makes the corpus complete: the utterances with their splits, then the header."""
        self._close_files()
        with explained(self.folder):
            lines = "".join(utterance.to_json() for utterance in utterances)
            atomic_write_text(self.folder / UTTERANCES_FILE, lines)
            atomic_write_text(self.folder / CORPUS_FILE, header.to_json())
            (self.folder / PARTIAL_FILE).unlink()

    def discard(self) -> None:
        """Remove what was written, and the folder if nothing else is in it."""
        self._close_files()
        self._start_anew()
        (self.folder / PARTIAL_FILE).unlink()
        if {path.name for path in self.folder.iterdir()} <= {LOCK_FILE}:
            shutil.rmtree(self.folder)

    def _write_line(self, line: Mapping[str, Any]) -> None:
        self._lines.write(json.dumps(line).encode() + b"\n")
        self._lines.flush()

    def _resume(self) -> None:
        """Read what an interrupted writer left, and cut off what it did not complete."""
        pcm, pitch, partial = (self.folder / name for name in (AUDIO_FILE, PITCH_FILE, PARTIAL_FILE))
        if not partial.exists():
            return
        samples, frames = _items(pcm, PCM_DTYPE), _items(pitch, PITCH_DTYPE)
        kept = 0  # bytes of complete lines whose samples and pitch are there
        with partial.open("rb") as file:
            for raw in file:
                if not raw.endswith(b"\n") or not self._take_line(raw, samples, frames):
                    break
                kept += len(raw)
        sizes = (kept, self._samples * PCM_DTYPE.itemsize, self._frames * PITCH_DTYPE.itemsize)
        for path, size in zip((partial, pcm, pitch), sizes, strict=True):
            with path.open("ab") as file:
                file.truncate(size)

    def _take_line(self, raw: bytes, samples: int, frames: int) -> bool:
        """Take over a line of an earlier run; False where it is torn, or names more than reached the disk."""
        try:
            line = json.loads(raw)
            entries = [_from_json(entry) for entry in line.get("recording", ())]
        except (ValueError, AttributeError, KeyError, TypeError):  # what a power cut may leave
            return False
        if "settings" in line:
            self._refuse_other_settings(line["settings"])
            return True
        for entry in entries:
            if isinstance(entry, Utterance) and (
                entry.start + entry.num_samples > samples or entry.first_frame + self._frames_of(entry) > frames
            ):
                return False
        self._take(entries)
        return True

    def _take(self, entries: Sequence[Utterance | Skipped]) -> None:
        """Count a recording as written."""
        self.done += 1
        for entry in entries:
            if isinstance(entry, Utterance):
                self.utterances.append(entry)
                self._samples += entry.num_samples
                self._frames += self._frames_of(entry)
            else:
                self.skipped.append(entry)

    def _frames_of(self, utterance: Utterance) -> int:
        return num_frames(utterance.num_samples, self._settings["sample_rate"])

    def _refuse_other_settings(self, earlier: Mapping[str, Any]) -> None:
        names = sorted(earlier.keys() | self._settings.keys())
        changed = [name for name in names if earlier.get(name) != self._settings.get(name)]
        if changed:
            raise UserError(
                f"{self.folder} was begun with another {' and '.join(changed).replace('_', ' ')}; "
                "repeat the first command to go on with it, or use --force to start anew"
            )

    def _start_anew(self) -> None:
        (self.folder / PARTIAL_FILE).write_bytes(b"")  # first what says: begun, ours
        for name in (CORPUS_FILE, UTTERANCES_FILE, AUDIO_FILE, PITCH_FILE):
            (self.folder / name).unlink(missing_ok=True)


def _items(path: Path, dtype: np.dtype[Any]) -> int:
    return path.stat().st_size // dtype.itemsize if path.exists() else 0


def _utterance(spoken: Spoken, start: int, first_frame: int) -> Utterance:
    return Utterance(
        id=spoken.id,
        speaker=spoken.speaker,
        split=spoken.split or UNASSIGNED,
        num_samples=len(spoken.samples),
        start=start,
        text=spoken.text,
        source=spoken.source,
        offset_seconds=round(spoken.offset_seconds, 6),
        gain_db=round(spoken.gain_db, 2),
        first_frame=first_frame,
    )


def _as_json(entry: Utterance | Skipped) -> dict[str, Any]:
    return {"utterance" if isinstance(entry, Utterance) else "skipped": asdict(entry)}


def _from_json(entry: Mapping[str, Any]) -> Utterance | Skipped:
    return Utterance(**entry["utterance"]) if "utterance" in entry else Skipped(**entry["skipped"])


def refuse_to_overwrite(folder: Path, *, force: bool) -> None:
    """Check that a corpus may be written to `folder`.

    Raises:
        UserError: it is a file, a finished corpus (without `force`), or a folder with something else in it.
    """
    with explained(folder):
        if not folder.exists():
            return
        if not folder.is_dir():
            raise UserError(f"{folder} is a file; expected a folder for the prepared corpus")
        names = {path.name for path in folder.iterdir()}
    if CORPUS_FILE in names and not force:
        raise UserError(f"{folder} holds a finished corpus; use --force to replace it")
    begun = names & {CORPUS_FILE, PARTIAL_FILE}
    if not begun and any(not name.startswith(".") for name in names):
        raise UserError(f"{folder} holds other files; expected a new folder for the prepared corpus")


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Make a UserError of what the file system refuses: full, read-only, a name too long, a file in the way."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise UserError(
                f"{folder}: {error.strerror}; make room and run the same command again to go on from here"
            ) from error
        raise UserError(f"{folder} cannot be written: {error.strerror or error}") from error
