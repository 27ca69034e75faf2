"""Acoustic features of an utterance: MFCC per unit, and the mean and deviation of its log-mel bands."""

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct

from audio_vq.audio.features import log_mel

FRAME_SECONDS = 0.01
MFCC_COUNT = 13
DELTA_REACH = 2  # frames either side


@dataclass(frozen=True, eq=False)
class Acoustics:
    mfcc: np.ndarray  # (num_units, 39) float32
    log_mel: np.ndarray  # (160,) float32: mean, then deviation over time of each band


def describe(waveform: np.ndarray, sample_rate: int, hop_length: int) -> Acoustics:
    """Both, from one spectrogram of frames of about 10 ms that divide a unit evenly."""
    per_unit = _frames_per_unit(hop_length, sample_rate)
    mel = log_mel(waveform, sample_rate, hop_length // per_unit)  # (n_mels, frames)
    return Acoustics(mfcc_per_unit(mel, per_unit, -(-len(waveform) // hop_length)), mean_and_deviation(mel))


def mean_and_deviation(features: np.ndarray) -> np.ndarray:
    """Over time, of `(channels, time)`: `(2 · channels,)`."""
    return np.concatenate([features.mean(axis=1), features.std(axis=1)]).astype(np.float32)


def mfcc_per_unit(mel: np.ndarray, per_unit: int, num_units: int) -> np.ndarray:
    """13 MFCC with first and second differences, averaged over each unit's frames: `(num_units, 39)`."""
    static = dct(mel, axis=0, norm="ortho")[:MFCC_COUNT]
    delta = _delta(static)
    features = np.concatenate([static, delta, _delta(delta)])  # (39, frames)
    features = features[:, : num_units * per_unit]  # frame k is centred on sample k · hop_length / per_unit
    starts = np.arange(num_units) * per_unit
    counts = np.diff(starts, append=features.shape[1])  # the last unit may hold fewer
    return (np.add.reduceat(features, starts, axis=1) / counts).T.astype(np.float32)


def _frames_per_unit(hop_length: int, sample_rate: int) -> int:
    """How many feature frames of about 10 ms, and never less, divide a unit evenly."""
    most = max(1, round(hop_length / (FRAME_SECONDS * sample_rate)))
    return next(count for count in range(most, 0, -1) if hop_length % count == 0)


def _delta(features: np.ndarray) -> np.ndarray:
    """Regression slope over five frames, `(channels, frames)`; the ends are repeated."""
    frames = features.shape[1]
    padded = np.pad(features, ((0, 0), (DELTA_REACH, DELTA_REACH)), mode="edge")
    reach = range(-DELTA_REACH, DELTA_REACH + 1)
    slope = sum(n * padded[:, DELTA_REACH + n : DELTA_REACH + n + frames] for n in reach)
    return np.asarray(slope) / sum(n * n for n in reach)
