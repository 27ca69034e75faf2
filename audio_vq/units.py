"""Pure functions on unit sequences, and the files that hold them.

A unit sequence is an integer array `(time,)`. The code of a recording is one such sequence, or several side by side
`(tracks, time)`: the units of each group, and pitch classes last, of models that have them. Statistics are of one
track.
"""

import io
import json
import math
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from audio_vq.errors import UserError
from audio_vq.files import atomic_write_bytes, atomic_write_text, safe_name

Units = npt.NDArray[np.int64]  # (time,), or (tracks, time) where there are several

_FIELDS = ("id", "speaker", "sample_rate", "hop_length", "num_samples", "fingerprint")  # all but the units
_MOST = 2**31  # no codebook is larger


@dataclass(frozen=True, eq=False)
class UnitSequence:
    """The units of one recording."""

    id: str  # may name a file or, with /, one inside folders
    speaker: str
    sample_rate: int  # Hz, of the waveform
    hop_length: int  # waveform samples per unit
    num_samples: int  # of the waveform, so that decoding can end where the recording did
    units: Units
    fingerprint: str = ""  # of the encoder and codebook that made them; empty where unknown
    has_pitch: bool = False  # whether the last track holds pitch classes

    @property
    def groups(self) -> Units:
        """`(groups, time)`: all tracks but pitch."""
        tracks = np.atleast_2d(self.units)
        return tracks[:-1] if self.has_pitch else tracks

    @property
    def pitch(self) -> Units | None:
        """Pitch classes `(time,)`, 0 where unvoiced."""
        return self.units[-1] if self.has_pitch else None


@dataclass(frozen=True)
class Runs:
    """Maximal stretches of one and the same unit."""

    units: np.ndarray  # (runs,)
    lengths: np.ndarray  # (runs,), in units, at least 1


def run_lengths(units: np.ndarray) -> Runs:
    """Collapse repetitions: `[7, 7, 3]` becomes units `[7, 3]` with lengths `[2, 1]`."""
    starts = np.flatnonzero(np.diff(units, prepend=np.nan) != 0)
    return Runs(units=units[starts], lengths=np.diff(starts, append=len(units)))


def usage(sequences: Iterable[np.ndarray], codebook_size: int) -> np.ndarray:
    """How often each unit occurs, `(codebook_size,)` int64, all sequences together.

    Raises:
        ValueError: a unit lies outside the codebook.
    """
    counts = np.zeros(codebook_size, dtype=np.int64)
    for units in sequences:
        if units.size and (units.min() < 0 or units.max() >= codebook_size):
            raise ValueError(f"units from {units.min()} to {units.max()}, codebook of {codebook_size}")
        counts += np.bincount(units.ravel(), minlength=codebook_size)
    return counts


def used_units(counts: np.ndarray) -> int:
    """Number of units that occur at all."""
    return int(np.count_nonzero(counts))


def entropy(counts: np.ndarray) -> float:
    """Unigram entropy in bits per unit; 0 when nothing was counted."""
    total = counts.sum()
    if total == 0:
        return 0.0
    p = counts[counts > 0] / total
    return float(max(0.0, -(p * np.log2(p)).sum()))


def perplexity(counts: np.ndarray) -> float:
    """2 to the entropy: the size of an equally used codebook with the same entropy."""
    return 2.0 ** entropy(counts)


def bits_per_second(track_sizes: Iterable[int], unit_rate_hz: float) -> float:
    """Bit rate of units written at fixed length: log2 K of each track, times the unit rate."""
    return sum(map(math.log2, track_sizes)) * unit_rate_hz


def entropy_bits_per_second(counts: np.ndarray, unit_rate_hz: float) -> float:
    """Bit rate of an ideal code that knows how often each unit occurs but not its neighbours."""
    return entropy(counts) * unit_rate_hz


def read_units(path: Path) -> tuple[UnitSequence, ...]:
    """Read unit sequences from JSON Lines, or from `.npz` by suffix.

    Raises:
        UserError: the file is missing or malformed; the message names the line.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; units are written by `audio-vq encode`")
    if path.suffix == ".npz":
        return _read_npz(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines would also split at U+2028
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file; expected JSON Lines of units (or .npz)") from error
    return _distinct(path, (_parse_line(f"{path}, line {n}", line) for n, line in enumerate(lines, 1) if line.strip()))


def write_units(path: Path, sequences: Iterable[UnitSequence]) -> None:
    """Write unit sequences as JSON Lines, or packed arrays when the suffix is `.npz`; whole or not at all."""
    if path.suffix == ".npz":
        atomic_write_bytes(path, _npz_bytes(tuple(sequences)))
    else:
        atomic_write_text(path, "".join(_json_line(sequence) for sequence in sequences))


class UnitsJournal:
    """A growing file of unit sequences; what an interrupted writer has completed is there again.

    Use it as a context. A last line that is not whole, as a kill leaves it, is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = path.read_bytes() if path.exists() else b""
        self._whole = content.rfind(b"\n") + 1  # bytes
        lines = content[: self._whole].decode().split("\n")[:-1]
        self.sequences = [_parse_line(f"{path}, line {n}", line) for n, line in enumerate(lines, 1)]

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab")
        self._file.truncate(self._whole)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, sequence: UnitSequence) -> None:
        self._file.write(_json_line(sequence).encode())
        self._file.flush()
        self.sequences.append(sequence)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _json_line(sequence: UnitSequence) -> str:
    record = {name: getattr(sequence, name) for name in _FIELDS}
    groups, pitch = sequence.groups, sequence.pitch
    record["units"] = groups.tolist() if len(groups) > 1 else groups[0].tolist()
    if pitch is not None:
        record["pitch"] = pitch.tolist()
    return json.dumps(record, ensure_ascii=False) + "\n"


