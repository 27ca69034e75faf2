"""Encoding in chunks of one shape, offline and live.

A recording is cut at multiples of `CHUNK_UNITS`. A chunk holds its own units' samples and, to either side, a margin of
all that the encoder sees around them; silence where the recording is not, or is not yet:

    recording   |───────────────┬───────────────┬───────────┤
    chunk 0   ░░|───────────────┼──▸
    chunk 1               ◂─────┼───────────────┼──▸
    chunk 2                                ◂────┼───────────┤░░░░░░

Every chunk goes through the same matrix products, of the same shape, on one thread. Rounding then depends neither on
how a recording arrived, nor on its company, nor on the number of cores, so that not even near ties between codebook
vectors can flip. And since rows of a matrix product do not mix, a unit whose samples are there has its value whatever
follows: live units are the offline ones.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_vq.audio.waveform import Waveform
from audio_vq.codec.threads import lone_threads, torch_threads
from audio_vq.models.convolution import Convolution
from audio_vq.models.vqvae import VQVAEModel
from audio_vq.units import Units

if TYPE_CHECKING:
    from concurrent.futures import Future

CHUNK_UNITS = 128  # long enough to keep a core's vector units busy, short enough to be computed anew for a live block
CHUNKS_AT_ONCE = {"cpu": 1, "cuda": 64}  # a GPU wants more in parallel
READ_AHEAD = 2  # batches of chunks per worker that wait for it

Latents = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Chunk:
    """A stretch of a recording as the encoder gets it."""

    waveform: Waveform  # (samples,): margin, `CHUNK_UNITS`, margin
    inside: slice  # units of that stretch which lie in the recording
    units: int  # of its own, without margins, which lie in the recording
    recording_samples: int | None  # the recording's length, known on its last chunk
    mean: Spectrum | None = None  # (filters,) of the recording, for encoders that are centred


@dataclass(frozen=True)
class Encoded:
    """What the encoder makes of a chunk's own units."""

    units: Units  # (groups, units) int64
    latents: Latents  # (dim, units)


