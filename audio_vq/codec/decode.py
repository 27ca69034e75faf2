"""Waveforms from units, one step at a time: compiled on CPUs, CUDA graphs on GPUs.

`sample_each` is the one iterator; all else asks it. A clip depends on its latents, speaker, seed and stream number
alone, never on the clips beside it, bit for bit. Hence conditioning is made clip by clip, in chunks on a fixed grid of
units, although a batch would be faster: matrix products of other sizes round differently.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from audio_vq.audio.waveform import Waveform
from audio_vq.codec.bands import Classes, joined
from audio_vq.codec.codec import Codec
from audio_vq.codec.drawing import SamplingOptions, random_stream
from audio_vq.codec.graph import sample_on_gpu
from audio_vq.codec.postfilter import Doubles, postfiltered
from audio_vq.codec.sampler import Precision, Sampler
from audio_vq.codec.workers import SamplingJob, sample_side_by_side
from audio_vq.models.conditioner import Conditioner
from audio_vq.models.filterbank import Filterbank
from audio_vq.models.wavenet import WaveNet
from audio_vq.progress import Told
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
    postfilter: Filterbank | None = None,
    told: Told | None = None,
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
        postfilter: the filterbank of the spectrum that the conditioning network says and that the clips are brought to;
            by default they stay as they were drawn.
        told: is told of the waveform samples that were drawn, from any thread, of all clips together.

    Raises:
        UserError: the options have temperatures for another number of bands.
    """
    options.temperatures(wavenet.bands.bands)
    if len(latents) == 0:
        return
    device = wavenet.embedding.weight.device
    chunks = [
        conditioning_chunks(wavenet.conditioner, clip.to(device), int(speaker), block, options.emphasis)
        for clip, speaker in zip(latents, speakers, strict=True)
    ]
    if told:
        samples = wavenet.bands.bands * wavenet.frame_length
        chunks = [_telling(part, samples, told) for part in chunks]

    def finished(index: int, classes: Classes) -> Waveform:
        waveform = joined(wavenet.bands, classes)
        if postfilter is None:
            return waveform
        clip, speaker = latents[index].to(device), int(speakers[index])
        said = spectrum_chunks(wavenet.conditioner, clip, speaker, block, options.emphasis, postfilter.filters)
        return postfiltered(postfilter, waveform, np.concatenate(list(said)))

    numbers = range(len(chunks)) if streams is None else streams
    randoms = [random_stream(options.seed, number) for number in numbers]
    if device.type == "cpu":
        jobs = [
            SamplingJob(i, clip.shape[1], part, random)
            for i, (clip, part, random) in enumerate(zip(latents, chunks, randoms, strict=True))
        ]
        threads = threads or torch.get_num_threads()
        for index, classes in sample_side_by_side(Sampler(wavenet, precision), jobs, options, threads):
            yield index, finished(index, classes)
    else:
        drawn = sample_on_gpu(wavenet, chunks, randoms, options)
        with ThreadPoolExecutor() as pool:  # a GPU draws more than one core joins
            yield from enumerate(pool.map(finished, range(len(drawn)), drawn))


def sample_waveforms(
    wavenet: WaveNet,
    latents: Sequence[Tensor] | Tensor,
    speakers: Sequence[int] | Tensor,
    options: SamplingOptions,
    streams: Sequence[int] | None = None,
    precision: Precision = "auto",
    threads: int | None = None,
    block: int = 8,
    postfilter: Filterbank | None = None,
) -> list[Waveform]:
    """All that `sample_each` yields, in the order of the clips."""
    each = sample_each(wavenet, latents, speakers, options, streams, precision, threads, block, postfilter)
    ended = dict(each)
    return [ended[index] for index in range(len(latents))]


