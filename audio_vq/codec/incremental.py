"""Units of a recording that is still going on, each as soon as it is certain."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from audio_vq.audio.resampling import StreamResampler
from audio_vq.audio.waveform import Waveform
from audio_vq.codec.codec import Codec
from audio_vq.codec.decode import block_units
from audio_vq.codec.encoder import CHUNK_UNITS, ChunkEncoder, Spectrum
from audio_vq.codec.source import FixedGain, RunningGain
from audio_vq.codec.statistics import EXPECTED_SECONDS, UNKNOWN, RecordingStatistics, RunningRange, SpectrumMeter
from audio_vq.pitch import F0, LIVE_LAG_SECONDS, TRACKER_RATE, LivePitch, PitchRange, at_units, classes_of
from audio_vq.units import Units


class IncrementalEncoder:
    """Units of the encoder alone, `(groups, time)`: those of `VQVAE.encode`.

    A unit is certain when the samples that the encoder sees after it are there. All that is kept is one chunk.

    Args:
        encoder: of the model.
        mean: gives the mean spectrum to go by, once it was told of further frames `(frames, filters)` of the
            filterbank; needed where the encoder is centred.
    """

    def __init__(self, encoder: ChunkEncoder, mean: Callable[[Spectrum], Spectrum] | None = None) -> None:
        self._encoder = encoder
        self._mean = mean if encoder.network.encoder.centred else None
        self._buffer = encoder.buffer()
        self._given = 0  # units
        self._none = np.zeros((encoder.network.quantizer.groups, 0), np.int64)

    def feed(self, waveform: Waveform) -> Units:
        """The units that this block, `(time,)` of any length, makes certain."""
        pieces = [self._none]
        while len(waveform):
            waveform = self._buffer.append(waveform)
            if self._buffer.full:
                pieces.append(self._certain(self._buffer.first + CHUNK_UNITS, ended=False))
                self._buffer.advance()
        certain = (self._buffer.received - self._encoder.reach) // self._buffer.hop_length
        pieces.append(self._certain(certain, ended=False))
        return np.concatenate(pieces, axis=1)

    def finish(self) -> Units:
        """The units that are left, when the recording has ended."""
        pieces = [self._none]
        while self._given < self._buffer.units:
            pieces.append(self._certain(min(self._buffer.first + CHUNK_UNITS, self._buffer.units), ended=True))
            self._buffer.advance()
        return np.concatenate(pieces, axis=1)

    def _certain(self, stop: int, *, ended: bool) -> Units:
        """The chunk's units up to `stop` that have not been given yet."""
        if stop <= self._given:
            return self._none
        new = slice(self._given - self._buffer.first, stop - self._buffer.first)
        chunk = self._buffer.chunk(ended=ended)
        if self._mean is not None:
            frames = self._encoder.spectrum(chunk)
            per_unit = len(frames) // chunk.units
            chunk = self._buffer.chunk(ended=ended, mean=self._mean(frames[new.start * per_unit : new.stop * per_unit]))
        (encoded,) = self._encoder.encode_now([chunk])
        self._given = stop
        return encoded.units[:, new]