class ChunkBuffer:
    """The chunk that is being filled: all that is held of a recording of any length."""

    def __init__(self, hop_length: int, reach: int) -> None:
        self.hop_length = hop_length
        # at least one unit: what follows a full chunk's own units is there, so that a full one is never the last
        self.margin = max(1, -(-reach // hop_length))
        self.span = CHUNK_UNITS + 2 * self.margin  # units
        self.waveform = np.zeros(self.span * hop_length, np.float32)
        self.first = 0  # the chunk's first own unit, counted from the recording's beginning
        self.received = 0  # samples of the recording

    @property
    def _begin(self) -> int:
        return (self.first - self.margin) * self.hop_length  # sample of the recording; negative at its beginning

    @property
    def full(self) -> bool:
        return self.received - self._begin == len(self.waveform)

    @property
    def units(self) -> int:
        """Of all that was received; silence completes the last one."""
        return -(-self.received // self.hop_length)

    def append(self, waveform: Waveform) -> Waveform:
        """Takes in what fits and returns the rest."""
        at = self.received - self._begin
        taken = waveform[: len(self.waveform) - at]
        self.waveform[at : at + len(taken)] = taken
        self.received += len(taken)
        return waveform[len(taken) :]

    def chunk(self, *, ended: bool, mean: Spectrum | None = None) -> Chunk:
        """The chunk as it stands; with `ended`, no more samples come."""
        begin = self.first - self.margin
        last = ended and self.units <= self.first + CHUNK_UNITS
        return Chunk(
            waveform=self.waveform.copy(),
            inside=slice(max(0, -begin), min(self.span, self.units - begin) if ended else self.span),
            units=self.units - self.first if last else CHUNK_UNITS,
            recording_samples=self.received if last else None,
            mean=mean,
        )

    def advance(self) -> None:
        """Goes on to the next chunk, which shares two margins with this one."""
        step = CHUNK_UNITS * self.hop_length
        self.waveform[:-step] = self.waveform[step:].copy()
        self.waveform[-step:] = 0
        self.first += CHUNK_UNITS


class ChunkEncoder:
    """A model's encoder and codebook, applied to chunks."""

    def __init__(self, network: VQVAEModel) -> None:
        self.network = network
        self.device = network.quantizer.codebook.device
        self.batch = CHUNKS_AT_ONCE[self.device.type]
        for module in network.encoder.modules():
            if isinstance(module, Convolution):  # as its matrix product reads them: not rearranged for every chunk
                module.weight.data = module.weight.data.transpose(1, 2).contiguous().transpose(1, 2)

    @property
    def reach(self) -> int:
        """Samples after a unit's own that must be there before it is certain."""
        return self.network.encoder.reach

    def buffer(self) -> ChunkBuffer:
        return ChunkBuffer(self.network.hop_length, self.reach)

    def cut(self, blocks: Iterable[Waveform], mean: Spectrum | None = None) -> Iterator[Chunk]:
        """The chunks of a recording that comes in blocks of any length, with its mean spectrum."""
        buffer = self.buffer()
        for block in blocks:
            rest = block
            while len(rest):
                rest = buffer.append(rest)
                if buffer.full:
                    yield buffer.chunk(ended=False, mean=mean)
                    buffer.advance()
        while buffer.first < buffer.units:
            yield buffer.chunk(ended=True, mean=mean)
            buffer.advance()

    def encode(self, chunks: Iterable[Chunk], threads: int | None = None) -> Iterator[tuple[Chunk, Encoded]]:
        """Each chunk with what it becomes, in order.

        Workers compute while the caller's thread reads ahead: `threads` of them on a CPU (as many as torch has by
        default), one on a GPU, which it keeps busy.
        """
        on_cpu = self.device.type == "cpu"
        workers = (threads or torch.get_num_threads()) if on_cpu else 1
        if on_cpu and workers == 1:  # nothing to gain from handing over
            for group in _groups(chunks, self.batch):
                yield from zip(group, self.encode_now(group), strict=True)
            return
        waiting: deque[tuple[list[Chunk], Future[list[Encoded]]]] = deque()
        with lone_threads(workers) as pool:
            try:
                for group in _groups(chunks, self.batch):
                    waiting.append((group, pool.submit(self.encode_now, group)))
                    if len(waiting) > READ_AHEAD * workers:
                        done, results = waiting.popleft()
                        yield from zip(done, results.result(), strict=True)
                while waiting:
                    done, results = waiting.popleft()
                    yield from zip(done, results.result(), strict=True)
            finally:  # an error, or nobody listens any more
                for _, results in waiting:
                    results.cancel()

    def encode_now(self, chunks: list[Chunk]) -> list[Encoded]:
        """At most `batch` chunks, on this thread."""
        with torch_threads(1):
            latents = self._latents(chunks)
            units = self.network.quantizer.nearest(latents).cpu().numpy()
        own = zip(chunks, units, latents.cpu().numpy(), strict=False)
        return [Encoded(u[:, : chunk.units], z[:, : chunk.units]) for chunk, u, z in own]

    @torch.inference_mode()
    def spectrum(self, chunk: Chunk) -> Spectrum:
        """What the filterbank gives of a chunk's own units, `(frames, filters)`, of an encoder that has one."""
        filterbank = self.network.encoder.filterbank
        assert filterbank is not None
        waveform, mask = self._batch([chunk], 1)
        with torch_threads(1):
            frames = filterbank(waveform, mask)[0].float().cpu().numpy()
        per_unit, margin = self.network.hop_length // filterbank.hop_length, self.buffer().margin
        return frames[margin * per_unit : (margin + chunk.units) * per_unit]

    @torch.inference_mode()
    def _latents(self, chunks: list[Chunk]) -> Tensor:
        """`(batch, dim, CHUNK_UNITS)`: of fewer chunks the rest is silence, so that the shape is always the same."""
        waveform, mask = self._batch(chunks, self.batch)
        mean = None
        if self.network.encoder.centred:
            means = [chunk.mean for chunk in chunks if chunk.mean is not None]
            mean = waveform.new_zeros(self.batch, len(means[0]))
            mean[: len(means)] = torch.from_numpy(np.stack(means))
        latents = self.network.encoder(waveform, mean, mask)
        margin = self.buffer().margin
        return latents[..., margin : margin + CHUNK_UNITS]

    def _batch(self, chunks: list[Chunk], size: int) -> tuple[Tensor, Tensor | None]:
        """`size` waveforms `(size, time)`, and which of their units lie in a recording `(size, units)`; None: all."""
        buffer = self.buffer()
        waveform = np.zeros((size, len(buffer.waveform)), np.float32)
        inside = np.zeros((size, buffer.span), np.float32)
        for i, chunk in enumerate(chunks):
            waveform[i] = chunk.waveform
            inside[i, chunk.inside] = 1
        like = next(self.network.encoder.parameters())
        mask = None if inside.all() else torch.from_numpy(inside).to(like)  # ones would change nothing
        return torch.from_numpy(waveform).to(like), mask


def _groups(chunks: Iterable[Chunk], size: int) -> Iterator[list[Chunk]]:
    group: list[Chunk] = []
    for chunk in chunks:
        group.append(chunk)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
