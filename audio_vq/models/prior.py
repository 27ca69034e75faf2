"""Transformer prior: p(code | speaker), one unit at a time and, within a unit, one track at a time.

van den Oord et al. 2017, section 4.3, trains an autoregressive prior over the frozen units; here it is a
decoder-only transformer (Vaswani et al. 2017) with today's parts: RMSNorm before each sublayer (Zhang &
Sennrich 2019), rotary positions (Su et al. 2021), SwiGLU (Shazeer 2020).

    reads     speaker  u_0   u_1   …  u_{T−2}      u: the sum of the tracks' embeddings
                 │      │     │          │
    predicts    u_0    u_1   u_2   …  u_{T−1}

Several tracks (groups, pitch) need no more positions than one: what the blocks say of a unit goes to a head per
track, which also reads the unit's earlier tracks, so that the product is exact (Lee et al. 2022, RQ-Transformer,
whose second transformer is an MLP here).

Codes are `(batch, tracks, time)`. Inside, time comes before channels, as attention wants it.
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
    """Decoder-only transformer over codes.

    Args:
        track_sizes: how many values each track has.
        speakers: how many.
        layers, heads, channels: channels per head must be even.
        context: longest sequence of units it predicts at once.
        dropout: of the inputs and of every sublayer's output.
    """

    def __init__(
        self,
        track_sizes: Sequence[int],
        speakers: int,
        *,
        layers: int,
        heads: int,
        channels: int,
        context: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.track_sizes = tuple(track_sizes)
        self.context = context
        self.heads = heads
        self.head_channels = channels // heads
        self.embedding = nn.Embedding(sum(track_sizes), channels)  # the values of all tracks, one track after another
        self.firsts: Tensor
        firsts = [sum(track_sizes[:track]) for track in range(len(track_sizes))]
        self.register_buffer("firsts", torch.tensor(firsts)[:, None], persistent=False)  # (tracks, 1)
        self.speaker = nn.Embedding(speakers, channels)
        self.dropout = nn.Dropout(dropout)
        blocks = [Block(channels, heads, dropout) for _ in range(layers)]
        self.blocks = nn.ModuleList(blocks)
        self.tracks = nn.ModuleList(
            TrackHead(channels, size, dropout, follows=track > 0) for track, size in enumerate(track_sizes)
        )
        self.apply(_initialise)
        for block in blocks:  # each adds to the same sum: start it as wide as one of them (GPT-2)
            for linear in (block.attention.output, block.mlp.output):
                nn.init.normal_(linear.weight, std=0.02 / (2 * layers) ** 0.5)

    def forward(self, codes: Tensor, speaker: Tensor) -> list[Tensor]:
        """Logits `(batch, size, time)` of every track of `(batch, tracks, time)`.

        Those at t depend on the speaker, units before t, and tracks of unit t before theirs.
        """
        said = self.predict(self.inputs(codes[:, :, :-1], speaker))
        return [self.logits(said, codes[:, :track]).transpose(1, 2) for track in range(len(self.tracks))]

    def embed(self, codes: Tensor) -> Tensor:
        """Sum of the embeddings `(batch, time, channels)` of the first tracks, any number `(batch, tracks, time)`."""
        return self.embedding(codes + self.firsts[: codes.shape[1]]).sum(1)

    def inputs(self, codes: Tensor, speaker: Tensor) -> Tensor:
        """What the blocks read, `(batch, 1 + time, channels)`: `speaker` `(batch,)`, then units."""
        return torch.cat([self.speaker(speaker)[:, None], self.embed(codes)], 1)

    def predict(self, inputs: Tensor, caches: Sequence[KeyValues] | None = None) -> Tensor:
        """What the blocks say, `(batch, time, channels)`, of the unit after each input `(batch, time, channels)`.

        With caches the inputs follow those already in them: many into empty caches, or one.
        """
        start = caches[0].length if caches else 0
        rotation = rotary(start, inputs.shape[1], self.head_channels, inputs)
        x = self.dropout(inputs)
        for i, block in enumerate(self.blocks):
            x = block(x, rotation, caches[i] if caches else None)
        return x

    def logits(self, said: Tensor, earlier: Tensor) -> Tensor:
        """Logits `(batch, time, size)` of the track that follows `earlier` ones `(batch, tracks, time)` of its unit.

        `said` is what the blocks say of these units.
        """
        head = self.tracks[earlier.shape[1]]
        return head(said, self.dropout(self.embed(earlier)) if earlier.shape[1] else None)

    def empty_caches(self, batch: int) -> list[KeyValues]:
        """Caches for sequences of `context` inputs."""
        shape = (batch, self.heads, self.context, self.head_channels)
        weight = self.embedding.weight
        return [KeyValues(weight.new_empty(shape), weight.new_empty(shape)) for _ in self.blocks]


class TrackHead(nn.Module):
    """Logits of one track; one that `follows` others reads them too, through an MLP."""

    def __init__(self, channels: int, size: int, dropout: float, *, follows: bool) -> None:
        super().__init__()
        if follows:
            self.mlp_norm = nn.RMSNorm(channels)
            self.mlp = MLP(channels)
            self.dropout = nn.Dropout(dropout)
        self.norm = nn.RMSNorm(channels)
        self.output = nn.Linear(channels, size, bias=False)

    def forward(self, said: Tensor, earlier: Tensor | None = None) -> Tensor:
        """`(…, size)` of what the blocks say, and of the embeddings of the unit's earlier tracks, `(…, channels)`."""
        x = said
        if earlier is not None:
            x = x + earlier
            x = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return self.output(self.norm(x))


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


def build_prior(config: PriorConfig, track_sizes: Sequence[int], num_speakers: int) -> PriorModel:
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
        track_sizes=track_sizes,
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
