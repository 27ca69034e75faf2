"""One WaveNet step for many clips at once, as few large operations on buffers that never move: what a GPU wants.

A step costs a GPU its number of operations more than their size. Hence

- the past taps of all layers are one batched product: they are known before the step begins;
- residual biases are added beforehand: layer inputs lie in the rings without them, conditioning makes up for it;
- time, ring places and conditioning rows are tensors: the same recorded sequence of operations serves every step.

`tests/test_gpu_sampling.py` holds it against `WaveNet.forward`; `tests/torch_stepper.py` is the same in plain words.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from audio_vq.codec.drawing import SamplingOptions, draw
from audio_vq.codec.sampler import remembered_steps
from audio_vq.models.wavenet import GatedLayer, WaveNet


@dataclass(frozen=True)
class StackedWeights:
    """A WaveNet's weights, one tensor for all layers, matrices as `(in, out)`. R residual channels."""

    wavenet: WaveNet  # for embedding and output layers
    firsts: Tensor  # (bands,): row of the embedding at which each band's classes begin
    taps: Tensor  # (kernel, layers, R, 2R); tap k lies k · dilation steps back
    residual: Tensor  # (layers − 1, R, R): nothing reads the last layer's output
    dilations: Tensor  # (layers,), steps
    ring_lengths: Tensor  # (layers,), steps
    ring_starts: Tensor  # (layers,): row of each layer's ring
    shift: Tensor  # (layers, 2R): to be added to conditioning, what the residual biases left out would have done
    silence: Tensor  # (Σ ring lengths, R): rings before the first step


@dataclass(frozen=True)
class Slots:
    """Places for clips that step together, and the piece of each clip that is being sampled. Changed in place."""

    time: Tensor  # (): steps so far
    past: Tensor  # (Σ ring lengths, slots, R): layer inputs of step t at t modulo length in the layer's ring
    previous: Tensor  # (slots, bands): classes of the last step
    said: Tensor  # (longest period + taps, slots, bands): those of the last steps, step t at t modulo their number
    steps: Tensor  # (slots,): of the clip so far
    position: Tensor  # (slots,): steps of the piece that are done
    conditioning: Tensor  # (slots, frames, rows, 2R) of the piece, shifted
    uniforms: Tensor  # (slots, bands, frames · frame_length) of the piece, float64
    classes: Tensor  # (slots, bands, frames · frame_length) of the piece, as far as it is done


@torch.no_grad()
def stack_weights(wavenet: WaveNet) -> StackedWeights:
    """In the precision and on the device of the network."""
    layers = cast("list[GatedLayer]", list(wavenet.layers))
    embedding = wavenet.embedding.weight
    channels = embedding.shape[1]
    taps = torch.stack([layer.weight for layer in layers], 1).transpose(2, 3).contiguous()
    linears = [layer.residual for layer in layers if layer.residual is not None]
    # a WaveNet of one layer has no residual matrices: none is still a tensor of three axes
    residual = torch.cat([embedding.new_empty(0, channels, channels), *(linear.weight.T[None] for linear in linears)])
    biases = torch.stack([embedding.new_zeros(channels), *(linear.bias for linear in linears)])
    bias = biases.cumsum(0)  # (layers, R): in the layer's input
    dilations = torch.tensor(wavenet.dilations, device=embedding.device)
    lengths = (wavenet.kernel_size - 1) * dilations
    return StackedWeights(
        wavenet=wavenet,
        firsts=torch.arange(0, wavenet.bands.bands * wavenet.classes, wavenet.classes, device=embedding.device),
        taps=taps,
        residual=residual.contiguous(),
        dilations=dilations,
        ring_lengths=lengths,
        ring_starts=lengths.cumsum(0) - lengths,
        shift=(bias[None, :, None] @ taps).sum(0)[:, 0],
        silence=-bias.repeat_interleave(lengths, 0),  # before the first step inputs are zero, bias included
    )


def shifted(weights: StackedWeights, conditioning: Tensor) -> Tensor:
    """Conditioning `(…, rows, 2R)` as `step` reads it: the pitch period, where it is there, stays."""
    layers = len(weights.shift)
    return torch.cat([conditioning[..., :layers, :] + weights.shift, conditioning[..., layers:, :]], -2)


