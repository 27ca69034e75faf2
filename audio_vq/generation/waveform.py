"""Waveforms from latents, one sample at a time: compiled on CPUs, plain PyTorch on GPUs.

A clip depends on its latents, speaker, seed and stream number alone, never on the clips beside it. On a CPU
each clip is sampled by itself and several are spread over threads.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_vq.audio import mu_law_decode
from audio_vq.generation.drawing import SamplingOptions, draw, random_stream
from audio_vq.generation.stepper import TorchStepper
from audio_vq.kernels.wavenet_step import Rings, StepWeights, empty_rings, sample, teacher_forced
from audio_vq.models.wavenet import Conditioner, GatedLayer, WaveNet

__all__ = [
    "SamplingOptions",
    "Stream",
    "begin_stream",
    "continue_stream",
    "sample_waveforms",
    "step_weights",
    "teacher_forced_logits",
]

Waveform = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]

CHUNK_UNITS = 64  # conditioning is made for so many at a time: that of a long clip would fill the memory
CONTEXT_UNITS = 2  # how far the Conditioner's two convolutions see to either side


@dataclass
class Stream:
    """Where the sampling of one clip stands; `continue_stream` moves it on."""

    rings: Rings
    previous: int  # class of the last sample
    random: np.random.Generator


@torch.no_grad()
def sample_waveforms(
    wavenet: WaveNet,
    latents: Sequence[Tensor] | Tensor,
    speakers: Sequence[int] | Tensor,
    options: SamplingOptions,
    streams: Sequence[int] | None = None,
) -> list[Waveform]:
    """Draws one waveform `(units · hop_length,)` per clip, in [−1, 1].

    Args:
        wavenet: on a CPU (float32 arithmetic) or a GPU.
        latents: `(dim, units)` per clip, of any lengths, or `(batch, dim, units)`.
        speakers: one index per clip.
        options: how to draw.
        streams: number of each clip's random stream; 0, 1, 2 … by default.
    """
    if len(latents) == 0:
        return []
    device = wavenet.embedding.weight.device
    chunks = [
        _conditioning(wavenet.conditioner, clip.to(device), int(speaker))
        for clip, speaker in zip(latents, speakers, strict=True)
    ]
    numbers = range(len(chunks)) if streams is None else streams
    randoms = [random_stream(options.seed, number) for number in numbers]
    draw_classes = _sample_compiled if device.type == "cpu" else _sample_with_torch
    classes = draw_classes(wavenet, chunks, randoms, options)
    return [mu_law_decode(torch.from_numpy(c), wavenet.embedding.num_embeddings).numpy() for c in classes]


def begin_stream(wavenet: WaveNet, weights: StepWeights, random: np.random.Generator) -> Stream:
    """A clip before its first sample."""
    return Stream(empty_rings(weights), wavenet.silence, random)


def continue_stream(
    weights: StepWeights,
    stream: Stream,
    conditioning: Waveform,
    hop_length: int,
    options: SamplingOptions,
) -> Classes:
    """Draws the next frames · hop_length classes of a stream; conditioning `(frames, layers, 2R)`."""
    uniforms = stream.random.random(len(conditioning) * hop_length)
    classes = sample(weights, stream.rings, stream.previous, conditioning, uniforms, options.temperature, options.top_p)
    stream.previous = int(classes[-1])
    return classes


@torch.no_grad()
def teacher_forced_logits(wavenet: WaveNet, targets: Tensor, latents: Tensor, speakers: Tensor) -> Tensor:
    """What `WaveNet.forward` returns, `(batch, classes, time)`, from the sampling kernel."""
    weights = step_weights(wavenet)
    logits = []
    for clip, latent, speaker in zip(targets, latents, speakers, strict=True):
        conditioning = torch.cat(list(_conditioning(wavenet.conditioner, latent, int(speaker))))
        rings = empty_rings(weights)
        logits.append(teacher_forced(weights, rings, wavenet.silence, _packed(conditioning), clip.numpy()).T)
    return torch.from_numpy(np.stack(logits))


def step_weights(wavenet: WaveNet) -> StepWeights:
    """The network's weights laid out for the kernel: `(in, out)`, float32."""
    embedding = wavenet.embedding.weight
    channels = embedding.shape[1]
    layers = cast("list[GatedLayer]", list(wavenet.layers))
    residuals = [layer.residual for layer in layers if layer.residual is not None]
    # a WaveNet of one layer has no residual matrices: none is still an array of three axes
    residual = [embedding.new_empty(0, channels, channels), *(linear.weight.T[None] for linear in residuals)]
    residual_bias = [embedding.new_empty(0, channels), *(linear.bias[None] for linear in residuals)]
    return StepWeights(
        embedding=_packed(embedding),
        taps=_packed(torch.stack([layer.weight for layer in layers]).transpose(2, 3)),
        dilations=np.array(wavenet.dilations, np.int64),
        residual=_packed(torch.cat(residual)),
        residual_bias=_packed(torch.cat(residual_bias)),
        skip=_packed(wavenet.skip.weight.T),
        skip_bias=_packed(wavenet.skip.bias),
        hidden=_packed(wavenet.hidden.weight.T),
        hidden_bias=_packed(wavenet.hidden.bias),
        output=_packed(wavenet.output.weight.T),
        output_bias=_packed(wavenet.output.bias),
    )


