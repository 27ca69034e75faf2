"""Waveforms: read, write, resample, trim, level, mu-law, log-mel.

Here a waveform is a float32 numpy array of shape `(time,)` with values in [-1, 1]; only mu-law works on
tensors. The one place in the core that imports soundfile, librosa and torchaudio. The latter two and torch
take seconds to load and are imported where they are used: workers that prepare a corpus need no torch.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import soundfile

from audio_vq.errors import UserError
from audio_vq.files import atomic_path

if TYPE_CHECKING:
    import torch

Waveform = npt.NDArray[np.float32]

AUDIO_SUFFIXES = frozenset(
    {".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".w64", ".wav"}
)
PCM_SCALE = 32768  # 16-bit full scale
FRAME_SECONDS = 0.025  # long enough for a period of the lowest voice, short against a phone
FRAME_HOP_SECONDS = 0.005
ACTIVE_RANGE_DB = 30.0  # frames this far below the loudest one are pauses
PEAK_LIMIT = 0.95  # of full scale
MEL_FLOOR = 1e-5  # magnitude, -100 dB: digital silence stays finite


@dataclass(frozen=True)
class Audio:
    waveform: Waveform  # (time,)
    sample_rate: int  # Hz


@dataclass(frozen=True)
class Trimmed:
    waveform: Waveform  # (time,)
    offset_samples: int  # samples taken away from the beginning


def read_audio(path: str | Path, sample_rate: int | None = None) -> Audio:
    """Read a file as one channel, resampled to `sample_rate` where given.

    Channels are averaged. A float file that exceeds full scale is scaled down to it, never clipped.

    Raises:
        UserError: no such file, not audio, no samples, or NaN or infinite samples.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder, expected an audio file")
    try:
        # an open file, not its name: libsndfile then judges by content, whatever the suffix
        with path.open("rb") as file:
            channels, file_rate = soundfile.read(file, dtype="float32", always_2d=True)  # (time, channels)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except soundfile.LibsndfileError as error:
        raise UserError(
            f"{path} is not audio that can be read ({error.error_string.rstrip('.')}); "
            "expected WAV, FLAC, OGG, MP3 or another format of libsndfile"
        ) from error
    if channels.size == 0:
        raise UserError(f"{path} holds no samples; expected recorded audio")
    if not np.isfinite(channels).all():
        raise UserError(f"{path} holds NaN or infinite samples; export it again")
    waveform = channels.mean(axis=1, dtype=np.float32)
    if sample_rate is not None:
        waveform = resample(waveform, file_rate, sample_rate)
    return Audio(_within_full_scale(waveform), sample_rate or file_rate)


def write_audio(path: str | Path, waveform: Waveform, sample_rate: int) -> None:
    """Write 16-bit WAV or FLAC, as the suffix says; the file appears whole or not at all.

    Raises:
        UserError: another suffix.
    """
    path = Path(path)
    if path.suffix.lower() not in {".wav", ".flac"}:
        raise UserError(f"{path}: audio is written as .wav or .flac, not {path.suffix or 'without a suffix'}")
    with atomic_path(path) as temporary:
        soundfile.write(temporary, to_pcm16(waveform), sample_rate, subtype="PCM_16")


def to_pcm16(waveform: Waveform) -> npt.NDArray[np.int16]:
    """The nearest 16-bit samples; `from_pcm16` is its inverse on them."""
    if not np.isfinite(waveform).all():
        raise ValueError("NaN or infinite samples have no 16-bit value")
    scaled = np.round(np.asarray(waveform, np.float32) * PCM_SCALE)
    return np.clip(scaled, -PCM_SCALE, PCM_SCALE - 1).astype(np.int16)


def from_pcm16(samples: npt.NDArray[np.int16]) -> Waveform:
    return samples.astype(np.float32) / np.float32(PCM_SCALE)


def resample(waveform: Waveform, from_rate: int, to_rate: int) -> Waveform:
    """Band-limited resampling (soxr VHQ) to ceil(time · to_rate / from_rate) samples."""
    if from_rate == to_rate:
        return waveform
    import librosa

    resampled = librosa.resample(waveform, orig_sr=from_rate, target_sr=to_rate, res_type="soxr_vhq")
    return np.asarray(resampled, dtype=np.float32)


