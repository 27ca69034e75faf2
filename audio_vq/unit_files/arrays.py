"""Unit sequences as packed NumPy arrays: `.npz`."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audio_vq.errors import UserError
from audio_vq.unit_files.records import FIELDS, distinct, refuse_mixed, sequence_of
from audio_vq.units import UnitSequence


def npz_bytes(sequences: Sequence[UnitSequence]) -> bytes:
    """Every field as one array over the sequences; `units` and `pitch` laid end to end.

    Raises:
        UserError: as `refuse_mixed`.
    """
    refuse_mixed(sequences, ".npz")
    arrays: dict[str, Any] = {name: np.array([getattr(each, name) for each in sequences]) for name in FIELDS}
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


def read_npz(path: Path) -> tuple[UnitSequence, ...]:
    """Raises UserError for another kind of file."""
    not_ours = f"{path}: not a units file as written by `audio-vq encode --out units.npz`"
    if not zipfile.is_zipfile(path):
        raise UserError(not_ours)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name: arrays[name].tolist() for name in FIELDS}
            ends = np.cumsum(arrays["lengths"].astype(np.int64))[:-1]
            for name in ("units", "pitch") if "pitch" in arrays else ("units",):
                columns[name] = [each.tolist() for each in np.split(arrays[name], ends, axis=-1)]
    except (KeyError, ValueError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise UserError(not_ours) from error
    # of no sequences, numpy makes one empty part
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=False)]
    places = (f"{path}, sequence {number}" for number in range(1, len(records) + 1))
    return distinct(path, (sequence_of(*each) for each in zip(places, records, strict=True)))
