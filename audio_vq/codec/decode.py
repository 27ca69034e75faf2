"""Waveforms from units, one step at a time: compiled on CPUs, CUDA graphs on GPUs.

`sample_each` is the one iterator; all else asks it. A clip depends on its latents, speaker, seed and stream number
alone, never on the clips beside it, bit for bit. Hence conditioning is made clip by clip, in chunks on a fixed grid of
units, although a batch would be faster: matrix products of other sizes round differently.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor

from audio_vq.audio import Waveform
from audio_vq.codec.bands import joined
from audio_vq.codec.codec import Codec
from audio_vq.codec.drawing import SamplingOptions, random_stream
from audio_vq.codec.graph import sample_on_gpu
from audio_vq.codec.sampler import Precision, Sampler
from audio_vq.codec.workers import SamplingJob, sample_side_by_side
from audio_vq.models.conditioner import Conditioner
from audio_vq.models.wavenet import WaveNet
from audio_vq.units import Units

BLOCK_SECONDS = 0.08  # long enough that making it costs little, short enough to wait for in live conversion


def block_units(unit_rate_hz: float) -> int:
    """Units whose conditioning is made together."""
    return max(1, round(BLOCK_SECONDS * unit_rate_hz))


def sample_each(
    wavenet: WaveNet,
    latents: Sequence[Tensor] | Tensor,
    speakers: Sequence[int] | Tensor,
    options: SamplingOptions,
    streams: Sequence[int] | None = None,
    precision: Precision = "auto",
    threads: int | None = None,
    block: int = 8,
) -> Iterator[tuple[int, Waveform]]:
    """Draws one waveform `(units · hop_length,)` per clip, in [−1, 1]; yields it with its number when it ends.

    Args:
        wavenet: on a CPU or a GPU.
        latents: `(dim, units)` per clip, of any lengths, or `(batch, dim, units)`.
        speakers: one index per clip.
        options: how to draw.
        streams: number of each clip's random stream; 0, 1, 2 … by default.
        precision: of the weights on a CPU; see `sampler.py`.
        threads: on a CPU; as many as torch has by default.
        block: units whose conditioning is made together; see `block_units`. 8 are those of 100 Hz.

    Raises:
        UserError: the options have temperatures for another number of bands.
    """
    options.temperatures(wavenet.bands.bands)
    if len(latents) == 0:
        return
    device = wavenet.embedding.weight.device
    chunks = [
        conditioning_chunks(wavenet.conditioner, clip.to(device), int(speaker), block)
        for clip, speaker in zip(latents, speakers, strict=True)
    ]
    numbers = range(len(chunks)) if streams is None else streams
    randoms = [random_stream(options.seed, number) for number in numbers]
    if device.type == "cpu":
        jobs = [
            SamplingJob(i, clip.shape[1], part, random)
            for i, (clip, part, random) in enumerate(zip(latents, chunks, randoms, strict=True))
        ]
        threads = threads or torch.get_num_threads()
        for index, classes in sample_side_by_side(Sampler(wavenet, precision), jobs, options, threads):
            yield index, joined(wavenet.bands, classes)
    else:
        drawn = sample_on_gpu(wavenet, chunks, randoms, options)
        with ThreadPoolExecutor() as pool:  # a GPU draws more than one core joins
            yield from enumerate(pool.map(partial(joined, wavenet.bands), drawn))


def sample_waveforms(
    wavenet: WaveNet,
    latents: Sequence[Tensor] | Tensor,
    speakers: Sequence[int] | Tensor,
    options: SamplingOptions,
    streams: Sequence[int] | None = None,
    precision: Precision = "auto",
    threads: int | None = None,
    block: int = 8,
) -> list[Waveform]:
    """All that `sample_each` yields, in the order of the clips."""
    ended = dict(sample_each(wavenet, latents, speakers, options, streams, precision, threads, block))
    return [ended[index] for index in range(len(latents))]


def decode_each(
    codec: Codec,
    units: Sequence[Units | Sequence[int]],
    speakers: Sequence[int],
    options: SamplingOptions,
    streams: Sequence[int],
    threads: int | None = None,
) -> Iterator[tuple[int, Waveform]]:
    """`sample_each` of unit sequences. Raises UserError for units that are not the codebook's."""
    latents = [codec.lookup(sequence) for sequence in units]
    block = block_units(codec.unit_rate_hz)
    return sample_each(codec.network.wavenet, latents, speakers, options, streams, codec.precision, threads, block)


def conditioning_chunks(conditioner: Conditioner, latents: Tensor, speaker: int, block: int) -> Iterator[Tensor]:
    """Conditioning `(frames, layers, 2R)` of latents `(dim, units)`, `block` units at a time."""
    units, reach = latents.shape[1], conditioner.reach
    for start in range(0, units, block):
        end = min(start + block, units)
        first, last = max(0, start - reach), min(units, end + reach)
        yield chunk_conditioning(conditioner, latents[:, first:last], speaker, start - first, end - first)


@torch.no_grad()
def chunk_conditioning(conditioner: Conditioner, window: Tensor, speaker: int, start: int, end: int) -> Tensor:
    """Conditioning `(frames, layers, 2R)` of units start … end of a window of latents `(dim, units)`.

    The window goes on for the conditioner's reach to either side, except at an end of the clip.
    """
    voice = torch.tensor([speaker], device=window.device)
    frames = conditioner(window[None], voice)[0]  # (layers, F, 2R)
    per_unit = frames.shape[1] // window.shape[1]
    return frames[:, start * per_unit : end * per_unit].transpose(0, 1)


@torch.no_grad()
def teacher_forced_logits(
    wavenet: WaveNet, targets: Tensor, latents: Tensor, speakers: Tensor, precision: Precision = "auto"
) -> Tensor:
    """What `WaveNet.forward` returns, `(batch, classes, bands, time)`, from the sampling kernel."""
    conditioning = wavenet.conditioner(latents, speakers).transpose(1, 2)
    logits = Sampler(wavenet, precision).logits(targets.numpy(), conditioning.float().numpy())
    return torch.from_numpy(logits).permute(0, 3, 2, 1)