def trim_silence(waveform: Waveform, sample_rate: int, top_db: float, margin_seconds: float) -> Trimmed:
    """Cut both ends where frames lie more than `top_db` below the loudest one, but for a margin."""
    from librosa.effects import trim

    _, (first, end) = trim(
        waveform,
        top_db=top_db,
        frame_length=round(FRAME_SECONDS * sample_rate),
        hop_length=round(FRAME_HOP_SECONDS * sample_rate),
    )
    margin = round(margin_seconds * sample_rate)
    start, stop = max(0, int(first) - margin), min(len(waveform), int(end) + margin)
    return Trimmed(waveform[start:stop], offset_samples=start)


def normalise_loudness(waveform: Waveform, target_db: float) -> Waveform:
    """Scale so that active speech has an RMS of `target_db` (dB relative to full scale).

    Pauses do not count, see `active_rms`. The gain is lowered where the peak would pass 0.95 of full scale.
    Silence is returned as it is.
    """
    return waveform * np.float32(_loudness_gain(waveform, target_db))


def level_gain(waveform: Waveform, target_db: float) -> float:
    """The gain that `normalise_loudness` would apply, rounded to whole decibels; 1 for silence.

    The rounding makes it the same whether or not silence surrounds the recording.
    """
    return float(10 ** (round(20 * np.log10(_loudness_gain(waveform, target_db))) / 20))


def _loudness_gain(waveform: Waveform, target_db: float) -> float:
    """What brings active speech to `target_db` within the peak limit; 1 for silence."""
    active = active_rms(waveform)
    if active == 0:
        return 1.0
    return min(10 ** (target_db / 20) / active, PEAK_LIMIT / float(np.abs(waveform).max()))


def active_rms(waveform: Waveform, frame_length: int = 400) -> float:
    """RMS over the frames (25 ms at 16 kHz) within 30 dB of the loudest one; 0 for an empty waveform."""
    padded = np.pad(waveform.astype(np.float64), (0, -len(waveform) % frame_length))
    power = (padded.reshape(-1, frame_length) ** 2).mean(axis=1)  # (frames,)
    if power.size == 0:
        return 0.0
    return float(np.sqrt(power[power >= power.max() * 10 ** (-ACTIVE_RANGE_DB / 10)].mean()))


def mu_law_encode(waveform: "torch.Tensor", classes: int = 256) -> "torch.Tensor":
    """Samples in [-1, 1] (beyond is clipped), any shape → int64 classes of the same shape."""
    import torchaudio.functional

    return torchaudio.functional.mu_law_encoding(waveform.clamp(-1, 1), classes)


def mu_law_decode(indices: "torch.Tensor", classes: int = 256) -> "torch.Tensor":
    """Classes in [0, classes), any shape → float32 samples of the same shape."""
    import torchaudio.functional

    return torchaudio.functional.mu_law_decoding(indices, classes).float()


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
    import librosa

    window = round(window_seconds * sample_rate)
    n_fft = 1 << max(window - 1, sample_rate // 20).bit_length()  # fine enough for the lowest mel bands
    mel = librosa.feature.melspectrogram(
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


def find_audio_files(paths: Iterable[str | Path]) -> list[Path]:
    """The audio files among `paths` and, at any depth, inside the folders among them: sorted, each once.

    A file that is named is taken whatever its suffix; in folders the suffix decides, and hidden files do not
    count.

    Raises:
        UserError: a path that does not exist, or no audio file at all.
    """
    places = [Path(path) for path in paths]
    found: set[Path] = set()
    for path in places:
        if path.is_dir():
            found.update(audio_files_in(path))
        elif path.exists():
            found.add(path)
        else:
            raise UserError(f"{path}: no such file or folder")
    if not found:
        suffixes = " ".join(sorted(AUDIO_SUFFIXES))
        raise UserError(f"no audio file in {', '.join(map(str, places))} (looked for {suffixes})")
    return sorted(found)


def audio_files_in(folder: Path) -> Iterator[Path]:
    """The audio files in a folder, at any depth, in no order; none where there is no such folder."""
    visited: set[str] = set()  # a link to a folder above must not be followed for ever
    for root, folders, names in os.walk(folder, followlinks=True):
        visited.add(os.path.realpath(root))
        folders[:] = sorted(name for name in folders if os.path.realpath(Path(root, name)) not in visited)
        for name in names:
            if Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                yield Path(root, name)


def _within_full_scale(waveform: Waveform) -> Waveform:
    return waveform / np.float32(max(1.0, float(np.abs(waveform).max())))
