"""ABX of the units of a corpus, of each group of them, and of other representations of the same recordings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audio_vq.analysis.measures.abx import AbxErrors, abx_of_nothing, abx_of_units, abx_of_vectors
from audio_vq.analysis.measures.baselines import MfccKmeans
from audio_vq.analysis.measures.encoded import EncodedUtterance, vectors
from audio_vq.analysis.measures.triphones import AlignedFrames, Triphones, comparable, find_triphones


@dataclass(frozen=True)
class AbxScores:
    """ABX of the units, as distances between their codebook vectors, beside other representations."""

    units: AbxErrors  # of all groups together
    groups: tuple[AbxErrors, ...]  # of each alone
    others: dict[str, AbxErrors]  # latents, mfcc_kmeans, random_units
    utterances: int  # measured on
    speakers: int
    tokens: int  # triphones compared
    contexts: int
    measured_on: str  # for people

    def figures(self) -> dict[str, Any]:
        """The contract's `abx`."""
        counts = {name: getattr(self, name) for name in ("utterances", "speakers", "tokens", "contexts", "measured_on")}
        return self.units.figures() | {"from_latents": self.others["latents"].figures()} | counts


def score_abx(
    scored: Sequence[EncodedUtterance],
    together: Sequence[EncodedUtterance],
    codebook: np.ndarray,
    kmeans: MfccKmeans,
    seconds_per_unit: float,
    *,
    seed: int,
) -> AbxScores:
    """On the scored utterances; on all with an alignment where those have but one speaker.

    `codebook`: `(groups, K, dim / groups)`.
    """
    alone = len({each.utterance.speaker for each in scored}) < 2
    some = [each for each in together if each.alignment is not None] if alone else scored
    spoken = [
        AlignedFrames(each.utterance.speaker, each.alignment, each.utterance.offset_seconds, each.num_units)
        for each in some
        if each.alignment is not None
    ]
    tokens = comparable(find_triphones(spoken, seconds_per_unit), seed=seed)
    units = np.concatenate([each.units for each in some], axis=1)
    kmeans_units = np.concatenate([kmeans.units_of(each) for each in some], axis=1)
    pairs = zip(units, codebook, strict=True)
    groups = tuple(abx_of_units(tokens, row, book, seed=seed) for row, book in pairs)
    return AbxScores(
        units=groups[0] if len(groups) == 1 else _of_code(tokens, units, codebook, seed=seed),
        groups=groups,
        others={
            "latents": abx_of_vectors(tokens, np.concatenate([each.latents for each in some]), seed=seed),
            "mfcc_kmeans": _of_code(tokens, kmeans_units, kmeans.centres, seed=seed),
            "random_units": abx_of_nothing(tokens, codebook[0], seed=seed),
        },
        utterances=len(some),
        speakers=len(tokens.speakers),
        tokens=len(tokens),
        contexts=len(np.unique(tokens.context)),
        measured_on="scored and mapping utterances (those scored have one speaker)" if alone else "scored utterances",
    )


def _of_code(tokens: Triphones, units: np.ndarray, codebook: np.ndarray, *, seed: int) -> AbxErrors:
    """Of units `(groups, frames)`, whose vectors are joined."""
    if len(codebook) == 1:
        return abx_of_units(tokens, units[0], codebook[0], seed=seed)
    return abx_of_vectors(tokens, vectors(units, codebook), seed=seed)
