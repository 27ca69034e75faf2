"""Codes of other origin, for comparison: k-means on MFCC, supervised probes, chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from audio_vq.analysis.measures.encoded import EncodedUtterance
from audio_vq.analysis.measures.phones import PhoneScores
from audio_vq.analysis.measures.reading import Sides, counted, probed, read_code, side_by_side

NEIGHBOURS = 2  # units either side that the probe of units sees


@dataclass(frozen=True, eq=False)
class MfccKmeans:
    """A code of as many groups as the model's: K centres of standardised MFCC, then K of what is left over."""

    centres: np.ndarray  # (groups, K, 39)
    mean: np.ndarray  # (39,)
    deviation: np.ndarray  # (39,)

    def units(self, mfcc: np.ndarray) -> np.ndarray:
        """Nearest centres of each row `(num_units, 39)`, of each group in turn: `(groups, num_units)`."""
        rest = (mfcc - self.mean) / self.deviation
        rows = []
        for centres in self.centres:
            rows.append(_nearest(rest, centres))
            rest = rest - centres[rows[-1]]
        return np.stack(rows)

    def units_of(self, each: EncodedUtterance) -> np.ndarray:
        return self.units(each.acoustics.mfcc)


def _nearest(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Of each row `(n, 39)`, `(n,)`; the square of the row itself is the same for all centres."""
    return np.asarray(((centres * centres).sum(axis=1) - 2 * rows @ centres.T).argmin(axis=1))


def fit_mfcc_kmeans(
    encoded: Sequence[EncodedUtterance], codebook_size: int, groups: int = 1, *, seed: int
) -> MfccKmeans:
    features = np.concatenate([each.acoustics.mfcc for each in encoded])
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    rest, centres = (features - mean) / deviation, []
    for _ in range(groups):
        kmeans = MiniBatchKMeans(min(codebook_size, len(rest)), batch_size=4096, n_init=3, random_state=seed % 2**32)
        centres.append(kmeans.fit(rest).cluster_centers_.astype(np.float32))
        rest = rest - centres[-1][_nearest(rest, centres[-1])]
    return MfccKmeans(np.stack(centres), mean, deviation)


def score_baselines(sides: Sides, kmeans: MfccKmeans, codebook_size: int, *, seed: int) -> dict[str, PhoneScores]:
    """The phone protocol on the same frames.

    `mfcc_kmeans` has as many bits as the model's units and is read as they are. Where they have several groups,
    `mfcc_kmeans_alone`, its first, is counted as each of theirs is.
    """
    rng, groups = np.random.default_rng(seed), len(kmeans.centres)
    scores = {"mfcc_kmeans": read_code(sides, kmeans.units_of, groups, codebook_size, seed=seed)}
    if groups > 1:
        scores["mfcc_kmeans_alone"] = counted(sides, lambda each: kmeans.units_of(each)[0], codebook_size, seed=seed)
    return scores | {
        "random_units": counted(
            sides, lambda each: random_units(each.num_units, codebook_size, rng), codebook_size, seed=seed
        ),
        "latent_probe": probed(sides, lambda each: each.latents, seed=seed),
        "unit_probe": probed(sides, lambda each: side_by_side(each.units, codebook_size, NEIGHBOURS), seed=seed),
    }


def random_units(num_units: int, codebook_size: int, rng: np.random.Generator) -> np.ndarray:
    """Units drawn evenly from the codebook, `(num_units,)`."""
    return rng.integers(codebook_size, size=num_units)
