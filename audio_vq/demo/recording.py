"""A visitor's file, read with care: what it says of its length is not believed, and its name is never said."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from audio_vq.audio.files import AudioHeader, audio_blocks, audio_header
from audio_vq.audio.resampling import LOWEST_RATE
from audio_vq.audio.waveform import Waveform
from audio_vq.codec.source import Source
from audio_vq.errors import UserError

NAME = "the recording"
MOST_CHANNELS = 16
MOST_RATE = 384_000  # Hz


def recording_of(file: Path, sample_rate: int, most_seconds: float) -> Source:
    """A recording that lies in memory, the same as `file_source` reads it; at one sample rate.

    Raises:
        UserError: it is no audio, has no samples or NaN, or is too long: found before more than that is decoded.
    """
    try:
        header = audio_header(file)
        _refuse_strange(header)
        _refuse_long(header.frames / header.sample_rate, most_seconds)
        blocks, samples = [], 0
        for block in audio_blocks(file, sample_rate):
            blocks.append(block)
            samples += len(block)
            _refuse_long(samples / sample_rate, most_seconds)
    except UserError as error:  # whose message names the file
        raise UserError(str(error).replace(str(file), NAME)) from None
    return memory_source(blocks)


def memory_source(blocks: list[Waveform]) -> Source:
    """Of blocks at the sample rate at which they will be asked for."""
    return Source(NAME, "", "", partial(_again, blocks))


def _again(blocks: list[Waveform], _: int) -> Iterator[Waveform]:
    return iter(blocks)


def _refuse_strange(header: AudioHeader) -> None:
    if not LOWEST_RATE <= header.sample_rate <= MOST_RATE or header.channels > MOST_CHANNELS:
        raise UserError(
            f"{NAME} has {header.channels} channels at {header.sample_rate} Hz; expected at most {MOST_CHANNELS} at "
            f"{LOWEST_RATE} to {MOST_RATE} Hz"
        )


def _refuse_long(seconds: float, most: float) -> None:
    if seconds > most + 0.5:
        said = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
        raise UserError(f"{NAME} is longer than {most:.0f} seconds ({said}); cut it and try again")
