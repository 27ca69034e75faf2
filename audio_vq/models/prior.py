"""Transformer prior: p(units | speaker), one unit at a time.

van den Oord et al. 2017, section 4.3, trains an autoregressive prior over the frozen units; here it is a
decoder-only transformer (Vaswani et al. 2017) with today's parts: RMSNorm before each sublayer (Zhang &
Sennrich 2019), rotary positions (Su et al. 2021), SwiGLU (Shazeer 2020).

    inputs    speaker  u_0   u_1   …  u_{T−2}
                 │      │     │          │
    predicts    u_0    u_1   u_2   …  u_{T−1}

Inside, time comes before channels, as attention wants it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audio_vq.config import PriorConfig
from audio_vq.errors import UserError

ROTARY_BASE = 10_000.0  # the slowest rotation turns once in about 2π times as many units


@dataclass
class KeyValues:
    """One layer's keys and values of the inputs so far, in memory for `capacity` of them."""

    keys: Tensor  # (batch, heads, capacity, channels / heads), rotated
    values: Tensor  # the same shape
    length: int = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Adds those of new inputs and returns all."""
        end = self.length + keys.shape[2]
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class PriorModel(nn.Module):
    """Decoder-only transformer over units.

    Args:
        codebook_size: K.
        speakers: how many.
        layers, heads, channels: channels per head must be even.
        context: longest sequence of units it predicts at once.
        dropout: of the inputs and of every sublayer's output.
    """

    def __init__(
        self,
        codebook_size: int,
        speakers: int,
        *,
        layers: int,
        heads: int,
        channels: int,
        context: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.context = context
        self.heads = heads
        self.head_channels = channels // heads
        self.embedding = nn.Embedding(codebook_size, channels)
        self.speaker = nn.Embedding(speakers, channels)
        self.dropout = nn.Dropout(dropout)
        blocks = [Block(channels, heads, dropout) for _ in range(layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.RMSNorm(channels)
        self.output = nn.Linear(channels, codebook_size, bias=False)
        self.apply(_initialise)
        for block in blocks:  # each adds to the same sum: start it as wide as one of them (GPT-2)
            for linear in (block.attention.output, block.mlp.output):
                nn.init.normal_(linear.weight, std=0.02 / (2 * layers) ** 0.5)

    def forward(self, units: Tensor, speaker: Tensor) -> Tensor:
        """Logits `(batch, K, time)` of `(batch, time)`; those at t depend on speaker and units before t."""
        return self.predict(self.inputs(units[:, :-1], speaker)).transpose(1, 2)

    def inputs(self, units: Tensor, speaker: Tensor) -> Tensor:
        """What the blocks read, `(batch, 1 + time, channels)`: `speaker` `(batch,)`, then units."""
        return torch.cat([self.speaker(speaker)[:, None], self.embedding(units)], 1)

    def predict(self, inputs: Tensor, caches: Sequence[KeyValues] | None = None) -> Tensor:
        """Logits `(batch, time, K)` of what follows each input `(batch, time, channels)`.

        With caches the inputs follow those already in them: many into empty caches, or one.
        """
        start = caches[0].length if caches else 0
        rotation = rotary(start, inputs.shape[1], self.head_channels, inputs)
        x = self.dropout(inputs)
        for i, block in enumerate(self.blocks):
            x = block(x, rotation, caches[i] if caches else None)
        return self.output(self.norm(x))

    def empty_caches(self, batch: int) -> list[KeyValues]:
        """Caches for sequences of `context` inputs."""
        shape = (batch, self.heads, self.context, self.head_channels)
        weight = self.embedding.weight
        return [KeyValues(weight.new_empty(shape), weight.new_empty(shape)) for _ in self.blocks]


class Block(nn.Module):
    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(channels)
        self.attention = Attention(channels, heads)
        self.mlp_norm = nn.RMSNorm(channels)
        self.mlp = MLP(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, rotation: Tensor, cache: KeyValues | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), rotation, cache))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class Attention(nn.Module):
    """Causal self-attention with rotary positions; `(batch, time, channels)` in and out."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_channels = channels // heads
        self.query_key_value = nn.Linear(channels, 3 * channels, bias=False)
        self.output = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor, rotation: Tensor, cache: KeyValues | None = None) -> Tensor:
        # (B, T, 3C) → three of (B, heads, T, C / heads)
        q, k, v = self.query_key_value(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, rotation), rotate(k, rotation)
        if cache:
            k, v = cache.append(k, v)
        # a single input comes last and may look at everything
        y = F.scaled_dot_product_attention(q, k, v, is_causal=x.shape[1] > 1)
        return self.output(y.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """SwiGLU: W_out (silu(W_gate x) ⊙ W_in x), two thirds as wide as a plain MLP and so of its size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = 8 * round(channels / 3)
        self.gate_input = nn.Linear(channels, 2 * width, bias=False)
        self.output = nn.Linear(width, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.gate_input(x).chunk(2, -1)
        return self.output(F.silu(gate) * value)


def rotary(start: int, length: int, channels: int, like: Tensor) -> Tensor:
    """Cosines and sines `(2, length, channels / 2)` of positions from `start` (Su et al. 2021, eq. 15)."""
    # float64: at position 1000 a float32 angle would be off by 1e-4
    exponent = torch.arange(0, channels, 2, device=like.device, dtype=torch.float64) / channels
    position = torch.arange(start, start + length, device=like.device, dtype=torch.float64)
    angle = position[:, None] * ROTARY_BASE**-exponent
    return torch.stack([angle.cos(), angle.sin()]).to(like.dtype)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turns channel pairs (i, i + half) of x `(batch, heads, time, channels)` by their position's angles.

    The product of a rotated query and a rotated key depends on the distance of their positions only.
    """
    cos, sin = rotation
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def build_prior(config: PriorConfig, codebook_size: int, num_speakers: int) -> PriorModel:
    """The model a configuration describes, with fresh weights.

    Raises:
        UserError: sizes that do not fit together.
    """
    if min(config.layers, config.heads, config.channels, config.context) < 1:
        raise UserError("prior.layers, prior.heads, prior.channels and prior.context must be positive numbers")
    if config.channels % (2 * config.heads):
        near = -(-config.channels // (2 * config.heads)) * 2 * config.heads
        raise UserError(
            f"prior.channels={config.channels} is not a multiple of 2 · prior.heads={2 * config.heads}; "
            f"give prior.channels={near} or another number of heads"
        )
    return PriorModel(
        codebook_size=codebook_size,
        speakers=num_speakers,
        layers=config.layers,
        heads=config.heads,
        channels=config.channels,
        context=config.context,
        dropout=config.dropout,
    )


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
