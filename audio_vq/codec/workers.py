"""Clips side by side on the threads of a CPU: each keeps some, and where one ends, the next that waits begins."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt
from torch import Tensor

from audio_vq.codec.drawing import SamplingOptions, random_steps
from audio_vq.codec.sampler import Classes, Floats, Sampler
from audio_vq.codec.threads import lone_threads

ROWS = 32  # clips side by side in one thread: more gain nothing and leave the cache


@dataclass
class SamplingJob:
    """One clip to be sampled, and how far it is."""

    index: int
    units: int  # its length
    chunks: Iterator[Tensor]  # of conditioning, (frames, rows, 2R) each
    random: np.random.Generator
    frames: Floats = field(default_factory=lambda: np.empty((0, 0, 0), np.float32))  # made and not yet used
    parts: list[Classes] = field(default_factory=list)

    def refill(self) -> bool:
        """Sees to it that there are frames; False where the clip has ended."""
        if not len(self.frames):
            chunk = next(self.chunks, None)
            if chunk is None:
                return False
            self.frames = chunk.float().numpy()
        return True


def sample_side_by_side(
    sampler: Sampler, clips: Sequence[SamplingJob], options: SamplingOptions, threads: int
) -> Iterator[tuple[int, Classes]]:
    """Yields index and classes `(bands, steps)` of each clip when it ends; they do not depend on the other clips."""
    threads = min(threads, len(clips))
    longest_first = sorted(clips, key=lambda clip: -clip.units)
    places = threads * ROWS
    # dealt like cards, so that every thread begins with as much; what does not fit waits for whoever is free
    hands = [longest_first[first:places:threads] for first in range(threads)]
    work = _Work(sampler, options, deque(longest_first[places:]))
    with lone_threads(threads) as pool:
        try:
            for hand in hands:
                pool.submit(work.run, hand)
            for _ in clips:
                ended = work.ended.get()
                if isinstance(ended, BaseException):
                    raise ended
                yield ended.index, np.concatenate(ended.parts, 1)
                ended.parts.clear()
        finally:  # an error, Ctrl-C, or nobody listens any more: threads end within a chunk instead of sampling on
            work.stop.set()


class _Work:
    """What the threads share: clips that wait, and those that have ended."""

    def __init__(self, sampler: Sampler, options: SamplingOptions, waiting: deque[SamplingJob]) -> None:
        self.sampler = sampler
        self.options = options
        self.waiting = waiting
        self.ended: SimpleQueue[SamplingJob | BaseException] = SimpleQueue()
        self.stop = threading.Event()

    def run(self, hand: Sequence[SamplingJob]) -> None:
        """Samples a hand of clips and then, one by one, some that wait."""
        try:
            _Thread(self, len(hand)).run(hand)
        except BaseException as error:  # noqa: BLE001 - raised again where the clips are awaited
            self.ended.put(error)

    def next_waiting(self) -> SamplingJob | None:
        try:
            return self.waiting.popleft()
        except IndexError:
            return None


class _Thread:
    def __init__(self, work: _Work, rows: int) -> None:
        self.work = work
        self.sampler = work.sampler.fork()
        self.states = self.sampler.streams(rows)

    def run(self, hand: Sequence[SamplingJob]) -> None:
        slots: list[SamplingJob | None] = list(hand)
        while not self.work.stop.is_set():
            slots = [self._occupant(slot, clip) for slot, clip in enumerate(slots)]
            running = [(slot, clip) for slot, clip in enumerate(slots) if clip is not None]
            if not running:
                return
            self._advance(running)

    def _occupant(self, slot: int, clip: SamplingJob | None) -> SamplingJob | None:
        """The clip of a slot; where it has ended, the next that waits."""
        while clip is not None and not clip.refill():
            self.work.ended.put(clip)
            self.sampler.begin_again(self.states, slot)
            clip = self.work.next_waiting()
        return clip

    def _advance(self, running: list[tuple[int, SamplingJob]]) -> None:
        """As far as all clips have conditioning."""
        frames = min(len(clip.frames) for _, clip in running)
        conditioning = np.stack([clip.frames[:frames] for _, clip in running])
        steps = frames * self.sampler.frame_length
        uniforms = np.stack([random_steps(clip.random, self.sampler.bands, steps) for _, clip in running])
        slots = np.array([slot for slot, _ in running])
        classes = self.sampler.sample(self.states, slots, conditioning, uniforms, self.work.options)
        for (_, clip), drawn in zip(running, _small(classes), strict=True):
            clip.parts.append(drawn)
            clip.frames = clip.frames[frames:]


def _small(classes: Classes) -> npt.NDArray[np.integer]:
    """In 16 bits: an hour of 64-bit classes would take half a gigabyte."""
    return classes.astype(np.int16)
