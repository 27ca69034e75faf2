"""Waveforms: read, write, remove offsets, resample, trim, mu-law, log-mel.

Here a waveform is a float32 numpy array of shape `(time,)` with values in [-1, 1]; only mu-law works on
tensors. The one place in the core that imports soundfile, librosa and torchaudio. The latter two, scipy.signal and
torch take seconds to load and are imported where they are used: workers that prepare a corpus need no torch.
"""

import io
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from audio_vq.errors import UserError
from audio_vq.files import atomic_path, taking_turns

if TYPE_CHECKING:
    import torch

Waveform = npt.NDArray[np.float32]

PCM_SCALE = 32768  # 16-bit full scale
OPUS_RATE = 16_000  # Hz, one of the rates Opus has
BLOCK_SECONDS = 10.0  # of a file that is read in blocks
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000  # Hz, of recordings
OFFSET_HZ = 5.0  # below it, what changes is no sound
OFFSET_SECONDS = 0.03  # of a beginning that tells the offset: some periods of a voice, less than live input waits for
FRAME_SECONDS = 0.025  # long enough for a period of the lowest voice, short against a phone
FRAME_HOP_SECONDS = 0.005
MEL_FLOOR = 1e-5  # magnitude, -100 dB: digital silence stays finite
PITCH_RANGE = (60.0, 500.0)  # Hz, of speaking voices
PITCH_HOP_SECONDS = 0.01
PITCH_FRAME_SECONDS = 0.064  # more than three periods of the lowest voice
PITCH_STEP_SEMITONES = 0.2


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

    Channels are averaged, a constant offset is removed. A float file that exceeds full scale is scaled down to it,
    never clipped.

    Raises:
        UserError: no such file, not audio, no samples, or NaN or infinite samples.
    """
    with _opened(Path(path)) as file:
        waveform = np.concatenate(list(_mono_blocks(file, Path(path))))
        rate = sample_rate or file.samplerate
        waveform -= waveform.mean(dtype=np.float64)  # before resampling, whose filters would ring at the ends
        waveform = resample(waveform, file.samplerate, rate)
    waveform /= np.float32(max(1.0, np.abs(waveform).max()))
    return Audio(waveform, rate)


def is_audio(path: Path) -> bool:
    """Whether the file's content, whatever its name, is in a format that `read_audio` knows.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("rb") as binary:
        try:
            soundfile.SoundFile(binary).close()
        except soundfile.LibsndfileError:
            return False
    return True


def audio_blocks(path: str | Path, sample_rate: int) -> Iterator[Waveform]:
    """A file in blocks, so that an hour never lies in memory, as `at_rate` makes them; not brought within full scale.

    Raises:
        UserError: as `read_audio`, when the fault is met.
    """
    with _opened(Path(path)) as file:
        yield from at_rate(_mono_blocks(file, Path(path)), file.samplerate, sample_rate)


def at_rate(blocks: Iterable[Waveform], from_rate: int, to_rate: int) -> Iterator[Waveform]:
    """A recording's blocks of any length → the same without a constant offset, resampled.

    Raises:
        UserError: a sample rate that no recording has.
    """
    resampler, offset = StreamResampler(from_rate, to_rate), OffsetFilter(from_rate)
    for block in blocks:
        yield resampler.feed(offset.feed(block))
    yield resampler.feed(offset.finish())
    yield resampler.finish()


def checked_waveform(waveform: npt.ArrayLike) -> Waveform:
    """As float32 `(time,)`; 16-bit integers are brought to [-1, 1].

    Raises:
        UserError: other shapes or types, no samples, NaN or infinite samples.
    """
    array = np.asarray(waveform)
    if array.ndim != 1 or array.size == 0:
        raise UserError(f"waveform of shape {array.shape}; expected (time,) with at least one sample")
    if array.dtype == np.int16:
        return from_pcm16(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"waveform of {array.dtype}; expected floating-point samples in [-1, 1], or int16")
    if not np.isfinite(array).all() or np.abs(array).max() > np.finfo(np.float32).max:
        raise UserError("the waveform holds NaN or infinite samples")
    return array.astype(np.float32)


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    if path.is_dir():
        raise UserError(f"{path} is a folder, expected an audio file")
    try:
        # an open file, not its name: libsndfile then judges by content, whatever the suffix
        with path.open("rb") as binary, soundfile.SoundFile(_seekable(binary)) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except soundfile.LibsndfileError as error:
        raise UserError(
            f"{path} is not audio that can be read ({error.error_string.rstrip('.')}); "
            "expected WAV, FLAC, OGG, MP3 or another format of libsndfile"
        ) from error


