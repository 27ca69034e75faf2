"""Codes from the prior, and the bits it needs for given ones.

Sequences may be longer than the prior's context. Then the oldest units are forgotten, half a context at a
time: each unit is predicted from the speaker and at least the `context // 2` units before it. Moving the
window by one unit would change all that is cached; by half a context, it costs a pass over it now and then.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from audio_vq.codec.drawing import SamplingOptions, draw, random_stream
from audio_vq.models.prior import Block, PriorModel, rotary
from audio_vq.progress import Told
from audio_vq.units import Units

SCORING_BATCH = 32  # windows at a time


@torch.inference_mode()
def sample_units(
    prior: PriorModel,
    speaker: Tensor,
    num_units: int,
    options: SamplingOptions,
    prompt: Units | None = None,
    told: Told | None = None,
) -> npt.NDArray[np.int64]:
    """Draws codes `(batch, tracks, num_units)`, any number, one per entry of `speaker` `(batch,)` int64.

    Code b depends on the seed, b and its speaker, not on the others. All go on from the code of `prompt`, which is not
    among what is returned. `told` is told of the units that were drawn, of all codes together.
    """
    batch, tracks, device = len(speaker), len(prior.track_sizes), prior.embedding.weight.device
    # of a unit one number for each track, next to each other: more units begin like fewer
    uniforms = np.stack([random_stream(options.seed, b).random((num_units, tracks)) for b in range(batch)])
    draws = torch.from_numpy(uniforms).to(device)
    before = 0 if prompt is None else prompt.shape[-1]
    codes = torch.zeros(batch, tracks, before + num_units, dtype=torch.int64, device=device)
    if prompt is not None:
        codes[:, :, :before] = torch.from_numpy(np.atleast_2d(prompt))
    cached = CachedPrior(prior, speaker.to(device))
    for t in range(num_units):
        known = codes[:, :, : before + t]
        said = cached.predict(known)[:, None]  # (B, 1, C)
        unit = codes[:, :, before + t, None]  # a view: (B, tracks, 1)
        for track in range(tracks):
            logits = prior.logits(said, unit[:, :track])[:, 0]
            unit[:, track, 0] = draw(logits, draws[:, t, track], options)
        if told:
            told(batch)
    return codes[:, :, before:].cpu().numpy()


class CachedPrior:
    """Predicts the next unit again and again; keeps keys and values of the past: each costs one step."""

    def __init__(self, prior: PriorModel, speaker: Tensor) -> None:
        self.prior = prior
        self.speaker = speaker  # (B,)
        self.start = 0  # first unit in the window
        self.caches = prior.empty_caches(len(speaker))
        self.blocks = [_StepWeights.of(cast("Block", block)) for block in prior.blocks]
        cos, sin = rotary(0, prior.context, prior.head_channels, prior.embedding.weight)
        # rotate(x) = x · cos + x with its halves swapped · sin, the sines of the first half negative
        self.cos, self.sin = torch.cat([cos, cos], 1), torch.cat([-sin, sin], 1)  # (context, channels per head)

    def predict(self, codes: Tensor) -> Tensor:
        """What the blocks say, `(batch, channels)`, of the unit after `codes` `(batch, tracks, time)`.

        In the first call these may be any, in each that follows one unit more.
        """
        time = codes.shape[2]
        if 1 + time - self.start > self.prior.context:  # the speaker and the window
            self.start = time - self.prior.context // 2
            self.caches = self.prior.empty_caches(len(self.speaker))
        if self.caches[0].length == 0:
            inputs = self.prior.inputs(codes[:, :, self.start :], self.speaker)
            return self.prior.predict(inputs, self.caches)[:, -1]
        return self._step(self.prior.embed(codes[:, :, -1:])[:, 0])

    def _step(self, x: Tensor) -> Tensor:
        """What `PriorModel.predict` says of one input `(batch, channels)`, in a third of its operations."""
        heads, place = self.prior.heads, self.caches[0].length
        cos, sin = self.cos[place], self.sin[place]
        for block, cache in zip(self.blocks, self.caches, strict=True):
            qkv = (_normalised(x) @ block.query_key_value).view(len(x), 3, heads, -1)  # (B, 3, heads, C / heads)
            qk = qkv[:, :2]
            qk = torch.addcmul(qk * cos, qk.roll(self.prior.head_channels // 2, -1), sin)
            k, v = cache.append(qk[:, 1, :, None], qkv[:, 2, :, None])
            y = F.scaled_dot_product_attention(qk[:, 0, :, None], k, v)  # (B, heads, 1, C / heads)
            x = torch.addmm(x, y.flatten(1), block.attention_output)
            gate, value = (_normalised(x) @ block.gate_input).chunk(2, 1)
            x = torch.addmm(x, F.silu(gate).mul_(value), block.output)
        return x


@dataclass(frozen=True)
class _StepWeights:
    """One block's matrices as `(in, out)`; the scales of its norms are part of the matrices that follow them."""

    query_key_value: Tensor
    attention_output: Tensor
    gate_input: Tensor
    output: Tensor

    @staticmethod
    def of(block: Block) -> "_StepWeights":
        return _StepWeights(
            query_key_value=(block.attention.query_key_value.weight * block.attention_norm.weight).T,
            attention_output=block.attention.output.weight.T,
            gate_input=(block.mlp.gate_input.weight * block.mlp_norm.weight).T,
            output=block.mlp.output.weight.T,
        )


