"""Conversion of speech that is still being spoken."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from audio_vq.audio.resampling import at_rate
from audio_vq.audio.waveform import Waveform
from audio_vq.codec.codec import Codec
from audio_vq.codec.decode import block_units
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.incremental import LiveEncoder, block_samples, look_ahead, resampling_seconds
from audio_vq.codec.melody import AS_IT_IS, Melody
from audio_vq.codec.streaming import delay_samples, stream_of
from audio_vq.codec.wav import PcmReader
from audio_vq.errors import UserError
from audio_vq.units import Units


@dataclass(frozen=True)
class Latency:
    """How long after a sample was heard its conversion is there, at most, in ms; computing comes on top."""

    resampling: float
    ahead: float  # what the encoder sees after a unit, or the pitch tracker hears
    block: float  # units decoded together
    decoder: float  # what its conditioning sees after a unit
    filters: float  # what bands and postfilter wait for

    @property
    def total(self) -> float:
        return self.resampling + self.ahead + self.block + self.decoder + self.filters

    def __str__(self) -> str:
        return (
            f"latency {self.total:.0f} ms (one block {self.block:.0f}, encoder and pitch look-ahead {self.ahead:.0f}, "
            f"conditioning look-ahead {self.decoder:.0f}, bands and postfilter {self.filters:.0f}, "
            f"resampling {self.resampling:.0f}) and computing"
        )


def latency_of(codec: Codec, input_rate: int, options: SamplingOptions) -> Latency:
    unit = 1000 / codec.unit_rate_hz  # ms
    return Latency(
        resampling=1000 * resampling_seconds(input_rate, codec.sample_rate),
        ahead=1000 * look_ahead(codec) / codec.sample_rate,
        block=unit * block_units(codec.unit_rate_hz),
        decoder=unit * codec.network.wavenet.conditioner.reach,
        filters=1000 * delay_samples(codec.network, options) / codec.sample_rate,
    )


def convert_live(
    codec: Codec,
    pieces: Iterable[bytes],
    speaker: int,
    options: SamplingOptions,
    encoder: LiveEncoder,
    reader: PcmReader,
    say: Callable[[str], None],
    melody: Melody = AS_IT_IS,
) -> Iterator[Waveform]:
    """Blocks of the conversion as soon as they can be made, in all as many samples as were heard.

    Args:
        codec: the model.
        pieces: bytes of WAV or raw PCM (see `PcmReader`), which may be late.
        speaker: index of the target.
        options: how to draw.
        encoder: of this model, with what is known of the recording.
        reader: makes waveforms of the bytes.
        say: is told the latency when the input's sample rate is known.
        melody: what to do to it.

    Raises:
        UserError: there was no input, or it cannot be read, or a melody is wanted of a model without pitch.
    """
    melody.check(codec)
    stream = stream_of(codec, speaker, options)

    def spoken(units: Units) -> Iterator[Waveform]:
        return stream.blocks(melody.of(codec, units, speaker).T)  # one unit after the other

    heard = written = 0
    for waveform in _block_by_block(codec, _waveforms(codec, pieces, reader, options, say)):
        heard += len(waveform)
        for block in spoken(encoder.feed(waveform)):
            written += len(block)
            yield block
    if heard == 0:
        raise UserError("the input holds no samples; expected WAV, or raw 16-bit mono")
    rest = np.concatenate([*spoken(encoder.finish()), stream.finish()])
    yield rest[: heard - written]  # silence completed the last unit


def _waveforms(
    codec: Codec, pieces: Iterable[bytes], reader: PcmReader, options: SamplingOptions, say: Callable[[str], None]
) -> Iterator[Waveform]:
    """At the model's sample rate."""
    heard = filter(len, map(reader.feed, pieces))
    first = next(heard, None)
    if first is None or reader.format is None:
        return
    say(f"{reader.format}; {latency_of(codec, reader.format.sample_rate, options)}")
    yield from at_rate(chain([first], heard), reader.format.sample_rate, codec.sample_rate)


def _block_by_block(codec: Codec, waveforms: Iterable[Waveform]) -> Iterator[Waveform]:
    """The same samples in pieces that each complete a block to decode: for less, the encoder need not be asked."""
    missing, block = block_samples(codec)
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
