"""Waveforms from latents, one sample at a time: compiled on CPUs, CUDA graphs on GPUs.

A clip depends on its latents, speaker, seed and stream number alone, never on the clips beside it, bit for bit.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_vq.audio import mu_law_decode
from audio_vq.codec.conditioning import conditioning_chunks
from audio_vq.codec.drawing import SamplingOptions, random_stream
from audio_vq.codec.graph import sample_on_gpu
from audio_vq.codec.sampler import Precision, Sampler
from audio_vq.codec.workers import Clip, sample_side_by_side
from audio_vq.models.wavenet import WaveNet

__all__ = ["Precision", "SamplingOptions", "sample_each", "sample_waveforms", "teacher_forced_logits"]

Waveform = npt.NDArray[np.float32]


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
    ended = dict(sample_each(wavenet, latents, speakers, options, streams, precision, threads))
    return [ended[index] for index in range(len(latents))]


def sample_each(
    wavenet: WaveNet,
    latents: Sequence[Tensor] | Tensor,
    speakers: Sequence[int] | Tensor,
    options: SamplingOptions,
    streams: Sequence[int] | None = None,
    precision: Precision = "auto",
    threads: int | None = None,
) -> Iterator[tuple[int, Waveform]]:
    """As `sample_waveforms`, but yields (number of the clip, waveform) when a clip ends."""
    if len(latents) == 0:
        return
    device = wavenet.embedding.weight.device
    chunks = [
        conditioning_chunks(wavenet.conditioner, clip.to(device), int(speaker))
        for clip, speaker in zip(latents, speakers, strict=True)
    ]
    numbers = range(len(chunks)) if streams is None else streams
    randoms = [random_stream(options.seed, number) for number in numbers]
    if device.type == "cpu":
        clips = [
            Clip(i, clip.shape[1], part, random)
            for i, (clip, part, random) in enumerate(zip(latents, chunks, randoms, strict=True))
        ]
        threads = threads or torch.get_num_threads()
        ended = sample_side_by_side(Sampler(wavenet, precision), clips, options, threads)
    else:
        ended = enumerate(sample_on_gpu(wavenet, chunks, randoms, options))
    for index, classes in ended:
        decoded = mu_law_decode(torch.from_numpy(classes), wavenet.embedding.num_embeddings)
        yield index, decoded.numpy()


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
