"""Phones read from codes: each group's units are counted, all groups together are read by a probe.

The combinations of several groups' units are far too many to be counted. A linear probe of the units, one-hot and side
by side, is taught with the phones of the mapping utterances: each unit of each group adds its evidence for each phone.
Of one group it would read what counting reads: the commonest phone of each unit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_array, hstack, vstack

from audio_vq.analysis.measures.encoded import EncodedUtterance
from audio_vq.analysis.measures.phones import LabelledUnits, PhoneScores, score_phones
from audio_vq.analysis.measures.probe import Features, fit_linear_probe, one_hot

FIT_FRAMES = 60_000  # to which a probe is fitted, drawn from the mapping utterances

UnitsOf: TypeAlias = Callable[[EncodedUtterance], np.ndarray]


@dataclass(frozen=True, eq=False)
class Side:
    """The mapping or the scored utterances: how they were encoded, and their frames' phones."""

    encoded: tuple[EncodedUtterance, ...]
    phones: tuple[np.ndarray, ...]  # per utterance: (num_units,) of strings

    def with_units(self, units_of: UnitsOf) -> list[LabelledUnits]:
        """The frames' phones beside units `(num_units,)` of any origin."""
        pairs = zip(self.encoded, self.phones, strict=True)
        return [LabelledUnits(each.utterance.id, units_of(each), phones) for each, phones in pairs]


@dataclass(frozen=True)
class Sides:
    mapping: Side
    scored: Side


def counted(sides: Sides, units_of: UnitsOf, codebook_size: int, *, seed: int) -> PhoneScores:
    """The phone protocol with units `(num_units,)`."""
    mapping, scored = sides.mapping.with_units(units_of), sides.scored.with_units(units_of)
    return score_phones(mapping, scored, codebook_size=codebook_size, seed=seed)


def probed(sides: Sides, features_of: Callable[[EncodedUtterance], Features], *, seed: int) -> PhoneScores:
    """The phone protocol, where what a probe hears in features `(num_units, channels)` takes the place of units."""
    names, phones = np.unique(np.concatenate(sides.mapping.phones), return_inverse=True)
    frames = np.sort(np.random.default_rng(seed).permutation(len(phones))[:FIT_FRAMES])
    parts = [features_of(each) for each in sides.mapping.encoded]
    features = np.concatenate(parts) if isinstance(parts[0], np.ndarray) else vstack(parts, format="csr")
    probe = fit_linear_probe(features[frames], phones[frames])
    return counted(sides, lambda each: probe.predict(features_of(each)), len(names), seed=seed)


def read_code(sides: Sides, units_of: UnitsOf, groups: int, codebook_size: int, *, seed: int) -> PhoneScores:
    """Of units `(groups, num_units)`."""
    if groups == 1:
        return counted(sides, lambda each: units_of(each)[0], codebook_size, seed=seed)
    return probed(sides, lambda each: side_by_side(units_of(each), codebook_size), seed=seed)


def side_by_side(units: np.ndarray, codebook_size: int, reach: int = 0) -> csr_array:
    """One-hot units of every group `(groups, num_units)`, and of their neighbours up to `reach` away."""
    return hstack([one_hot(row, codebook_size, reach) for row in units], format="csr")
