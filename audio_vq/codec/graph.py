"""Waveforms of many clips on a GPU: recorded steps (CUDA graphs), slots that are filled again as clips end.

Launching a kernel costs a GPU more than most kernels of a WaveNet step run for. So the steps of a part of a frame are
recorded once and replayed; 256 slots step together, several such blocks side by side where there are more clips. A clip
that ends makes room for the next one at the next frame; nobody waits for the longest.

A clip depends on its own conditioning and random numbers only: the shapes of all products are the same whether the
other slots are taken or not. Without a GPU the same code runs unrecorded, which is how the tests see it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_vq.codec.drawing import SamplingOptions, random_steps
from audio_vq.codec.slots import Slots, StackedWeights, advance, empty_slots, shifted, stack_weights
from audio_vq.models.wavenet import WaveNet

Classes = npt.NDArray[np.int64]

SLOTS = 256  # fewer are hardly faster
MAX_BLOCKS = 8  # side by side; their rings take 0.2 GB each in the reference decoder
PIECE_FRAMES = 16  # conditioning is brought into a slot so many frames at a time
MAX_RECORDED = 32  # steps per recording: launching it is then a hundredth of running it


@dataclass
class _Remaining:
    """What is left to be sampled of one clip, and what there is."""

    pieces: Iterator[Tensor]  # conditioning (≤ PIECE_FRAMES, rows, 2R)
    random: np.random.Generator
    parts: list[Classes] = field(default_factory=list)


@torch.no_grad()
def sample_on_gpu(
    wavenet: WaveNet,
    conditioning: Sequence[Iterator[Tensor]],
    randoms: Sequence[np.random.Generator],
    options: SamplingOptions,
    slots: int = SLOTS,
) -> list[Classes]:
    """Draws one array of classes `(bands, frames · frame_length)` per clip.

    Args:
        wavenet: whose device and precision are used.
        conditioning: per clip, chunks `(frames, rows, 2R)` of any lengths; taken as they are needed.
        randoms: per clip, one number is drawn per step and band.
        options: how to draw.
        slots: clips that step together; a clip's logits depend on the number, in rounding only.
    """
    clips = [_Remaining(_pieces(chunks), random) for chunks, random in zip(conditioning, randoms, strict=True)]
    waiting = deque(clips)
    weights = stack_weights(wavenet)
    blocks = [_Block(weights, slots, options) for _ in range(min(MAX_BLOCKS, -(-len(clips) // slots)))]
    while True:
        for block in blocks:
            block.fill(waiting)
        blocks = [block for block in blocks if block.busy]
        if not blocks:
            break
        frames = min(block.frames_ready for block in blocks)
        for block in blocks:
            block.run(frames)
        for block in blocks:
            block.collect(frames)
    none = np.empty((wavenet.bands.bands, 0), np.int64)
    return [np.concatenate([none, *clip.parts], 1) for clip in clips]


class _Block:
    """Slots that step together, on a CUDA stream of their own.

    Args:
        weights: of the network.
        count: slots.
        options: how to draw.
    """

    def __init__(self, weights: StackedWeights, count: int, options: SamplingOptions) -> None:
        self.weights = weights
        self.slots = empty_slots(weights, count, PIECE_FRAMES)
        self.clips: list[_Remaining | None] = [None] * count
        self.piece_frames = [0] * count  # of the piece in the slot
        self.left = [0] * count  # frames of it still to be sampled
        frame_length = weights.wavenet.frame_length
        recorded = max(n for n in range(1, MAX_RECORDED + 1) if frame_length % n == 0)
        self.replays_per_frame = frame_length // recorded
        self.stream = torch.cuda.Stream() if weights.taps.is_cuda else None
        self.replay = _recorded(weights, self.slots, recorded, options, self.stream)

    @property
    def busy(self) -> bool:
        return any(clip is not None for clip in self.clips)

    @property
    def frames_ready(self) -> int:
        """Frames that can be sampled before a slot needs attention."""
        return min(left for left, clip in zip(self.left, self.clips, strict=True) if clip is not None)

    def fill(self, waiting: deque[_Remaining]) -> None:
        """Brings the next piece into every slot that has none left: of its clip, or else of one that waits."""
        ended = [i for i, left in enumerate(self.left) if left == 0]
        fresh = []
        for i in ended:
            clip = self.clips[i]
            piece = next(clip.pieces, None) if clip else None
            while piece is None and waiting:
                clip = waiting.popleft()
                piece = next(clip.pieces, None)
                if piece is not None:
                    fresh.append(i)
            self.clips[i] = clip if piece is not None else None
            if clip is not None and piece is not None:
                self._load(i, clip, piece)
        slots, device = self.slots, self.slots.past.device
        # empty slots step too, over and over at the beginning of their piece
        slots.position.index_fill_(0, torch.tensor(ended, dtype=torch.int64, device=device), 0)
        begun = torch.tensor(fresh, dtype=torch.int64, device=device)
        slots.previous.index_fill_(0, begun, self.weights.wavenet.silence)
        slots.past[:, begun] = self.weights.silence[:, None]
        slots.steps.index_fill_(0, begun, 0)

    def _load(self, slot: int, clip: _Remaining, piece: Tensor) -> None:
        frames = len(piece)
        wavenet, steps = self.weights.wavenet, frames * self.weights.wavenet.frame_length
        self.piece_frames[slot] = self.left[slot] = frames
        self.slots.conditioning[slot, :frames] = shifted(self.weights, piece)
        uniforms = random_steps(clip.random, wavenet.bands.bands, steps)
        self.slots.uniforms[slot, :, :steps] = torch.from_numpy(uniforms)

    def run(self, frames: int) -> None:
        """Samples so many frames of every slot; returns before the GPU is done."""
        if self.stream:
            self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(frames * self.replays_per_frame):
                self.replay()
        if self.stream:
            torch.cuda.current_stream().wait_stream(self.stream)

    def collect(self, frames: int) -> None:
        """Takes the pieces that are done out of their slots."""
        self.left = [max(0, left - frames) for left in self.left]
        done = [(i, clip) for i, clip in enumerate(self.clips) if clip is not None and self.left[i] == 0]
        if not done:
            return
        rows = torch.tensor([i for i, _ in done], device=self.slots.classes.device)
        classes = self.slots.classes[rows].cpu().numpy()
        for (i, clip), drawn in zip(done, classes, strict=True):
            clip.parts.append(drawn[:, : self.piece_frames[i] * self.weights.wavenet.frame_length].copy())


def _pieces(chunks: Iterator[Tensor]) -> Iterator[Tensor]:
    for chunk in chunks:
        if len(chunk):
            yield from chunk.split(PIECE_FRAMES)


def _recorded(
    weights: StackedWeights,
    slots: Slots,
    steps: int,
    options: SamplingOptions,
    stream: torch.cuda.Stream | None,
) -> Callable[[], None]:
    """A function that advances the slots: recorded on the stream, or as it is without one."""
    if stream is None:
        return lambda: advance(weights, slots, steps, options)
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        advance(weights, slots, 1, options)  # libraries get their memory now: they may not while recording
    torch.cuda.current_stream().wait_stream(stream)
    slots.position.zero_()
    graph = torch.cuda.CUDAGraph()
    # on the block's own stream: the matrix library's working memory is one per stream, blocks must not share it
    with torch.cuda.graph(graph, stream=stream):
        advance(weights, slots, steps, options)
    return graph.replay