class LiveClasses:
    """Pitch classes of the units, each when the frames around its centre are there."""

    def __init__(self, codec: Codec, pitch_range: PitchRange | None) -> None:
        """Without a range, by that of what was heard so far."""
        self._codec = codec
        self._running, self._fixed = RunningRange(), pitch_range
        first, block = (samples / codec.sample_rate for samples in block_samples(codec))
        self._tracker = LivePitch(codec.sample_rate, first - resampling_seconds(codec.sample_rate, TRACKER_RATE), block)
        self._f0 = np.zeros(0, np.float32)  # 400 bytes a second
        self._given = 0  # units

    def feed(self, waveform: Waveform) -> Units:
        self._hear(self._tracker.feed(waveform))
        rate, hop = self._codec.sample_rate, self._codec.hop_length
        # a unit's centre lies between two frames' centres, and the later of them is needed; all in half samples
        last = (2 * len(self._f0) - 1) * rate // 100
        return self._classes(max(self._given, (last // hop + 1) // 2))

    def finish(self, num_units: int) -> Units:
        self._hear(self._tracker.finish())
        return self._classes(num_units)

    def _hear(self, f0: F0) -> None:
        self._running.add(f0)
        self._f0 = np.concatenate([self._f0, f0])

    def _classes(self, stop: int) -> Units:
        rate, hop = self._codec.sample_rate, self._codec.hop_length
        f0 = at_units(self._f0, stop - self._given, hop, rate, self._given * hop)
        self._given = stop
        return classes_of(f0, self._fixed or self._running.range(), self._codec.network.pitch_classes)


def block_samples(codec: Codec) -> tuple[int, int]:
    """How many samples complete the first block of units to decode, and how many each further one.

    Fed in pieces of these lengths, encoder and pitch tracker need not be asked for less.
    """
    units = block_units(codec.unit_rate_hz)
    first = (units + codec.network.wavenet.conditioner.reach) * codec.hop_length + look_ahead(codec)
    return first, units * codec.hop_length


def look_ahead(codec: Codec) -> int:
    """Samples after a unit's own that must be there before its code is certain, for encoder and pitch alike."""
    ahead = codec.chunk_encoder.reach
    if not codec.network.pitch_classes:
        return ahead
    seconds = LIVE_LAG_SECONDS + resampling_seconds(codec.sample_rate, TRACKER_RATE)
    return max(ahead, math.ceil(seconds * codec.sample_rate) - codec.hop_length // 2)  # which count from its centre on


@cache
def resampling_seconds(from_rate: int, to_rate: int) -> float:
    """How far the resampler's output lags behind its input, at most: seen on some seconds of silence.

    It works in blocks of its own, whose beginnings drift against those that it is fed.
    """
    if from_rate == to_rate:
        return 0.0
    resampler = StreamResampler(from_rate, to_rate)
    step = max(1, from_rate // 200)
    given, lag = 0, 0.0
    for received in range(step, 5 * from_rate, step):
        given += len(resampler.feed(np.zeros(step, np.float32)))
        lag = max(lag, received / from_rate - given / to_rate)
    return lag


class LiveEncoder:
    """The whole code of a recording that is still going on: units and, where the model has it, pitch.

    Args:
        codec: the model.
        gain: brings it to its level.
        statistics: of the recording, where they are known; running estimates stand for what they lack.
    """

    def __init__(self, codec: Codec, gain: RunningGain | FixedGain, statistics: RecordingStatistics = UNKNOWN) -> None:
        self._gain, self._known = gain, statistics.mean_spectrum
        self._meter = SpectrumMeter()
        filterbank = codec.network.encoder.filterbank
        if filterbank and codec.mean_spectrum is not None:
            frames = EXPECTED_SECONDS * codec.sample_rate / filterbank.hop_length
            self._meter.expect(codec.mean_spectrum, frames)
        self._units = IncrementalEncoder(codec.chunk_encoder, self._mean)
        self._pitch = LiveClasses(codec, statistics.pitch_range) if codec.network.pitch_classes else None
        self._waiting = np.zeros((codec.network.quantizer.groups, 0), np.int64)
        self._classes = np.zeros(0, np.int64)
        self._samples = 0
        self._hop_length, self._one_track = codec.hop_length, len(codec.network.track_sizes) == 1

    def feed(self, waveform: Waveform) -> Units:
        """What a further block makes certain: `(time,)` units of a model with one track, else `(tracks, time)`."""
        self._samples += len(waveform)
        units = self._units.feed(self._gain.apply(waveform))
        return self._joined(units, self._pitch.feed(waveform) if self._pitch else None)

    def finish(self) -> Units:
        """What is left, when the recording has ended."""
        units = self._units.finish()
        num_units = -(-self._samples // self._hop_length)
        return self._joined(units, self._pitch.finish(num_units) if self._pitch else None)

    def _joined(self, units: Units, classes: Units | None) -> Units:
        """Units and classes as far as both are known; the others wait."""
        if classes is None:
            return units[0] if self._one_track else units
        self._waiting = np.concatenate([self._waiting, units], axis=1)
        self._classes = np.concatenate([self._classes, classes])
        both = min(self._waiting.shape[1], len(self._classes))
        joined = np.concatenate([self._waiting[:, :both], self._classes[None, :both]])
        self._waiting, self._classes = self._waiting[:, both:], self._classes[both:]
        return joined

    def _mean(self, frames: Spectrum) -> Spectrum:
        if self._known is not None:
            return self._known
        self._meter.add(frames)
        return self._meter.mean()
