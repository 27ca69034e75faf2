"""Units of other origin, for comparison: k-means on MFCC, a supervised probe of the latents, chance."""

from collections.abc import Callable, Iterable

import numpy as np
from scipy.fft import dct
from sklearn.cluster import MiniBatchKMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from audio_vq.audio import log_mel

MFCC_FRAME_SECONDS = 0.01
MFCC_COUNT = 13
DELTA_REACH = 2  # frames either side

Encode = Callable[[np.ndarray], np.ndarray]  # waveform (time,) → units (num_units,)
Latents = Callable[[np.ndarray], np.ndarray]  # waveform (time,) → (dim, num_units)


def mfcc_features(waveform: np.ndarray, sample_rate: int, hop_length: int) -> np.ndarray:
    """13 MFCC with first and second differences, averaged over each unit's frame: `(num_units, 39)`."""
    per_unit = _frames_per_unit(hop_length, sample_rate)
    mel = log_mel(waveform, sample_rate, hop_length // per_unit)  # (n_mels, frames)
    static = dct(mel, axis=0, norm="ortho")[:MFCC_COUNT]
    delta = _delta(static)
    features = np.concatenate([static, delta, _delta(delta)])  # (39, frames)
    num_units = -(-len(waveform) // hop_length)
    features = features[:, : num_units * per_unit]  # frame k is centred on sample k · hop_length / per_unit
    starts = np.arange(num_units) * per_unit
    counts = np.diff(starts, append=features.shape[1])  # the last unit may hold fewer
    return (np.add.reduceat(features, starts, axis=1) / counts).T.astype(np.float32)


def _frames_per_unit(hop_length: int, sample_rate: int) -> int:
    """How many feature frames of about 10 ms, and never less, divide a unit evenly."""
    most = max(1, round(hop_length / (MFCC_FRAME_SECONDS * sample_rate)))
    return next(count for count in range(most, 0, -1) if hop_length % count == 0)


def _delta(features: np.ndarray) -> np.ndarray:
    """Regression slope over five frames, `(channels, frames)`; the ends are repeated."""
    frames = features.shape[1]
    padded = np.pad(features, ((0, 0), (DELTA_REACH, DELTA_REACH)), mode="edge")
    reach = range(-DELTA_REACH, DELTA_REACH + 1)
    slope = sum(n * padded[:, DELTA_REACH + n : DELTA_REACH + n + frames] for n in reach)
    return np.asarray(slope) / sum(n * n for n in reach)


def fit_mfcc_kmeans(
    waveforms: Iterable[np.ndarray], *, sample_rate: int, hop_length: int, codebook_size: int, seed: int
) -> Encode:
    """K centres of standardised MFCC, as an encoder."""
    features = np.concatenate([mfcc_features(waveform, sample_rate, hop_length) for waveform in waveforms])
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    kmeans = MiniBatchKMeans(min(codebook_size, len(features)), batch_size=4096, n_init=3, random_state=seed)
    kmeans.fit((features - mean) / deviation)

    def encode(waveform: np.ndarray) -> np.ndarray:
        standardised = (mfcc_features(waveform, sample_rate, hop_length) - mean) / deviation
        return kmeans.predict(standardised).astype(np.int64)

    return encode


def fit_latent_probe(latents: Latents, waveforms: Iterable[np.ndarray], phones: np.ndarray) -> Encode | None:
    """A linear classifier (LDA) of phones from latents, as an encoder whose units are the classes it sees.

    `phones` (frames,) label the frames of all `waveforms` in turn. None where there is but one phone.
    """
    if len(np.unique(phones)) == 1:
        return None
    features = np.concatenate([latents(waveform).T for waveform in waveforms])  # (frames, dim)
    # shrinkage keeps it well-posed where phones are rare or latents have collapsed
    probe = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.01))
    probe.fit(features, phones)

    def encode(waveform: np.ndarray) -> np.ndarray:
        return np.searchsorted(probe.classes_, probe.predict(latents(waveform).T))

    return encode


def random_units(num_units: int, codebook_size: int, rng: np.random.Generator) -> np.ndarray:
    """Units drawn evenly from the codebook, `(num_units,)`."""
    return rng.integers(codebook_size, size=num_units)
