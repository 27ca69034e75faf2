"""Mel-cepstral distortion (Kubichek 1993): how far two recordings of one sentence lie apart, in dB."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio_vq.analysis.judges.pairs import Pair
from audio_vq.analysis.judges.scores import NOTHING, Ratio
from audio_vq.audio.features import log_mel
from audio_vq.audio.files import read_audio
from audio_vq.audio.resampling import resample
from audio_vq.audio.waveform import Waveform
from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.kernels.dtw import warped_distance
from audio_vq.loudness import ACTIVE_RANGE_DB

SAMPLE_RATE = 16_000  # Hz, to which everything is brought: another range would be another measure
HOP_LENGTH = 80  # samples; 5 ms
BANDS = 80
# Cepstral coefficients, without the 0th, which is the level. 24 would tell the same sentence of another speaker from
# another sentence less surely: they hear the harmonics of high voices.
ORDER = 13
DECIBELS = 20 / np.log(10)  # per unit of a natural logarithm of magnitudes

Cepstra = npt.NDArray[np.float64]


def mel_cepstra(waveform: Waveform, sample_rate: int) -> Cepstra:
    """Coefficients 1 to 13 of every 5 ms of speech, `(frames, 13)`; frames 30 dB below the loudest are left out.

    They are those of log magnitude = Σ c(m) cos(m ω) on the mel axis, so that a `distortion` is the root mean square
    of the difference of two smoothed spectra.
    """
    spectrum = log_mel(resample(waveform, sample_rate, SAMPLE_RATE), SAMPLE_RATE, HOP_LENGTH, BANDS)
    spectrum = spectrum.T.astype(np.float64)  # (frames, bands)
    level = np.log(np.mean(np.exp(2 * spectrum), axis=1)) / 2
    speech = spectrum[level >= level.max() - ACTIVE_RANGE_DB / DECIBELS]
    places = np.pi * (np.arange(BANDS) + 0.5) / BANDS  # ω of each band
    return 2 / BANDS * speech @ np.cos(np.outer(places, np.arange(1, ORDER + 1)))


def distortion(clip: Cepstra, reference: Cepstra) -> float:
    """Mean over the cheapest alignment of the distance 10 / ln 10 · √(2 Σ Δc²), in dB."""
    squares = np.sum(clip**2, axis=1)[:, None] + np.sum(reference**2, axis=1) - 2 * clip @ reference.T
    table = DECIBELS * np.sqrt(np.maximum(squares, 0) / 2)
    rows, columns = (np.arange(length, dtype=np.int64) for length in table.shape)
    return float(warped_distance(table, rows, columns, np.empty_like(table)))


def distortion_figures(corpus: PreparedCorpus, pair: Pair, files: Mapping[str, Path]) -> dict[str, dict[str, Ratio]]:
    """Of each condition's clip, against the target's own recording and against one that says something else."""
    figures = {condition: _figures() for condition in files}
    if "reconstructed" in files:
        figures["reconstructed"] = _figures(distortion(_of_file(files["reconstructed"]), _of(corpus, pair.source)))
    if pair.parallel:
        same = _of(corpus, pair.parallel)
        other = _of(corpus, pair.real_target) if pair.real_target else None
        for condition in ("converted", "real_source"):
            clip = _of_file(files[condition])
            figures[condition] = _figures(distortion(clip, same), None if other is None else distortion(clip, other))
    return figures


def _figures(same: float | None = None, other: float | None = None) -> dict[str, Ratio]:
    return {
        "mel_cepstral_distortion": NOTHING if same is None else (same, 1.0),
        "mel_cepstral_distortion_shuffled": NOTHING if other is None else (other, 1.0),
    }


def _of(corpus: PreparedCorpus, utterance: Utterance) -> Cepstra:
    return mel_cepstra(corpus.waveform(utterance), corpus.sample_rate)


def _of_file(file: Path) -> Cepstra:
    audio = read_audio(file)
    return mel_cepstra(audio.waveform, audio.sample_rate)
