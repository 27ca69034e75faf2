"""Phones read from codes: from units that are counted, or by a probe from the vectors that units stand for.

The combinations of several groups' units are far too many to be counted. All groups together are read by a linear
probe of their codebook vectors, which is taught with the phones of the mapping utterances; each group alone is counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.sparse import vstack

from audio_vq.analysis.measures.encoded import EncodedUtterance, vectors
from audio_vq.analysis.measures.phones import LabelledUnits, PhoneScores, score_phones
from audio_vq.analysis.measures.probe import Features, fit_linear_probe

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


def read_code(sides: Sides, units_of: UnitsOf, codebook: np.ndarray, *, seed: int) -> PhoneScores:
    """Of units `(groups, num_units)` that stand for vectors of a codebook `(groups, K, dim / groups)`."""
    if len(codebook) == 1:
        return counted(sides, lambda each: units_of(each)[0], codebook.shape[1], seed=seed)
    return probed(sides, lambda each: vectors(units_of(each), codebook), seed=seed)
