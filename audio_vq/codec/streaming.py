"""One waveform while its units arrive: blocks of `block_units`, the same samples as at once.

A block is spoken as soon as the units after it are known that its conditioning may depend on; its last `delay_samples`
are held back until what comes after them is known, which bands and postfilter make them depend on. Always on the CPU: a
single stream is too little work for a GPU.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from audio_vq.audio.waveform import Waveform
from audio_vq.codec.bands import BandStream, Classes
from audio_vq.codec.codec import Codec
from audio_vq.codec.decode import block_units, chunk_conditioning, chunk_spectrum
from audio_vq.codec.drawing import SamplingOptions, random_steps, random_stream
from audio_vq.codec.postfilter import Postfilter, PostfilterState, held_back
from audio_vq.codec.sampler import Floats, Precision, Sampler
from audio_vq.codec.threads import torch_threads
from audio_vq.kernels.sampling import StreamStates
from audio_vq.models.vqvae import VQVAEModel
from audio_vq.units import Units


@dataclass
class StreamState:
    """All that a stream knows: plain arrays and numbers, to be kept and continued (by pickle, or as one likes)."""

    speaker: int
    options: SamplingOptions
    precision: Precision
    rings: StreamStates  # of this one stream
    random: Mapping[str, Any]  # of the numpy generator
    classes: Classes  # (bands, steps): those that samples to come depend on
    window: npt.NDArray[np.int64]  # (tracks, units): the last ones spoken, then those that wait
    spoken: int = 0  # units of the window that have been spoken
    postfilter: PostfilterState | None = None


class WaveformStream:
    """Speaks units as they arrive.

    Args:
        model: whose units they are.
        speaker: index.
        options: how to draw.
        precision: of the weights.
        state: of a stream to be continued instead of begun; speaker, options and precision are then the state's.

    Attributes:
        block: units that are spoken together.
        delay: samples of what has been spoken that are held back.
    """

    def __init__(
        self,
        model: VQVAEModel,
        speaker: int,
        options: SamplingOptions,
        precision: Precision = "auto",
        state: StreamState | None = None,
    ) -> None:
        options = state.options if state else options
        self.block = block_units(model.sample_rate / model.hop_length)
        self.delay = delay_samples(model, options)
        self._model, self._conditioner = model, model.wavenet.conditioner
        self._sampler = Sampler(model.wavenet, state.precision if state else precision)
        self._random = random_stream(options.seed, 0)
        self._bands = BandStream(model.wavenet.bands, state.classes if state else None)
        filterbank = model.said_filterbank if options.postfilter else None
        self._postfilter: Postfilter | None = None
        if filterbank:
            self._postfilter = Postfilter(filterbank, copy.deepcopy(state.postfilter) if state else None)
        if state is None:
            state = StreamState(
                speaker,
                options,
                self._sampler.precision,
                rings=self._sampler.streams(1),
                random=self._random.bit_generator.state,
                classes=self._bands.waiting,
                window=np.zeros((len(model.track_sizes), 0), np.int64),
            )
        self._state = copy.deepcopy(state)
        self._random.bit_generator.state = self._state.random

    @property
    def state(self) -> StreamState:
        """A copy; a stream begun with it goes on exactly here."""
        self._state.random, self._state.classes = self._random.bit_generator.state, self._bands.waiting
        self._state.postfilter = self._postfilter.state if self._postfilter else None
        return copy.deepcopy(self._state)

    def push(self, units: Units | Sequence[int]) -> Waveform:
        """Takes further units, `(units,)` or of a model with several tracks `(tracks, units)`.

        Returns:
            the samples that can be spoken now, perhaps none.
        """
        state = self._state
        state.window = np.concatenate([state.window, np.asarray(units, np.int64).reshape(len(state.window), -1)], 1)
        return self._speak(self.block + self._conditioner.reach)

    def blocks(self, units: Iterable[int | Units]) -> Iterator[Waveform]:
        """What further units, which may be late, let be spoken: each block as soon as it can be.

        Each unit is a number, or `(tracks,)` of them.
        """
        for unit in units:
            block = self.push(np.array(unit)[..., None])
            if len(block):
                yield block

    def finish(self) -> Waveform:
        """Speaks what waits: no more units come."""
        spoken, rest = self._speak(1), self._bands.finish()
        if self._postfilter:
            none = np.zeros((0, 0))
            rest = np.concatenate([self._postfilter.push(rest, none), self._postfilter.finish()])
        return np.concatenate([spoken, rest])

    def _speak(self, needed: int) -> Waveform:
        """Blocks while at least `needed` units wait."""
        state, blocks = self._state, [np.zeros(0, np.float32)]
        while state.window.shape[1] - state.spoken >= needed:
            end = min(state.spoken + self.block, state.window.shape[1])
            blocks.append(self._speak_block(state.window[:, : end + self._conditioner.reach], state.spoken, end))
            kept = max(0, end - self._conditioner.reach)
            state.window, state.spoken = state.window[:, kept:].copy(), end - kept
        return np.concatenate(blocks)

    def _speak_block(self, window: Units, start: int, end: int) -> Waveform:
        """What units start … end of a window `(tracks, units)` complete."""
        codes = torch.from_numpy(window).to(self._model.quantizer.codebook.device)
        with torch_threads(1):
            latents = self._model.lookup(codes[None])[0]
            place = (latents, self._state.speaker, self._state.options.emphasis, start, end)
            frames = chunk_conditioning(self._conditioner, *place)  # (frames, rows, 2R)
            waveform = self._bands.push(self._sample(frames.float().cpu().numpy()))
            if self._postfilter is None:
                return waveform
            return self._postfilter.push(waveform, chunk_spectrum(self._conditioner, *place, self._postfilter.filters))

    def _sample(self, frames: Floats) -> Classes:
        """Classes `(bands, steps)`."""
        uniforms = random_steps(self._random, self._sampler.bands, len(frames) * self._sampler.frame_length)
        slots, rings = np.zeros(1, np.int64), self._state.rings
        return self._sampler.sample(rings, slots, frames[None], uniforms[None], self._state.options)[0]


def delay_samples(model: VQVAEModel, options: SamplingOptions) -> int:
    """Samples of what has been spoken that wait for what comes after them."""
    late, filterbank = model.wavenet.bands.reach, model.said_filterbank
    return held_back(filterbank, late) if filterbank and options.postfilter else late


def stream_of(codec: Codec, speaker: int, options: SamplingOptions, state: StreamState | None = None) -> WaveformStream:
    """A stream of a model's decoder."""
    return WaveformStream(codec.network, speaker, options, codec.precision, state)
