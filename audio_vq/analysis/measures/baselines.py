"""Units of other origin, for comparison: k-means on MFCC, supervised probes, chance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array, vstack
from sklearn.cluster import MiniBatchKMeans

from audio_vq.analysis.measures.encoded import EncodedUtterance
from audio_vq.analysis.measures.phones import LabelledUnits, PhoneScores, score_phones
from audio_vq.analysis.measures.probe import fit_linear_probe, one_hot

FIT_FRAMES = 60_000  # to which a probe is fitted, drawn from the mapping utterances
NEIGHBOURS = 2  # units either side that the probe of units sees


@dataclass(frozen=True, eq=False)
class Side:
    """The mapping or the scored utterances: how they were encoded, and their frames' phones."""

    encoded: tuple[EncodedUtterance, ...]
    labelled: tuple[LabelledUnits, ...]

    def with_units(self, units_of: Callable[[EncodedUtterance], np.ndarray]) -> list[LabelledUnits]:
        """The same frames with units of other origin."""
        pairs = zip(self.encoded, self.labelled, strict=True)
        return [replace(labelled, units=units_of(each)) for each, labelled in pairs]


@dataclass(frozen=True, eq=False)
class MfccKmeans:
    """K centres of standardised MFCC."""

    centres: np.ndarray  # (K, 39)
    mean: np.ndarray  # (39,)
    deviation: np.ndarray  # (39,)

    def units(self, mfcc: np.ndarray) -> np.ndarray:
        """Nearest centre of each row `(num_units, 39)`; the square of the row itself is the same for all."""
        standardised = (mfcc - self.mean) / self.deviation
        distances = (self.centres * self.centres).sum(axis=1) - 2 * standardised @ self.centres.T
        return np.asarray(distances.argmin(axis=1))


def fit_mfcc_kmeans(encoded: Sequence[EncodedUtterance], codebook_size: int, *, seed: int) -> MfccKmeans:
    features = np.concatenate([each.acoustics.mfcc for each in encoded])
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    kmeans = MiniBatchKMeans(min(codebook_size, len(features)), batch_size=4096, n_init=3, random_state=seed % 2**32)
    kmeans.fit((features - mean) / deviation)
    return MfccKmeans(kmeans.cluster_centers_.astype(np.float32), mean, deviation)


def score_baselines(
    mapping: Side, scored: Side, kmeans: MfccKmeans, codebook_size: int, *, seed: int
) -> dict[str, PhoneScores]:
    """The phone protocol on the same frames; what a probe finds takes the place of units."""
    rng = np.random.default_rng(seed)
    names, phones = np.unique(np.concatenate([each.phones for each in mapping.labelled]), return_inverse=True)
    size = max(codebook_size, len(names))
    frames = np.sort(rng.permutation(len(phones))[:FIT_FRAMES])

    def score(units_of: Callable[[EncodedUtterance], np.ndarray]) -> PhoneScores:
        sides = (mapping.with_units(units_of), scored.with_units(units_of))
        return score_phones(*sides, codebook_size=size, seed=seed)

    def neighbourhood(each: EncodedUtterance) -> csr_array:
        return one_hot(each.units, codebook_size, NEIGHBOURS)

    latents = np.concatenate([each.latents for each in mapping.encoded])[frames]
    of_latents = fit_linear_probe(latents, phones[frames])
    units = vstack([neighbourhood(each) for each in mapping.encoded], format="csr")[frames]
    of_units = fit_linear_probe(units, phones[frames])
    return {
        "mfcc_kmeans": score(lambda each: kmeans.units(each.acoustics.mfcc)),
        "random_units": score(lambda each: random_units(len(each.units), codebook_size, rng)),
        "latent_probe": score(lambda each: of_latents.predict(each.latents)),
        "unit_probe": score(lambda each: of_units.predict(neighbourhood(each))),
    }


def random_units(num_units: int, codebook_size: int, rng: np.random.Generator) -> np.ndarray:
    """Units drawn evenly from the codebook, `(num_units,)`."""
    return rng.integers(codebook_size, size=num_units)