def _seekable(binary: BinaryIO) -> BinaryIO:
    """Formats are read by going back and forth, which a pipe cannot."""
    return binary if binary.seekable() else io.BytesIO(binary.read())


def _mono_blocks(file: soundfile.SoundFile, path: Path) -> Iterator[Waveform]:
    """Channels averaged; at least one sample in all."""
    size = round(BLOCK_SECONDS * file.samplerate)
    empty = True
    while len(channels := file.read(size, dtype="float32", always_2d=True)):  # (time, channels)
        if not np.isfinite(channels).all():
            raise UserError(f"{path} holds NaN or infinite samples; export it again")
        empty = False
        yield channels.mean(axis=1, dtype=np.float32)
    if empty:
        raise UserError(f"{path} holds no samples; expected recorded audio")


def write_audio(path: str | Path, waveform: Waveform, sample_rate: int, comment: str = "") -> None:
    """Write 16-bit WAV or FLAC, as the suffix says; the file appears whole or not at all.

    `comment` is kept in the file, see `read_comment`.

    Raises:
        UserError: another suffix.
    """
    path = Path(path)
    container = path.suffix.lower().removeprefix(".")
    if container not in {"wav", "flac"}:
        raise UserError(f"{path}: audio is written as .wav or .flac, not {path.suffix or 'without a suffix'}")
    buffer = io.BytesIO()  # the library is told nothing of a full disk
    with soundfile.SoundFile(buffer, "w", sample_rate, 1, "PCM_16", format=container) as file:
        if comment and container == "flac":
            file.comment = comment
        file.write(to_pcm16(waveform))
        if comment and container == "wav":  # behind the samples: readers that know no chunks find them after 44 bytes
            file.comment = comment
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_comment(path: Path) -> str:
    """What `write_audio` was given; empty for files without comment and for what is not audio."""
    try:
        with path.open("rb") as binary, soundfile.SoundFile(binary) as file:
            return str(file.comment)
    except (OSError, soundfile.LibsndfileError):
        return ""


