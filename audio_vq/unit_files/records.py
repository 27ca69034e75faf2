"""A unit sequence as a record of plain values, the form that every units file has; and back, checked."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from audio_vq.errors import UserError
from audio_vq.files import safe_name
from audio_vq.units import Units, UnitSequence

FIELDS = ("id", "speaker", "sample_rate", "hop_length", "num_samples", "fingerprint")  # all but the units
MOST = 2**31  # no codebook is larger


def record_of(sequence: UnitSequence) -> dict[str, Any]:
    """Its fields, `units` (a list, or of several groups a list of lists) and, where it has pitch, `pitch`."""
    record = {name: getattr(sequence, name) for name in FIELDS}
    groups, pitch = sequence.groups, sequence.pitch
    record["units"] = groups.tolist() if len(groups) > 1 else groups[0].tolist()
    if pitch is not None:
        record["pitch"] = pitch.tolist()
    return record


def refuse_mixed(sequences: Iterable[UnitSequence], suffix: str) -> None:
    """Raises UserError for sequences of different models, which have other tracks and so no common columns."""
    if len({(len(each.groups), each.has_pitch) for each in sequences}) > 1:
        raise UserError(f"units of models with different groups or pitch do not go into one {suffix}; write .jsonl")


def sequence_of(place: str, record: dict[str, Any]) -> UnitSequence:
    """Raises UserError, which begins with `place`, for a record that is none of units."""
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


def distinct(path: Path, sequences: Iterable[UnitSequence]) -> tuple[UnitSequence, ...]:
    """All of them. Raises UserError where two have the same id."""
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
    if not isinstance(value, list) or not all(type(unit) is int and 0 <= unit < MOST for unit in value):
        raise UserError(f"{place}: {name} must be a list of whole numbers from 0 (units: or a list of such, per group)")
    return np.array(value, dtype=np.int64)
