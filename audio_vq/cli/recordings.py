"""The recordings that a verb is given, each with a name of its own."""

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_vq.cli.console import PIPE
from audio_vq.discovery import AUDIO_SUFFIXES, Found, LeftOut, find_recordings

STDIN = Path("/dev/stdin")


@dataclass(frozen=True)
class NamedRecording:
    path: Path
    name: Path  # relative: results mirror the inputs' folders


def named_recordings(inputs: Sequence[Path]) -> tuple[list[NamedRecording], tuple[LeftOut, ...]]:
    """The recordings among inputs, - for stdin, and what had to be left out. Raises UserError as `find_recordings`."""
    others = [path for path in inputs if path != PIPE]
    found = find_recordings(others) if others else Found((), ())
    files = [(file.path, file.relative) for file in found.files]
    if len(others) < len(inputs):
        files.insert(0, (STDIN, Path(STDIN.name)))
    names = distinct_names([relative for _, relative in files])
    return [NamedRecording(path, name) for (path, _), name in zip(files, names, strict=True)], found.left_out


def distinct_names(paths: Sequence[Path]) -> list[Path]:
    """Without the suffixes of audio files, where names then still differ."""
    stems = [path.with_suffix("") if path.suffix.lower() in AUDIO_SUFFIXES else path for path in paths]
    counts = Counter(stems)
    names = [stem if counts[stem] == 1 else path for path, stem in zip(paths, stems, strict=True)]
    return names if len(set(names)) == len(names) else list(paths)


def id_of(name: Path, taken: Collection[str]) -> str:
    """A name as an id in a units file: text that may name a file anywhere."""
    text = os.fsencode(name.as_posix()).decode("utf-8", "replace")
    text = "".join("_" if each == "\\" or unicodedata.category(each) == "Cc" else each for each in text)
    text = "/".join(part if part.strip() else "_" for part in text.split("/"))
    while text in taken:
        text += "_"
    return text
