"""Audio files: read, in blocks or whole, and write. The one place that imports soundfile."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from audio_vq.audio.resampling import at_rate, resample
from audio_vq.audio.waveform import Waveform, to_pcm16
from audio_vq.errors import UserError
from audio_vq.files import atomic_path

OPUS_RATE = 16_000  # Hz, one of the rates Opus has
BLOCK_SECONDS = 10.0  # of a file that is read in blocks
UNKNOWN_FRAMES = 1 << 62  # what libsndfile says, or more, where a stream does not tell its length


@dataclass(frozen=True)
class Audio:
    waveform: Waveform  # (time,)
    sample_rate: int  # Hz


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


@dataclass(frozen=True)
class AudioHeader:
    """What a file says of itself; its length may be wrong."""

    frames: int
    sample_rate: int  # Hz
    channels: int


def audio_header(path: str | Path) -> AudioHeader:
    """Reads no samples. Raises UserError for what is not there, or not audio."""
    with _opened(Path(path)) as file:
        return AudioHeader(file.frames, file.samplerate, file.channels)


def audio_blocks(path: str | Path, sample_rate: int, content: bytes | None = None) -> Iterator[Waveform]:
    """A file in blocks, so that an hour never lies in memory, as `at_rate` makes them; not brought within full scale.

    With `content`, that is read, and `path` only says where it came from.

    Raises:
        UserError: as `read_audio`, when the fault is met.
    """
    with _opened(Path(path), content) as file:
        yield from at_rate(_mono_blocks(file, Path(path)), file.samplerate, sample_rate)


def file_seconds(path: Path) -> float:
    """The duration that a file's header tells; 0 of what is not audio."""
    try:
        with path.open("rb") as binary, soundfile.SoundFile(binary) as file:
            return file.frames / file.samplerate if 0 < file.frames < UNKNOWN_FRAMES else 0.0
    except (OSError, soundfile.LibsndfileError):
        return 0.0


def read_bytes(path: Path) -> bytes:
    """All of it. Raises UserError where that is not possible."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


@contextmanager
def _opened(path: Path, content: bytes | None = None) -> Iterator[soundfile.SoundFile]:
    if path.is_dir():
        raise UserError(f"{path} is a folder, expected an audio file")
    try:
        # an open file, not its name: libsndfile then judges by content, whatever the suffix
        with _binary(path, content) as binary, soundfile.SoundFile(binary) as file:
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


@contextmanager
def _binary(path: Path, content: bytes | None) -> Iterator[BinaryIO]:
    if content is not None:
        yield io.BytesIO(content)
        return
    with path.open("rb") as binary:
        # formats are read by going back and forth, which a pipe cannot
        yield binary if binary.seekable() else io.BytesIO(binary.read())


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
    content = encoded_audio(waveform, sample_rate, path.suffix, comment, str(path))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def encoded_audio(
    waveform: Waveform, sample_rate: int, suffix: str = ".wav", comment: str = "", name: str = "audio"
) -> memoryview:
    """The content of a file as `write_audio` writes it; `name` is for messages."""
    container = suffix.lower().removeprefix(".")
    if container not in {"wav", "flac"}:
        raise UserError(f"{name}: audio is written as .wav or .flac, not {suffix or 'without a suffix'}")
    buffer = io.BytesIO()  # the library is told nothing of a full disk
    with soundfile.SoundFile(buffer, "w", sample_rate, 1, "PCM_16", format=container) as file:
        if comment and container == "flac":
            file.comment = comment
        file.write(to_pcm16(waveform))
        if comment and container == "wav":  # behind the samples: readers that know no chunks find them after 44 bytes
            file.comment = comment
    return buffer.getbuffer()


def read_comment(path: Path) -> str:
    """What `write_audio` was given; empty for files without comment and for what is not audio."""
    try:
        with path.open("rb") as binary, soundfile.SoundFile(binary) as file:
            return str(file.comment)
    except (OSError, soundfile.LibsndfileError):
        return ""


def wav_bytes(waveform: Waveform, sample_rate: int) -> bytes:
    """A 16-bit WAV file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, to_pcm16(waveform), sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


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
