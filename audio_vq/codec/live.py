"""Conversion of speech that is still being spoken."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from audio_vq.audio import StreamResampler, Waveform, at_rate
from audio_vq.codec.codec import Codec
from audio_vq.codec.decode import block_units
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.encoder import IncrementalEncoder
from audio_vq.codec.source import FixedGain, RunningGain
from audio_vq.codec.streaming import stream_of
from audio_vq.codec.wav import PcmReader
from audio_vq.errors import UserError


@dataclass(frozen=True)
class Latency:
    """How long after a sample was heard its conversion is there, at most, in ms; computing comes on top."""

    resampling: float
    encoder: float  # what it sees after a unit
    block: float  # units decoded together
    decoder: float  # what its conditioning sees after a unit

    @property
    def total(self) -> float:
        return self.resampling + self.encoder + self.block + self.decoder

    def __str__(self) -> str:
        return (
            f"latency {self.total:.0f} ms (one block {self.block:.0f}, encoder look-ahead {self.encoder:.0f}, "
            f"conditioning look-ahead {self.decoder:.0f}, resampling {self.resampling:.0f}) and computing"
        )


def latency_of(codec: Codec, input_rate: int) -> Latency:
    unit = 1000 / codec.unit_rate_hz  # ms
    return Latency(
        resampling=1000 * _resampling_seconds(input_rate, codec.sample_rate),
        encoder=1000 * codec.chunk_encoder.reach / codec.sample_rate,
        block=unit * block_units(codec.unit_rate_hz),
        decoder=unit * codec.network.wavenet.conditioner.reach,
    )


def _resampling_seconds(from_rate: int, to_rate: int) -> float:
    """How far the resampler's output lags behind its input, at most: seen on a second of silence."""
    if from_rate == to_rate:
        return 0.0
    resampler = StreamResampler(from_rate, to_rate)
    step = max(1, from_rate // 100)
    given, lag = 0, 0.0
    for received in range(step, from_rate, step):
        given += len(resampler.feed(np.zeros(step, np.float32)))
        lag = max(lag, received / from_rate - given / to_rate)
    return lag


def convert_live(
    codec: Codec,
    pieces: Iterable[bytes],
    speaker: int,
    options: SamplingOptions,
    gain: RunningGain | FixedGain,
    reader: PcmReader,
    say: Callable[[str], None],
) -> Iterator[Waveform]:
    """Blocks of the conversion as soon as they can be made, in all as many samples as were heard.

    Args:
        codec: the model.
        pieces: bytes of WAV or raw PCM (see `PcmReader`), which may be late.
        speaker: index of the target.
        options: how to draw.
        gain: applied before encoding.
        reader: makes waveforms of the bytes.
        say: is told the latency when the input's sample rate is known.

    Raises:
        UserError: there was no input, or it cannot be read.
    """
    encoder, stream = IncrementalEncoder(codec.chunk_encoder), stream_of(codec, speaker, options)
    heard = written = 0
    for waveform in _block_by_block(codec, _waveforms(codec, pieces, reader, say)):
        heard += len(waveform)
        for block in stream.blocks(encoder.feed(gain.apply(waveform))):
            written += len(block)
            yield block
    if heard == 0:
        raise UserError("the input holds no samples; expected WAV, or raw 16-bit mono")
    rest = np.concatenate([*stream.blocks(encoder.finish()), stream.finish()])
    yield rest[: heard - written]  # silence completed the last unit


def _waveforms(
    codec: Codec, pieces: Iterable[bytes], reader: PcmReader, say: Callable[[str], None]
) -> Iterator[Waveform]:
    """At the model's sample rate."""
    heard = filter(len, map(reader.feed, pieces))
    first = next(heard, None)
    if first is None or reader.format is None:
        return
    say(f"{reader.format}; {latency_of(codec, reader.format.sample_rate)}")
    yield from at_rate(chain([first], heard), reader.format.sample_rate, codec.sample_rate)


def _block_by_block(codec: Codec, waveforms: Iterable[Waveform]) -> Iterator[Waveform]:
    """The same samples in pieces that each complete a block to decode: for less, the encoder need not be asked."""
    block = block_units(codec.unit_rate_hz) * codec.hop_length
    ahead = codec.network.wavenet.conditioner.reach * codec.hop_length
    missing = block + ahead + codec.chunk_encoder.reach
    waiting: list[Waveform] = []
    for waveform in waveforms:
        waiting.append(waveform)
        missing -= len(waveform)
        if missing <= 0:
            yield np.concatenate(waiting)
            waiting = []
            missing += block * (1 + -missing // block)
    if waiting:
        yield np.concatenate(waiting)
