"""Conversion of speech that is still being spoken."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from audio_vq.audio import StreamResampler, Waveform
from audio_vq.codec.conditioning import BLOCK_UNITS
from audio_vq.codec.wav import PcmReader
from audio_vq.errors import UserError
from audio_vq.loudness import LoudnessMeter
from audio_vq.pretrained import VQVAE

SPEECH_DB = -50.0  # below full scale; what is softer is taken for a pause


@dataclass(frozen=True)
class Voice:
    """Who speaks, and how it is drawn; as the arguments of `VQVAE.decode`."""

    speaker: str
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0


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


def latency_of(model: VQVAE, input_rate: int) -> Latency:
    unit = 1000 / model.unit_rate_hz  # ms
    return Latency(
        resampling=1000 * _resampling_seconds(input_rate, model.sample_rate),
        encoder=1000 * model.chunk_encoder.reach / model.sample_rate,
        block=unit * BLOCK_UNITS,
        decoder=unit * model.network.wavenet.conditioner.reach,
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


class RunningGain:
    """Brings speech to a loudness by what was heard so far, in whole decibels.

    Offline the gain comes from the whole recording; here the future is unknown. It is 0 dB until something louder than
    `SPEECH_DB` was heard, follows all that was heard from then on, and settles within the first words.
    """

    def __init__(self, target_db: float | None) -> None:
        self._target_db = target_db
        self._meter = LoudnessMeter()

    def apply(self, waveform: Waveform) -> Waveform:
        if self._target_db is None:
            return waveform
        self._meter.add(waveform)
        if self._meter.active_rms() < 10 ** (SPEECH_DB / 20):
            return waveform
        return waveform * np.float32(self._meter.whole_decibel_gain(self._target_db))


class FixedGain:
    """The same gain throughout: with the one that the whole recording would get, units are those of `VQVAE.encode`."""

    def __init__(self, decibels: float) -> None:
        self._gain = np.float32(10 ** (decibels / 20))

    def apply(self, waveform: Waveform) -> Waveform:
        return waveform * self._gain


def convert_live(
    model: VQVAE,
    pieces: Iterable[bytes],
    voice: Voice,
    gain: RunningGain | FixedGain,
    raw_rate: int,
    say: Callable[[str], None],
) -> Iterator[Waveform]:
    """Blocks of the conversion as soon as they can be made, in all as many samples as were heard.

    Args:
        model: used for all of it.
        pieces: bytes of WAV or raw PCM (see `PcmReader`), which may be late.
        voice: target.
        gain: applied before encoding.
        raw_rate: sample rate of input without header.
        say: is told the latency when the input's sample rate is known.

    Raises:
        UserError: there was no input, or it cannot be read.
    """
    heard = 0

    def blocks() -> Iterator[Waveform]:
        nonlocal heard
        for waveform in _block_by_block(model, _waveforms(model, pieces, raw_rate, say)):
            heard += len(waveform)
            yield gain.apply(waveform)

    written = 0
    units = model.encode_stream(blocks())
    decoded = model.decode_stream(units, voice.speaker, voice.temperature, voice.top_p, voice.seed)
    for block in decoded:
        said = block[: heard - written]  # silence completed the last unit
        written += len(said)
        yield said
    if heard == 0:
        raise UserError("the input holds no samples; expected WAV, or raw 16-bit mono")


def _waveforms(model: VQVAE, pieces: Iterable[bytes], raw_rate: int, say: Callable[[str], None]) -> Iterator[Waveform]:
    """At the model's sample rate."""
    reader = PcmReader(raw_rate)
    resampler: StreamResampler | None = None
    for piece in pieces:
        waveform = reader.feed(piece)
        if resampler is None and reader.format is not None:
            resampler = StreamResampler(reader.format.sample_rate, model.sample_rate)
            say(f"{reader.format}; {latency_of(model, reader.format.sample_rate)}")
        if resampler is not None:
            yield resampler.feed(waveform)
    if resampler is not None:
        yield resampler.finish()


def _block_by_block(model: VQVAE, waveforms: Iterable[Waveform]) -> Iterator[Waveform]:
    """The same samples in pieces that each complete a block to decode: for less, the encoder need not be asked."""
    block = BLOCK_UNITS * model.hop_length
    ahead = model.network.wavenet.conditioner.reach * model.hop_length
    missing = block + ahead + model.chunk_encoder.reach
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
