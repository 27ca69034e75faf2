"""Which files are recordings: found in folders by their content, and what had to be left out by name."""

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audio_vq.audio.files import is_audio
from audio_vq.errors import UserError

# taken without a look inside, so that a damaged one is named when it is read
AUDIO_SUFFIXES = (
    *(".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp2", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".snd"),
    *(".sph", ".voc", ".w64", ".wav", ".wave"),
)
FOREIGN_SUFFIXES = (
    *(".3gp", ".aac", ".ac3", ".adts", ".alac", ".amr", ".ape", ".awb", ".dss", ".gsm", ".m4a", ".m4b", ".mka"),
    *(".mov", ".mp4", ".mpc", ".pcm", ".ra", ".raw", ".shn", ".spx", ".tta", ".vox", ".webm", ".wma", ".wv"),
)
TEXT_SUFFIXES = (".csv", ".htm", ".html", ".json", ".jsonl", ".lab", ".log", ".md", ".textgrid", ".tsv", ".txt", ".xml")
FOREIGN_STARTS = (b"#!AMR", b"MAC ", b"wvpk", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")  # the last one: WMA
LITTER = frozenset({"__MACOSX"})  # copies of hidden data, made by archive programs


@dataclass(frozen=True)
class RecordingFile:
    path: Path
    relative: Path  # below the deepest folder that holds all inputs: results mirror it


@dataclass(frozen=True)
class LeftOut:
    path: Path
    reason: str


@dataclass(frozen=True)
class Found:
    files: tuple[RecordingFile, ...]  # sorted, each once
    left_out: tuple[LeftOut, ...]  # what is or may be audio and cannot be used, sorted


def find_recordings(paths: Iterable[str | Path]) -> Found:
    """The files among `paths` and the recordings at any depth inside the folders among them.

    A file that is named is taken whatever it is. For folders see `recordings_in`.

    Raises:
        UserError: a path that does not exist, or no recording at all.
    """
    places = [Path(path) for path in paths]
    named: list[Path] = []
    left_out: list[LeftOut] = []
    for place in places:
        if place.is_dir():
            inside = recordings_in(place)
            named += [file.path for file in inside.files]
            left_out += inside.left_out
        elif os.path.lexists(place):
            named.append(place)
        else:
            raise UserError(f"{place}: no such file or folder")
    if not named:
        raise UserError(f"no audio file in {', '.join(map(str, places))}{_first_of(left_out)}")
    root = os.path.commonpath([_absolute(place if place.is_dir() else place.parent) for place in places])
    files = [RecordingFile(path, _absolute(path).relative_to(root)) for path in _once(named)]
    return Found(tuple(files), tuple(sorted(dict.fromkeys(left_out), key=lambda each: each.path)))


def recordings_in(folder: Path) -> Found:
    """The recordings in a folder at any depth, through links too; none where there is no such folder.

    Content decides: what libsndfile opens is a recording, with any suffix or none. Hidden files and folders are no
    data. Audio in formats that cannot be read, folders that cannot be entered and links that lead nowhere are
    left out by name.
    """
    paths: list[Path] = []
    left_out: list[LeftOut] = []
    for item in _walk(folder):
        if isinstance(item, LeftOut):
            left_out.append(item)
            continue
        try:
            if not stat.S_ISREG(item.stat().st_mode):
                continue
            if _is_recording(item):
                paths.append(item)
            elif _is_foreign_audio(item):
                left_out.append(LeftOut(item, "audio of a kind that cannot be read; convert it to WAV or FLAC"))
        except FileNotFoundError:
            left_out.append(LeftOut(item, "link that leads nowhere"))
        except OSError as error:
            left_out.append(LeftOut(item, f"cannot be read: {error.strerror}"))
    files = [RecordingFile(path, path.relative_to(folder)) for path in _once(paths)]
    return Found(tuple(files), tuple(sorted(left_out, key=lambda each: each.path)))


def _walk(top: Path) -> Iterator[Path | LeftOut]:
    """Everything in a folder that is not a folder; linked folders last, so that a folder's own place comes first."""
    own, linked = deque([top]), deque[Path]()
    # a link to one of the folders above would bring all of it in again
    visited = {str(parent) for parent in Path(os.path.realpath(top)).parents}
    while own or linked:
        folder = (own or linked).popleft()
        real = os.path.realpath(folder)
        if real in visited:
            continue
        visited.add(real)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            yield LeftOut(folder, f"folder cannot be read: {error.strerror}")
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name in LITTER:
                continue
            if _is_folder(entry):
                (linked if entry.is_symlink() else own).append(folder / entry.name)
            else:
                yield folder / entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_recording(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in AUDIO_SUFFIXES or (suffix not in TEXT_SUFFIXES and is_audio(path))


def _is_foreign_audio(path: Path) -> bool:
    if path.suffix.lower() in FOREIGN_SUFFIXES:
        return True
    with path.open("rb") as file:
        start = file.read(16)
    return start.startswith(FOREIGN_STARTS) or start[4:11] == b"ftypM4A"


def _once(paths: Iterable[Path]) -> list[Path]:
    """Sorted; of several ways to one file the one without links, or else the first."""
    by_file: dict[str, Path] = {}
    for path in sorted(set(paths), key=lambda each: (each.is_symlink(), each)):
        by_file.setdefault(os.path.realpath(path), path)
    return sorted(by_file.values())


def _absolute(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def _first_of(left_out: list[LeftOut]) -> str:
    if not left_out:
        return ""
    return f" that can be read ({len(left_out)} left out, first {left_out[0].path}: {left_out[0].reason})"