def empty_slots(weights: StackedWeights, slots: int, frames: int) -> Slots:
    """Slots for pieces of up to `frames` conditioning frames; no clip in any."""
    rows, channels = weights.silence.shape
    layers = len(weights.dilations)
    bands, steps = weights.wavenet.bands.bands, frames * weights.wavenet.frame_length
    float_of = weights.taps.new_zeros
    integer_of = weights.dilations.new_zeros
    return Slots(
        time=integer_of(()),
        past=float_of(rows, slots, channels),
        previous=integer_of(slots, bands),
        said=integer_of(remembered_steps(weights.wavenet), slots, bands),
        steps=integer_of(slots),
        position=integer_of(slots),
        conditioning=float_of(slots, frames, layers + (weights.wavenet.pitch_taps > 0), 2 * channels),
        uniforms=float_of(slots, bands, steps, dtype=torch.float64),
        classes=integer_of(slots, bands, steps),
    )


@torch.no_grad()
def advance(weights: StackedWeights, slots: Slots, steps: int, options: SamplingOptions) -> None:
    """Draws the classes of the next steps of every slot, all within one frame: `steps` divides its length."""
    bands = slots.previous.shape[1]
    row = slots.position // weights.wavenet.frame_length
    frame = slots.conditioning[torch.arange(len(row), device=row.device), row].transpose(0, 1)  # (rows, slots, 2R)
    for _ in range(steps):
        place = slots.position[:, None, None].expand(-1, bands, 1)
        uniforms = slots.uniforms.gather(2, place)[..., 0]
        slots.previous.copy_(draw(step(weights, slots, frame), uniforms, options))
        slots.classes.scatter_(2, place, slots.previous[..., None])
        slots.position.add_(1)


@torch.no_grad()
def step(weights: StackedWeights, slots: Slots, frame: Tensor) -> Tensor:
    """Logits `(slots, bands, classes)` after the classes `slots.previous`; frame `(rows, slots, 2R)`, shifted."""
    wavenet, channels = weights.wavenet, weights.taps.shape[2]
    z = frame[: len(weights.dilations)]
    for k in range(1, len(weights.taps)):
        z = torch.baddbmm(z, slots.past.index_select(0, _rows(weights, slots.time, k)), weights.taps[k])
    z = z.clone() if len(weights.taps) == 1 else z
    x = wavenet.embedding(_seen(weights, slots, frame)).sum(1)  # (slots, R)
    inputs, gates = [], []
    for layer, tap in enumerate(weights.taps[0].unbind()):
        inputs.append(x)
        z[layer].addmm_(x, tap)
        z[layer, :, :channels].tanh_()
        gates.append(F.glu(z[layer], 1))  # first half ⊙ σ(second half)
        if layer < len(weights.residual):
            x = torch.addmm(x, gates[-1], weights.residual[layer])
    if len(slots.past):
        slots.past.index_copy_(0, _rows(weights, slots.time, 0), torch.stack(inputs))
    slots.time.add_(1)
    slots.steps.add_(1)
    skip = wavenet.skip(torch.cat(gates, 1)).relu_()
    return wavenet.output(wavenet.hidden(skip).relu_()).unflatten(1, (wavenet.bands.bands, -1))


def _seen(weights: StackedWeights, slots: Slots, frame: Tensor) -> Tensor:
    """Rows of the embedding `(slots, bands · (1 + pitch taps))`, as `WaveNet.seen`; keeps the last step's classes."""
    wavenet, remembered = weights.wavenet, len(slots.said)
    seen = [slots.previous + weights.firsts]
    if wavenet.pitch_taps:
        bands = slots.previous.shape[1]
        last = (slots.steps - 1) % remembered
        slots.said.scatter_(0, last[None, :, None].expand(-1, -1, bands), slots.previous[None])
        period = frame[-1, :, 0].long()
        for tap in range(wavenet.pitch_taps):
            ago = slots.steps - period + (tap - wavenet.pitch_taps // 2)
            said = slots.said.gather(0, (ago % remembered)[None, :, None].expand(-1, -1, bands))[0]
            rows = said + weights.firsts + (1 + tap) * bands * wavenet.classes
            there = ((period > 0) & (ago >= 0))[:, None]
            seen.append(torch.where(there, rows, len(wavenet.embedding.weight) - 1))
    return torch.cat(seen, 1)


def _rows(weights: StackedWeights, time: Tensor, tap: int) -> Tensor:
    """Row `(layers,)` of each layer's input `tap` · dilation steps back."""
    return weights.ring_starts + (time - tap * weights.dilations) % weights.ring_lengths
