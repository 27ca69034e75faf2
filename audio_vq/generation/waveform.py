"""Waveforms from latents, one sample at a time: compiled on CPUs, CUDA graphs on GPUs.

A clip depends on its latents, speaker, seed and stream number alone, never on the clips beside it, bit for bit. On a
CPU every thread keeps some clips side by side, so that weights are read once for all of them; where one ends, the next
that waits takes its place.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_vq.audio import mu_law_decode
from audio_vq.generation.conditioning import conditioning_chunks
from audio_vq.generation.drawing import SamplingOptions, random_stream
from audio_vq.generation.graph import sample_on_gpu
from audio_vq.generation.sampler import Classes, Floats, Precision, Sampler
from audio_vq.kernels.streams import begin_again
from audio_vq.models.wavenet import WaveNet

__all__ = ["Precision", "SamplingOptions", "sample_waveforms", "teacher_forced_logits"]

Waveform = npt.NDArray[np.float32]

ROWS = 32  # clips side by side in one thread: more gain nothing and leave the cache


@torch.no_grad()
def sample_waveforms(
    wavenet: WaveNet,
    latents: Sequence[Tensor] | Tensor,
    speakers: Sequence[int] | Tensor,
    options: SamplingOptions,
    streams: Sequence[int] | None = None,
    precision: Precision = "auto",
    threads: int | None = None,
) -> list[Waveform]:
    """Draws one waveform `(units · hop_length,)` per clip, in [−1, 1].

    Args:
        wavenet: on a CPU or a GPU.
        latents: `(dim, units)` per clip, of any lengths, or `(batch, dim, units)`.
        speakers: one index per clip.
        options: how to draw.
        streams: number of each clip's random stream; 0, 1, 2 … by default.
        precision: of the weights on a CPU; see `sampler.py`.
        threads: on a CPU; as torch has by default.
    """
    if len(latents) == 0:
        return []
    device = wavenet.embedding.weight.device
    chunks = [
        conditioning_chunks(wavenet.conditioner, clip.to(device), int(speaker))
        for clip, speaker in zip(latents, speakers, strict=True)
    ]
    numbers = range(len(chunks)) if streams is None else streams
    randoms = [random_stream(options.seed, number) for number in numbers]
    if device.type == "cpu":
        sampler = Sampler(wavenet, precision)
        clips = [
            _Clip(part, random, clip.shape[1]) for part, random, clip in zip(chunks, randoms, latents, strict=True)
        ]
        _sample_clips(sampler, clips, options, threads or torch.get_num_threads())
        classes = [np.concatenate(clip.classes) for clip in clips]
    else:
        classes = sample_on_gpu(wavenet, chunks, randoms, options)
    return [mu_law_decode(torch.from_numpy(c), wavenet.embedding.num_embeddings).numpy() for c in classes]


@torch.no_grad()
def teacher_forced_logits(
    wavenet: WaveNet, targets: Tensor, latents: Tensor, speakers: Tensor, precision: Precision = "auto"
) -> Tensor:
    """What `WaveNet.forward` returns, `(batch, classes, time)`, from the sampling kernel."""
    conditioning = [
        torch.cat(list(conditioning_chunks(wavenet.conditioner, latent, int(speaker))))
        for latent, speaker in zip(latents, speakers, strict=True)
    ]
    logits = Sampler(wavenet, precision).logits(targets.numpy(), torch.stack(conditioning).float().numpy())
    return torch.from_numpy(logits).transpose(1, 2)


@dataclass
class _Clip:
    """One clip's way through a worker."""

    chunks: Iterator[Tensor]  # of conditioning, (frames, layers, 2R) each
    random: np.random.Generator
    units: int
    frames: Floats = field(default_factory=lambda: np.empty((0, 0, 0), np.float32))  # made and not yet used
    classes: list[Classes] = field(default_factory=list)

    def refill(self) -> bool:
        """Sees to it that there are frames; False where the clip has ended."""
        if not len(self.frames):
            chunk = next(self.chunks, None)
            if chunk is None:
                return False
            self.frames = chunk.float().numpy()
        return True


def _sample_clips(sampler: Sampler, clips: list[_Clip], options: SamplingOptions, threads: int) -> None:
    """Fills `classes` of all clips, on several threads."""
    threads = min(threads, len(clips))
    longest_first = sorted(clips, key=lambda clip: -clip.units)
    places = threads * ROWS
    # dealt like cards, so that every thread begins with as much; what does not fit waits for whoever is free
    hands = [longest_first[first:places:threads] for first in range(threads)]
    waiting = deque(longest_first[places:])
    stop = threading.Event()

    def work(hand: list[_Clip]) -> None:
        _Worker(sampler.fork(), options, len(hand)).run(hand, waiting, stop.is_set)

    with _one_torch_thread(), ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(work, hand) for hand in hands]
        try:
            for job in jobs:
                job.result()
        except BaseException:  # Ctrl-C too: the threads end within a chunk instead of sampling on
            stop.set()
            raise


class _Worker:
    """Samples the clips of one thread side by side."""

    def __init__(self, sampler: Sampler, options: SamplingOptions, rows: int) -> None:
        self.sampler = sampler
        self.options = options
        self.states = sampler.streams(rows)

    def run(self, hand: list[_Clip], waiting: deque[_Clip], stopped: Callable[[], bool]) -> None:
        slots: list[_Clip | None] = list(hand)
        while not stopped():
            slots = [self._occupant(slot, clip, waiting) for slot, clip in enumerate(slots)]
            running = [(slot, clip) for slot, clip in enumerate(slots) if clip is not None]
            if not running:
                return
            self._advance(running)

    def _occupant(self, slot: int, clip: _Clip | None, waiting: deque[_Clip]) -> _Clip | None:
        """The clip of a slot: where it has ended, the next that waits."""
        while clip is not None and not clip.refill():
            begin_again(self.states, slot, self.sampler.silence)
            clip = waiting.popleft() if waiting else None
        return clip

    def _advance(self, running: list[tuple[int, _Clip]]) -> None:
        """As far as all clips have conditioning."""
        frames = min(len(clip.frames) for _, clip in running)
        conditioning = np.stack([clip.frames[:frames] for _, clip in running])
        time = frames * self.sampler.hop_length
        uniforms = np.stack([clip.random.random(time) for _, clip in running])
        rows = np.array([slot for slot, _ in running])
        classes = self.sampler.sample(self.states, rows, conditioning, uniforms, self.options)
        for (_, clip), drawn in zip(running, classes, strict=True):
            clip.classes.append(drawn)
            clip.frames = clip.frames[frames:]


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Torch computes with one thread: its pool would wait busily on the cores that sample."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