def _normalised(x: Tensor) -> Tensor:
    """RMSNorm without its scale, `(batch, channels)`."""
    epsilon = torch.finfo(x.dtype).eps  # as in nn.RMSNorm
    return x * torch.rsqrt(torch.linalg.vecdot(x, x)[:, None] / x.shape[1] + epsilon)


def unit_bits(prior: PriorModel, sequences: Sequence[Units], speakers: Sequence[int]) -> list[npt.NDArray[np.float64]]:
    """Bits −log2 p(unit | units before, speaker) of every unit `(time,)`, all its tracks together."""
    return [bits.sum(0) for bits in track_bits(prior, sequences, speakers)]


@torch.inference_mode()
def track_bits(prior: PriorModel, sequences: Sequence[Units], speakers: Sequence[int]) -> list[npt.NDArray[np.float64]]:
    """Bits of every unit's tracks, each given those before it and the units before, `(tracks, time)`.

    Sequences have any lengths. One longer than the context is read in windows that begin half a context apart.
    """
    codes, device = [np.atleast_2d(sequence) for sequence in sequences], prior.embedding.weight.device
    bits = [np.zeros(code.shape) for code in codes]
    windows = [(i, *window) for i, code in enumerate(codes) for window in _windows(code.shape[1], prior.context)]
    windows.sort(key=lambda window: window[1] - window[3])  # similar lengths together: little padding
    for first in range(0, len(windows), SCORING_BATCH):
        part = windows[first : first + SCORING_BATCH]
        longest = max(end - start for _, start, _, end in part)
        batch = torch.zeros(len(part), len(prior.track_sizes), longest, dtype=torch.int64)
        for row, (i, start, _, end) in enumerate(part):
            batch[row, :, : end - start] = torch.from_numpy(codes[i][:, start:end])
        speaker = torch.tensor([speakers[i] for i, *_ in part])
        scored = _batch_bits(prior, batch.to(device), speaker.to(device)).cpu().numpy()
        for row, (i, start, fresh, end) in enumerate(part):
            bits[i][:, fresh:end] = scored[row, :, fresh - start : end - start]
    return bits


def _batch_bits(prior: PriorModel, codes: Tensor, speaker: Tensor) -> Tensor:
    """Bits `(batch, tracks, time)` of codes."""
    logits = prior(codes, speaker)
    nats = [F.cross_entropy(each.float(), codes[:, track], reduction="none") for track, each in enumerate(logits)]
    return torch.stack(nats, 1) / math.log(2)


def _windows(length: int, context: int) -> list[tuple[int, int, int]]:
    """(start, first unit to be scored, end) of windows that together score every unit once."""
    windows = [(0, 0, min(length, context))] if length else []
    while windows and windows[-1][2] < length:
        fresh = windows[-1][2]
        start = fresh - context // 2
        windows.append((start, fresh, min(length, start + context)))
    return windows