def _parse_line(place: str, line: str) -> UnitSequence:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, lists in lists in lists
        raise UserError(f"{place}: not JSON ({error}); expected one object per line") from error
    if not isinstance(record, dict):
        raise UserError(f"{place}: expected an object with {', '.join(_FIELDS)}, units")
    return _sequence(place, record)


def _sequence(place: str, record: dict[str, Any]) -> UnitSequence:
    return UnitSequence(
        id=_safe_id(place, _text(place, record, "id")),
        speaker=_text(place, record, "speaker"),
        sample_rate=_whole_number(place, record, "sample_rate", least=1),
        hop_length=_whole_number(place, record, "hop_length", least=1),
        num_samples=_whole_number(place, record, "num_samples", least=0),
        units=_tracks(place, record),
        has_pitch="pitch" in record,
        fingerprint=_text(place, {"fingerprint": "", **record}, "fingerprint"),
    )


def _safe_id(place: str, name: str) -> str:
    """An id that may have come from anybody leads nowhere but below the folder of results."""
    for part in name.split("/"):
        safe_name(part, f"{place}: id {name!a}, part")
    return name


def _distinct(path: Path, sequences: Iterable[UnitSequence]) -> tuple[UnitSequence, ...]:
    by_id: dict[str, UnitSequence] = {}
    for sequence in sequences:
        if sequence.id in by_id:
            raise UserError(f"{path}: the id {sequence.id!r} occurs twice; give each sequence its own")
        by_id[sequence.id] = sequence
    return tuple(by_id.values())


def _text(place: str, record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise UserError(f"{place}: {key} is {value!r}, expected a text")
    return value


def _whole_number(place: str, record: dict[str, Any], key: str, least: int) -> int:
    value = record.get(key)
    if type(value) is not int or value < least:  # bool is an int to isinstance
        raise UserError(f"{place}: {key} is {value!r}, expected a whole number of at least {least}")
    return value


def _tracks(place: str, record: dict[str, Any]) -> Units:
    """`units`, a list or a list per group, with `pitch` below them where there is one."""
    units = record.get("units")
    groups = units if isinstance(units, list) and units and isinstance(units[0], list) else [units]
    tracks = [_track(place, "units", group) for group in groups]
    if "pitch" in record:
        tracks.append(_track(place, "pitch", record["pitch"]))
    lengths = [len(track) for track in tracks]
    if len(set(lengths)) > 1:
        raise UserError(f"{place}: groups of units and pitch are {lengths} long; expected one length")
    return np.stack(tracks) if len(tracks) > 1 else tracks[0]


def _track(place: str, name: str, value: Any) -> Units:
    if not isinstance(value, list) or not all(type(unit) is int and 0 <= unit < _MOST for unit in value):
        raise UserError(f"{place}: {name} must be a list of whole numbers from 0 (units: or a list of such, per group)")
    return np.array(value, dtype=np.int64)


def _npz_bytes(sequences: tuple[UnitSequence, ...]) -> bytes:
    """Every field as one array over the sequences; `units` and `pitch` laid end to end.

    Raises:
        UserError: sequences of different models, which have other tracks.
    """
    if len({(len(each.groups), each.has_pitch) for each in sequences}) > 1:
        raise UserError("units of models with different groups or pitch do not go into one .npz; write .jsonl")
    arrays: dict[str, Any] = {name: np.array([getattr(each, name) for each in sequences]) for name in _FIELDS}
    arrays["lengths"] = np.array([each.units.shape[-1] for each in sequences])
    empty = np.zeros((1, 0), np.int64)
    groups = np.concatenate([each.groups for each in sequences] or [empty], axis=1)
    arrays["units"] = groups if len(groups) > 1 else groups[0]
    pitch = [each.pitch for each in sequences if each.pitch is not None]
    if pitch:
        arrays["pitch"] = np.concatenate(pitch)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _read_npz(path: Path) -> tuple[UnitSequence, ...]:
    not_ours = f"{path}: not a units file as written by `audio-vq encode --out units.npz`"
    if not zipfile.is_zipfile(path):
        raise UserError(not_ours)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name: arrays[name].tolist() for name in _FIELDS}
            ends = np.cumsum(arrays["lengths"].astype(np.int64))[:-1]
            for name in ("units", "pitch") if "pitch" in arrays else ("units",):
                columns[name] = [each.tolist() for each in np.split(arrays[name], ends, axis=-1)]
    except (KeyError, ValueError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise UserError(not_ours) from error
    # of no sequences, numpy makes one empty part
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=False)]
    places = (f"{path}, sequence {number}" for number in range(1, len(records) + 1))
    return _distinct(path, (_sequence(*each) for each in zip(places, records, strict=True)))