def decode_each(
    codec: Codec,
    units: Sequence[Units | Sequence[int]],
    speakers: Sequence[int],
    options: SamplingOptions,
    streams: Sequence[int],
    threads: int | None = None,
    told: Told | None = None,
) -> Iterator[tuple[int, Waveform]]:
    """`sample_each` of unit sequences; `told` is of seconds. Raises UserError for units that are not the codebook's."""
    latents = [codec.lookup(sequence) for sequence in units]
    block = block_units(codec.unit_rate_hz)
    postfilter = codec.network.said_filterbank if options.postfilter else None
    tell = None if told is None else lambda samples: told(samples / codec.sample_rate)
    return sample_each(
        codec.network.wavenet, latents, speakers, options, streams, codec.precision, threads, block, postfilter, tell
    )


def _telling(chunks: Iterator[Tensor], samples: int, told: Told) -> Iterator[Tensor]:
    """Conditioning of `samples` a frame; who asks for the next chunk is done with the one before."""
    for chunk in chunks:
        yield chunk
        told(len(chunk) * samples)


def conditioning_chunks(
    conditioner: Conditioner, latents: Tensor, speaker: int, block: int, emphasis: float = 0.0
) -> Iterator[Tensor]:
    """Conditioning `(frames, rows, 2R)` of latents `(dim, units)`, `block` units at a time."""
    for window, start, end in _windows(latents, conditioner.reach, block):
        yield chunk_conditioning(conditioner, window, speaker, emphasis, start, end)


def spectrum_chunks(
    conditioner: Conditioner, latents: Tensor, speaker: int, block: int, emphasis: float, filters: int
) -> Iterator[Doubles]:
    """The spectrum `(frames, filters)` that is said of latents `(dim, units)`, `block` units at a time."""
    for window, start, end in _windows(latents, conditioner.reach, block):
        yield chunk_spectrum(conditioner, window, speaker, emphasis, start, end, filters)


def _windows(latents: Tensor, reach: int, block: int) -> Iterator[tuple[Tensor, int, int]]:
    """Blocks of latents `(dim, units)` with what is within reach; where in that a block starts and ends."""
    units = latents.shape[1]
    for start in range(0, units, block):
        end = min(start + block, units)
        first, last = max(0, start - reach), min(units, end + reach)
        yield latents[:, first:last], start - first, end - first


@torch.no_grad()
def chunk_conditioning(
    conditioner: Conditioner, window: Tensor, speaker: int, emphasis: float, start: int, end: int
) -> Tensor:
    """Conditioning `(frames, rows, 2R)` of units start … end of a window of latents `(dim, units)`.

    The window goes on for the conditioner's reach to either side, except at an end of the clip.
    """
    voice = torch.tensor([speaker], device=window.device)
    frames = conditioner(window[None], voice, emphasis)[0]  # (layers, F, 2R)
    per_unit = frames.shape[1] // window.shape[1]
    return frames[:, start * per_unit : end * per_unit].transpose(0, 1)


@torch.no_grad()
def chunk_spectrum(
    conditioner: Conditioner, window: Tensor, speaker: int, emphasis: float, start: int, end: int, filters: int
) -> Doubles:
    """The spectrum `(frames, filters)` that is said of units start … end of such a window."""
    voice = torch.tensor([speaker], device=window.device)
    said = conditioner.said_spectrum(window[None], voice, emphasis)[0, start:end]  # (units, frames per unit · filters)
    return said.reshape(-1, filters).double().cpu().numpy()


@torch.no_grad()
def teacher_forced_logits(
    wavenet: WaveNet, targets: Tensor, latents: Tensor, speakers: Tensor, precision: Precision = "auto"
) -> Tensor:
    """What `WaveNet.forward` returns, `(batch, classes, bands, time)`, from the sampling kernel."""
    conditioning = wavenet.conditioner(latents, speakers).transpose(1, 2)
    logits = Sampler(wavenet, precision).logits(targets.numpy(), conditioning.float().numpy())
    return torch.from_numpy(logits).permute(0, 3, 2, 1)
