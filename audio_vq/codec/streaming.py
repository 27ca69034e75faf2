"""One waveform while its units arrive: blocks of `BLOCK_UNITS` units, the same samples as at once.

A block is spoken as soon as the units after it are known that its conditioning may depend on. Always on the CPU: a
single stream is too little work for a GPU.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audio_vq.audio import Waveform, mu_law_decode
from audio_vq.codec.codec import Codec
from audio_vq.codec.decode import BLOCK_UNITS, chunk_conditioning
from audio_vq.codec.drawing import SamplingOptions, random_stream
from audio_vq.codec.sampler import Precision, Sampler
from audio_vq.codec.threads import one_thread
from audio_vq.kernels.sampling import StreamStates
from audio_vq.models.wavenet import WaveNet


@dataclass
class StreamState:
    """All that a stream knows: plain arrays and numbers, to be kept and continued (by pickle, or as one likes)."""

    speaker: int
    options: SamplingOptions
    precision: Precision
    rings: StreamStates  # of this one stream
    random: Mapping[str, Any]  # of the numpy generator
    window: list[int] = field(default_factory=list)  # units: the last ones spoken, then those that wait
    spoken: int = 0  # units of the window that have been spoken


class WaveformStream:
    """Speaks units as they arrive.

    Args:
        wavenet: the decoder.
        codebook: `(K, dim)` on the decoder's device.
        speaker: index.
        options: how to draw.
        precision: of the weights.
        state: of a stream to be continued instead of begun; speaker, options and precision are then the state's.
    """

    def __init__(
        self,
        wavenet: WaveNet,
        codebook: Tensor,
        speaker: int,
        options: SamplingOptions,
        precision: Precision = "auto",
        state: StreamState | None = None,
    ) -> None:
        self._conditioner, self._codebook = wavenet.conditioner, codebook
        self._classes = wavenet.embedding.num_embeddings
        self._sampler = Sampler(wavenet, state.precision if state else precision)
        self._random = random_stream(options.seed, 0)
        if state is None:
            rings = self._sampler.streams(1)
            state = StreamState(speaker, options, self._sampler.precision, rings, self._random.bit_generator.state)
        self._state = copy.deepcopy(state)
        self._random.bit_generator.state = self._state.random

    @property
    def state(self) -> StreamState:
        """A copy; a stream begun with it goes on exactly here."""
        self._state.random = self._random.bit_generator.state
        return copy.deepcopy(self._state)

    def push(self, units: Iterable[int]) -> Waveform:
        """Takes further units; returns the samples that can be spoken now, perhaps none."""
        self._state.window.extend(int(unit) for unit in units)
        return self._speak(BLOCK_UNITS + self._conditioner.reach)

    def blocks(self, units: Iterable[int]) -> Iterator[Waveform]:
        """What further units, which may be late, let be spoken: each block as soon as it can be."""
        for unit in units:
            block = self.push([unit])
            if len(block):
                yield block

    def finish(self) -> Waveform:
        """Speaks what waits: no more units come."""
        return self._speak(1)

    def _speak(self, needed: int) -> Waveform:
        """Blocks while at least `needed` units wait."""
        state, blocks = self._state, [np.zeros(0, np.float32)]
        while len(state.window) - state.spoken >= needed:
            end = min(state.spoken + BLOCK_UNITS, len(state.window))
            window = torch.tensor(state.window[: end + self._conditioner.reach], device=self._codebook.device)
            latents = self._codebook[window].T
            with one_thread():
                frames = chunk_conditioning(self._conditioner, latents, state.speaker, state.spoken, end)
            blocks.append(self._sample(frames.float().cpu().numpy()))
            kept = max(0, end - self._conditioner.reach)
            state.window, state.spoken = state.window[kept:], end - kept
        return np.concatenate(blocks)

    def _sample(self, frames: Waveform) -> Waveform:
        uniforms = self._random.random((1, len(frames) * self._sampler.hop_length))
        slots = np.zeros(1, np.int64)
        classes = self._sampler.sample(self._state.rings, slots, frames[None], uniforms, self._state.options)
        return mu_law_decode(torch.from_numpy(classes[0]), self._classes).numpy()


def stream_of(codec: Codec, speaker: int, options: SamplingOptions, state: StreamState | None = None) -> WaveformStream:
    """A stream of a model's decoder."""
    network = codec.network
    return WaveformStream(network.wavenet, network.quantizer.codebook, speaker, options, codec.precision, state)
