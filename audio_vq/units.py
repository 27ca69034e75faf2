"""Pure functions on unit sequences; `unit_files/` keeps them on disk.

A unit sequence is an integer array `(time,)`. The code of a recording is one such sequence, or several side by side
`(tracks, time)`: the units of each group, and pitch classes last, of models that have them. Statistics are of one
track.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Units = npt.NDArray[np.int64]  # (time,), or (tracks, time) where there are several


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