def _sample_compiled(
    wavenet: WaveNet,
    conditioning: list[Iterator[Tensor]],
    randoms: list[np.random.Generator],
    options: SamplingOptions,
) -> list[Classes]:
    weights = step_weights(wavenet)
    streams = [begin_stream(wavenet, weights, random) for random in randoms]
    parts: list[list[Classes]] = [[] for _ in streams]
    with ThreadPoolExecutor(max_workers=min(len(streams), torch.get_num_threads())) as pool:
        for chunks in zip_longest(*conditioning):
            jobs = {
                i: pool.submit(continue_stream, weights, streams[i], _packed(chunk), wavenet.hop_length, options)
                for i, chunk in enumerate(chunks)
                if chunk is not None
            }
            for i, job in jobs.items():
                parts[i].append(job.result())
    return [np.concatenate(part) for part in parts]


def _sample_with_torch(
    wavenet: WaveNet,
    conditioning: list[Iterator[Tensor]],
    randoms: list[np.random.Generator],
    options: SamplingOptions,
) -> list[Classes]:
    stepper = TorchStepper(wavenet, len(randoms))
    device = wavenet.embedding.weight.device
    previous = torch.full((len(randoms),), wavenet.silence, device=device)
    parts: list[list[Classes]] = [[] for _ in randoms]
    for chunks in zip_longest(*conditioning):
        frames = [0 if chunk is None else len(chunk) for chunk in chunks]
        like = next(chunk for chunk in chunks if chunk is not None)
        # clips that have ended go on with zeros, and what they say is cut off below
        padded = like.new_zeros(len(chunks), max(frames), *like.shape[1:])  # (B, frames, layers, 2R)
        time = max(frames) * wavenet.hop_length
        uniforms = np.zeros((len(chunks), time))
        for i, chunk in enumerate(chunks):
            if chunk is not None:
                padded[i, : frames[i]] = chunk
                uniforms[i, : frames[i] * wavenet.hop_length] = randoms[i].random(frames[i] * wavenet.hop_length)
        draws = torch.from_numpy(uniforms).to(device)
        drawn = torch.empty_like(draws, dtype=torch.int64)
        for t in range(time):
            previous = draw(stepper.step(previous, padded[:, t // wavenet.hop_length]), draws[:, t], options)
            drawn[:, t] = previous
        classes = drawn.cpu().numpy()
        for i in range(len(chunks)):
            parts[i].append(classes[i, : frames[i] * wavenet.hop_length])
    return [np.concatenate(part) for part in parts]


def _conditioning(conditioner: Conditioner, latents: Tensor, speaker: int) -> Iterator[Tensor]:
    """Conditioning `(frames, layers, 2R)` of latents `(dim, units)`, in chunks on a fixed grid of units.

    Clip by clip, although a batch would be faster: matrix products of other sizes round differently, and a
    clip must not depend on its company.
    """
    units = latents.shape[1]
    voice = torch.tensor([speaker], device=latents.device)
    for start in range(0, units, CHUNK_UNITS):
        end = min(start + CHUNK_UNITS, units)
        first, last = max(0, start - CONTEXT_UNITS), min(units, end + CONTEXT_UNITS)
        frames = conditioner(latents[None, :, first:last], voice)[0]  # (layers, F, 2R)
        per_unit = frames.shape[1] // (last - first)
        yield frames[:, (start - first) * per_unit : (end - first) * per_unit].transpose(0, 1)


def _packed(tensor: Tensor) -> Waveform:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
