"""What librosa sees in waveforms: silence at the ends, log-mel spectra, the F0 of pYIN. It takes seconds to load."""

import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from audio_vq.audio.waveform import Waveform
from audio_vq.files import taking_turns

FRAME_SECONDS = 0.025  # long enough for a period of the lowest voice, short against a phone
FRAME_HOP_SECONDS = 0.005
MEL_FLOOR = 1e-5  # magnitude, -100 dB: digital silence stays finite
PITCH_RANGE = (60.0, 500.0)  # Hz, of speaking voices
PITCH_HOP_SECONDS = 0.01
PITCH_FRAME_SECONDS = 0.064  # more than three periods of the lowest voice
PITCH_STEP_SEMITONES = 0.2


@dataclass(frozen=True)
class Trimmed:
    waveform: Waveform  # (time,)
    offset_samples: int  # samples taken away from the beginning


@cache
def load_librosa() -> Any:
    """librosa, whose functions one process compiles and keeps on disk when it is first used, while others wait.

    Two at once can mix up what is kept (numba numbers the files of a function without a lock), and whoever reads it
    later crashes.
    """
    with taking_turns("librosa", once=_installation()):
        # its parts are imported when they are first asked for: these are the ones that compile
        import librosa.core.audio
        import librosa.core.pitch
        import librosa.util.utils

    return librosa


def _installation() -> str:
    """This librosa, and what compiles it: another one compiles anew."""
    spec = find_spec("librosa")
    assert spec is not None
    assert spec.origin is not None
    place = Path(spec.origin)
    cache_folder = os.environ.get("NUMBA_CACHE_DIR", "")
    return f"{place} {place.stat().st_mtime_ns} numba {version('numba')} Python {sys.version} {cache_folder}"


def trim_silence(waveform: Waveform, sample_rate: int, top_db: float, margin_seconds: float) -> Trimmed:
    """Cut both ends where frames lie more than `top_db` below the loudest one, but for a margin."""
    _, (first, end) = load_librosa().effects.trim(
        waveform,
        top_db=top_db,
        frame_length=round(FRAME_SECONDS * sample_rate),
        hop_length=round(FRAME_HOP_SECONDS * sample_rate),
    )
    margin = round(margin_seconds * sample_rate)
    start, stop = max(0, int(first) - margin), min(len(waveform), int(end) + margin)
    return Trimmed(waveform[start:stop], offset_samples=start)


def log_mel(
    waveform: Waveform,
    sample_rate: int,
    hop_length: int,
    n_mels: int = 80,
    window_seconds: float = FRAME_SECONDS,
) -> Waveform:
    """Natural logarithm of mel-band magnitudes, shape `(n_mels, 1 + time // hop_length)`.

    Frame t is centred on sample t · hop_length; the waveform continues as zeros beyond its ends.
    """
    window = round(window_seconds * sample_rate)
    n_fft = 1 << max(window - 1, sample_rate // 20).bit_length()  # fine enough for the lowest mel bands
    mel = load_librosa().feature.melspectrogram(
        # padded here: librosa's own centring warns about waveforms shorter than a window
        y=np.pad(waveform, n_fft // 2),
        sr=sample_rate,
        n_fft=n_fft,
        win_length=window,
        hop_length=hop_length,
        center=False,
        power=1.0,
        n_mels=n_mels,
    )
    return np.log(np.maximum(mel, MEL_FLOOR)).astype(np.float32)


def fundamental_frequency(waveform: Waveform, sample_rate: int) -> Waveform:
    """F0 in Hz every 10 ms, `(1 + time // hop,)`, NaN where unvoiced; by pYIN (Mauch and Dixon 2014)."""
    f0, _, _ = load_librosa().pyin(
        waveform,
        fmin=PITCH_RANGE[0],
        fmax=PITCH_RANGE[1],
        sr=sample_rate,
        frame_length=round(PITCH_FRAME_SECONDS * sample_rate),
        hop_length=round(PITCH_HOP_SECONDS * sample_rate),
        resolution=PITCH_STEP_SEMITONES,
    )
    return np.asarray(f0, np.float32)
