"""Writes a prepared corpus so that it can be stopped at any moment and gone on with.

While it grows there are `audio.pcm` and `utterances.partial.jsonl`: first a line with the settings, then
one line per recording, an utterance or the reason why it was skipped. A line follows its samples. Going on
means: keep the complete lines, cut `audio.pcm` after the last one's samples. The bytes are then the same.
"""

import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from audio_vq.data.prepared import (
    AUDIO_FILE,
    CORPUS_FILE,
    PCM_DTYPE,
    UTTERANCES_FILE,
    CorpusHeader,
    Skipped,
    Utterance,
)
from audio_vq.data.splits import UNASSIGNED
from audio_vq.errors import UserError
from audio_vq.files import atomic_write_text

PARTIAL_FILE = "utterances.partial.jsonl"


@dataclass(frozen=True)
class Spoken:
    """One recording, ready to be appended."""

    id: str
    speaker: str
    samples: npt.NDArray[np.int16]  # (time,)
    source: str
    text: str | None = None
    split: str | None = None  # where the corpus names one
    offset_seconds: float = 0.0


class CorpusWriter:
    """Appends recordings to a prepared corpus; a context manager.

    `utterances` and `skipped` hold what is written, also by an earlier, interrupted writer.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, force: bool) -> None:
        """Open a new or an unfinished corpus.

        Raises:
            UserError: a finished corpus or one begun with other settings, without `force`; or a folder that
                holds something else, which is never touched.
        """
        self.folder = folder
        self.utterances: list[Utterance] = []
        self.skipped: list[Skipped] = []
        self._settings = json.loads(json.dumps(settings))  # as it will be read back
        self._samples = 0  # written so far
        refuse_to_overwrite(folder, force=force)
        with explained(folder):
            if force:
                self._remove_files()
            folder.mkdir(parents=True, exist_ok=True)
            self._resume()
            self._lines: BinaryIO = (folder / PARTIAL_FILE).open("ab")
            if not self._lines.tell():
                self._write_line({"settings": self._settings})
            self._pcm: BinaryIO = (folder / AUDIO_FILE).open("ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with explained(self.folder):
            self._pcm.close()
            self._lines.close()

    @property
    def done(self) -> int:
        """How many recordings have been dealt with."""
        return len(self.utterances) + len(self.skipped)

    def add(self, item: Spoken | Skipped) -> None:
        """Append a recording, or note that it was skipped.

        Raises:
            UserError: the disk is full or may not be written.
        """
        with explained(self.folder):
            if isinstance(item, Skipped):
                self._write_line({"skipped": asdict(item)})
                self.skipped.append(item)
                return
            utterance = Utterance(
                id=item.id,
                speaker=item.speaker,
                split=item.split or UNASSIGNED,
                num_samples=len(item.samples),
                start=self._samples,
                text=item.text,
                source=item.source,
                offset_seconds=round(item.offset_seconds, 6),
            )
            self._pcm.write(item.samples.astype(PCM_DTYPE).tobytes())
            self._pcm.flush()
            self._write_line({"utterance": asdict(utterance)})
            self._samples += utterance.num_samples
            self.utterances.append(utterance)

    def finish(self, utterances: Sequence[Utterance], header: CorpusHeader) -> None:
        """Write what makes the corpus complete: the utterances with their splits, then the header."""
        self.close()
        with explained(self.folder):
            lines = "".join(utterance.to_json() for utterance in utterances)
            atomic_write_text(self.folder / UTTERANCES_FILE, lines)
            atomic_write_text(self.folder / CORPUS_FILE, header.to_json())
            (self.folder / PARTIAL_FILE).unlink()

    def discard(self) -> None:
        """Remove what was written, and the folder if nothing else is in it."""
        self.close()
        self._remove_files()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _write_line(self, line: Mapping[str, Any]) -> None:
        self._lines.write(json.dumps(line).encode() + b"\n")
        self._lines.flush()

    def _resume(self) -> None:
        """Read what an interrupted writer left, and cut off what it did not complete."""
        pcm, partial = self.folder / AUDIO_FILE, self.folder / PARTIAL_FILE
        if not partial.exists():
            return
        available = pcm.stat().st_size // PCM_DTYPE.itemsize if pcm.exists() else 0
        kept = 0  # bytes of complete lines whose samples are there
        with partial.open("rb") as file:
            for raw in file:
                if not raw.endswith(b"\n") or not self._take_line(json.loads(raw), available):
                    break
                kept += len(raw)
        with partial.open("ab") as file:
            file.truncate(kept)
        with pcm.open("ab") as file:
            file.truncate(self._samples * PCM_DTYPE.itemsize)

    def _take_line(self, line: Mapping[str, Any], available: int) -> bool:
        """Take over a line of an earlier run; False where its samples never reached the disk."""
        if "settings" in line:
            self._refuse_other_settings(line["settings"])
        elif "skipped" in line:
            self.skipped.append(Skipped(**line["skipped"]))
        else:
            utterance = Utterance(**line["utterance"])
            if utterance.start + utterance.num_samples > available:
                return False
            self._samples += utterance.num_samples
            self.utterances.append(utterance)
        return True

    def _refuse_other_settings(self, earlier: Mapping[str, Any]) -> None:
        names = sorted(earlier.keys() | self._settings.keys())
        changed = [name for name in names if earlier.get(name) != self._settings.get(name)]
        if changed:
            raise UserError(
                f"{self.folder} was begun with another {' and '.join(changed).replace('_', ' ')}; "
                "repeat the first command to go on with it, or use --force to start anew"
            )

    def _remove_files(self) -> None:
        for name in (CORPUS_FILE, PARTIAL_FILE, UTTERANCES_FILE, AUDIO_FILE):  # first what says: finished
            (self.folder / name).unlink(missing_ok=True)


def refuse_to_overwrite(folder: Path, *, force: bool) -> None:
    """Check that a corpus may be written to `folder`.

    Raises:
        UserError: it is a file, a finished corpus (without `force`), or a folder with something else in it.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; expected a folder for the prepared corpus")
    finished = (folder / CORPUS_FILE).exists()
    if finished and not force:
        raise UserError(f"{folder} holds a finished corpus; use --force to replace it")
    begun = (folder / PARTIAL_FILE).exists()
    if folder.exists() and not finished and not begun and any(folder.iterdir()):
        raise UserError(f"{folder} holds other files; expected a new folder for the prepared corpus")


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Make a full or read-only disk a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise UserError(
                f"{folder}: {error.strerror}; make room and run the same command again to go on from here"
            ) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise UserError(f"{folder} cannot be written: {error.strerror}") from error
        raise