def flac_bytes(waveform: Waveform, sample_rate: int) -> bytes:
    """A 16-bit FLAC file: the samples of `to_pcm16` at half their size; every browser plays it."""
    buffer = io.BytesIO()
    soundfile.write(buffer, to_pcm16(waveform), sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def opus_bytes(waveform: Waveform, sample_rate: int) -> bytes:
    """An Ogg Opus file at 16 kHz, about 4 kB per second, whose time is exact to the sample; for web pages."""
    resampled = resample(waveform, sample_rate, OPUS_RATE)
    buffer = io.BytesIO()
    soundfile.write(buffer, resampled, OPUS_RATE, format="OGG", subtype="OPUS")
    return buffer.getvalue()


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
    resampler = StreamResampler(from_rate, to_rate)
    return np.concatenate([resampler.feed(waveform), resampler.finish()])


class OffsetFilter:
    """Takes a constant offset from a waveform that comes in blocks: the same samples, however it is cut.

    A high-pass far below speech (first order, 5 Hz) that begins as if what the first 30 ms have on average had been
    there always: the result does not depend on the offset, not even at the beginning. It follows an offset that drifts,
    and needs no future, so that it is the same live.
    """

    def __init__(self, sample_rate: int) -> None:
        pole = np.exp(-2 * np.pi * OFFSET_HZ / sample_rate)
        gain = (1 + pole) / 2  # 1 at the highest frequency
        self._coefficients = [gain, -gain], [1.0, -pole]
        self._needed = round(OFFSET_SECONDS * sample_rate)
        self._beginning = np.zeros(0, np.float32)
        self._state: npt.NDArray[np.float64] | None = None  # once the beginning has been heard

    def feed(self, waveform: Waveform) -> Waveform:
        """As much as was fed, but nothing before the first 30 ms are there."""
        if self._state is not None:
            return self._filtered(waveform)
        self._beginning = np.concatenate([self._beginning, waveform])
        return self._begin() if len(self._beginning) >= self._needed else np.zeros(0, np.float32)

    def finish(self) -> Waveform:
        """What is still held back of a waveform that was shorter."""
        return np.zeros(0, np.float32) if self._state is not None else self._begin()

    def _begin(self) -> Waveform:
        beginning, (zeros, _) = self._beginning, self._coefficients
        offset = beginning[: self._needed].mean(dtype=np.float64) if len(beginning) else 0.0
        self._state, self._beginning = np.array([zeros[1] * offset]), np.zeros(0, np.float32)
        return self._filtered(beginning)

    def _filtered(self, waveform: Waveform) -> Waveform:
        from scipy.signal import lfilter

        if not len(waveform):
            return waveform
        samples, self._state = lfilter(*self._coefficients, waveform.astype(np.float64), zi=self._state)
        return samples.astype(np.float32)


class StreamResampler:
    """`resample` for a waveform that comes in blocks: the same samples, however it is cut."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        for rate in (from_rate, to_rate):
            if not LOWEST_RATE <= rate <= HIGHEST_RATE:
                raise UserError(f"a sample rate of {rate} Hz; expected {LOWEST_RATE} to {HIGHEST_RATE} Hz")
        self.from_rate, self.to_rate = from_rate, to_rate
        self._received, self._given = 0, 0  # samples in and out
        self._stream = None
        if from_rate != to_rate:
            import soxr

            self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="VHQ")

    def feed(self, waveform: Waveform) -> Waveform:
        """What this block completes; less than it covers, since the filter looks ahead."""
        if self._stream is None:
            return waveform
        self._received += len(waveform)
        resampled = self._stream.resample_chunk(np.ascontiguousarray(waveform, np.float32))
        self._given += len(resampled)
        return np.asarray(resampled, np.float32)

    def finish(self) -> Waveform:
        """The rest, when the waveform has ended."""
        if self._stream is None:
            return np.zeros(0, np.float32)
        rest = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        missing = -(-self._received * self.to_rate // self.from_rate) - self._given
        return np.pad(rest[:missing], (0, max(0, missing - len(rest))))


@cache
def load_librosa() -> Any:
    """librosa, whose functions one process at a time compiles and keeps on disk when it is first used.

    Two at once can mix up what is kept (numba numbers the files of a function without a lock), and whoever reads it
    later crashes.
    """
    with taking_turns("librosa"):
        # its parts are imported when they are first asked for: these are the ones that compile
        import librosa.core.audio
        import librosa.core.pitch
        import librosa.util.utils

    return librosa


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


def mu_law_encode(waveform: "torch.Tensor", classes: int = 256) -> "torch.Tensor":
    """Samples in [-1, 1] (beyond is clipped), any shape → int64 classes of the same shape.

    Companding with μ = classes − 1 (ITU-T G.711), rounded so that zero has a class of its own, `classes // 2`: digital
    silence stays silent. With an even number, class 0 is that of no sample.
    """
    mu, levels = classes - 1, (classes - 1) // 2
    companded = waveform.sign() * (mu * waveform.abs().clamp(max=1)).log1p() / math.log1p(mu)
    return (companded * levels).round().long() + classes // 2


def mu_law_decode(indices: "torch.Tensor", classes: int = 256) -> "torch.Tensor":
    """Classes in [0, classes), any shape → float32 samples of the same shape, in [-1, 1]."""
    mu, levels = classes - 1, (classes - 1) // 2
    companded = ((indices - classes // 2).float() / levels).clamp(-1, 1)
    return companded.sign() * (companded.abs() * math.log1p(mu)).expm1() / mu


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
