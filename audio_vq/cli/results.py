"""Where a verb's audio files go, and which of them an earlier call has made already.

Every file says in its comment what it was made with (`made_with`), so that a call goes on where an interrupted one
stood, and never takes the results of another model, recording or setting for its own.
"""

import dataclasses
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from audio_vq.cli.console import PIPE, show, write_data
from audio_vq.errors import UserError

if TYPE_CHECKING:
    from audio_vq.audio.waveform import Waveform
    from audio_vq.codec.drawing import SamplingOptions
    from audio_vq.pretrained import VQVAE

FILE_SUFFIXES = {".wav", ".flac"}  # of --out, where one file is meant
LONGEST_NAME = 255  # bytes, where the file system does not say


def result_files(out: Path, names: Sequence[Path]) -> list[Path]:
    """OUT/<name>.wav for each name; OUT itself where it ends in .wav or .flac, or is `PIPE`, and there is one name.

    Raises:
        UserError: such a file is given for several results, or something that is no folder is in the way.
    """
    if out == PIPE:
        if len(names) != 1:
            raise UserError(f"--out - writes one result to stdout, but there are {len(names)}; give a folder")
        return [PIPE]
    one_file = out.suffix.lower() in FILE_SUFFIXES and not out.is_dir()
    if one_file and len(names) != 1:
        raise UserError(f"--out {out} names one file, but there are {len(names)} results; give a folder")
    folder = out.parent if one_file else out
    blocked = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), folder)
    if os.path.lexists(blocked) and not blocked.is_dir():
        raise UserError(f"--out {out}: {blocked} is a file; give a folder, or one file ending in .wav")
    files = [out] if one_file else [out / name.with_name(f"{name.name}.wav") for name in names]
    for file, count in Counter(files).items():
        if count > 1:
            raise UserError(f"two results would both be written to {file}; make them in different folders")
        if file.is_dir():
            raise UserError(f"{file} is a folder; move it away, or give another --out")
    return files


def name_is_too_long(file: Path) -> bool:
    """For the file system that it would lie on."""
    place = next(parent for parent in file.absolute().parents if parent.is_dir())
    try:
        longest = os.pathconf(place, "PC_NAME_MAX")
    except (OSError, ValueError):
        longest = LONGEST_NAME
    return len(os.fsencode(file.name)) > longest


def made_with(model: "VQVAE", options: "SamplingOptions", speaker: str, *what: object) -> str:
    """A comment that names the model, the settings and what the result is made of.

    Raises:
        UserError: the model does not know the speaker.
    """
    codec, voice = model.codec, model.speaker_index(speaker)
    settings = [
        voice,
        codec.fingerprint,
        codec.decoder_fingerprint,
        codec.loudness_db,
        [dataclasses.asdict(each) for each in codec.pitch_ranges[voice : voice + 1]],
        dataclasses.asdict(options),
        *what,
    ]
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]
    return f"audio-vq {digest}"


def still_to_make(comments: Mapping[Path, str], force: bool) -> set[Path]:
    """The files an interrupted call has left to do, all of them with `force`.

    Files are written whole or not at all, so that those which exist are complete.

    Raises:
        UserError: all exist, or one that was made with something else.
    """
    from audio_vq.audio.files import read_comment

    if force or PIPE in comments:
        return set(comments)
    existing = [file for file in comments if os.path.lexists(file)]
    others = [file for file in existing if read_comment(file) != comments[file]]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise UserError(
            f"{others[0]} exists{more}, made of something else or with another model or setting; "
            "give --force to overwrite, or another --out"
        )
    if len(existing) == len(comments):
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise UserError(f"{existing[0]} exists{more}; give --force to make it again, or another --out")
    if existing:
        print(
            f"{len(existing)} of {len(comments)} results exist and are kept; --force makes them again", file=sys.stderr
        )
    return set(comments) - set(existing)


@contextmanager
def told_how_to_go_on(out: Path, files: Collection[Path]) -> Iterator[None]:
    """Ctrl-C and a full disk inside say what is kept."""

    def told() -> str:
        made = [file.exists() for file in files]
        return f"{sum(made)} of {len(made)} results are in {out}; the same command goes on from there"

    if out == PIPE:
        yield
        return
    try:
        yield
    except KeyboardInterrupt:
        print(f"audio-vq: {told()}", file=sys.stderr)
        raise
    except OSError as error:
        raise OSError(f"{error.strerror or error}; {told()}") from error


def check_stdout(out: Path, json_output: bool) -> None:
    """Raises UserError where two things want stdout, or audio would go to a screen."""
    if out != PIPE:
        return
    if json_output:
        raise UserError("--out - writes audio to stdout, where --json prints; give one of them")
    if sys.stdout.isatty():
        raise UserError("--out - writes audio to stdout, which is a terminal; pipe it on, say | aplay, or give a file")


class Results:
    """Audio that has been made: written where it belongs, and told on stdout, line by line or at the end as JSON.

    What belongs together is told `at_the_end` too, in the order that was planned.
    """

    def __init__(
        self, comments: Mapping[Path, str], wanted: Collection[Path], json_output: bool, at_the_end: bool = False
    ) -> None:
        self._comments = comments
        self._at_the_end = at_the_end
        self._kept = [str(file) for file in comments if file not in wanted]
        self._json = json_output
        self._made: list[dict[str, Any]] = []

    def write(self, file: Path, waveform: "Waveform", sample_rate: int, **about: str) -> None:
        """`about` is for JSON, beside the file's name and its duration."""
        from audio_vq.audio.files import encoded_audio, write_audio

        if file == PIPE:
            write_data(encoded_audio(waveform, sample_rate))
            return
        write_audio(file, waveform, sample_rate, self._comments[file])
        self._made.append({"file": str(file), **about, "seconds": len(waveform) / sample_rate})
        if not (self._json or self._at_the_end):
            show(file)

    def end(self, **about: object) -> None:
        places = {str(file): place for place, file in enumerate(self._comments)}
        made = sorted(self._made, key=lambda each: places[each["file"]])
        if self._json:
            show(json.dumps({"files": made, "kept": self._kept, **about}))
        elif self._at_the_end:
            for each in made:
                show(each["file"])


class Faults:
    """What could not be done among other things that could."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    @property
    def count(self) -> int:
        return len(self.texts)

    def add(self, fault: str) -> None:
        """Tells it on stderr."""
        self.texts.append(fault)
        print(f"left out: {fault}", file=sys.stderr)

    def end(self, total: int) -> None:
        """Exits with 1 where there were any."""
        if self.count:
            print(f"audio-vq: {self.count} of {total} could not be done and are named above", file=sys.stderr)
            raise typer.Exit(1)
