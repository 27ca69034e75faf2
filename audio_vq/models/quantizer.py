"""Vector quantiser: van den Oord et al. 2017, sections 3.1–3.2, appendix A.1; restarts as in Dhariwal et al. 2020.

With G groups a latent's channels are cut into G parts, each with a codebook of its own (product quantisation, Jégou et
al. 2011; Baevski et al. 2020): G times the bits without a codebook of K^G vectors. One group is the paper's.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class QuantizedLatents:
    """What the quantiser makes of latents z_e."""

    latents: Tensor  # (batch, dim, time): e_k with the gradient of z_e (straight-through)
    units: Tensor  # (batch, groups, time): k, int64
    codebook_loss: Tensor  # ‖sg[z_e] − e‖², mean: pulls the codebook to the encoder (eq. 3, second term)
    commitment_loss: Tensor  # ‖z_e − sg[e]‖², mean: pulls the encoder to the codebook (eq. 3, third term, without β)
    cost: Tensor  # scalar: what these add to the loss, on the scale of nats per waveform sample


@dataclass(frozen=True)
class CodebookStatistics:
    """Sums over a batch from which the moving-average codebook learns; they add up across processes."""

    counts: Tensor  # (groups, K): n_i
    sums: Tensor  # (groups, K, dim / groups): Σ z_e of the latents that chose i


class VectorQuantizer(nn.Module):
    """Nearest codebook vector with straight-through gradients.

    The codebook `(groups, K, dim / groups)` learns by its loss (`ema_decay=None`: it is a parameter) or by exponential
    moving averages (`update`, called by the training loop with the statistics of all processes; it then has no
    gradient). `commitment` is β.
    """

    def __init__(
        self, codebook_size: int, dim: int, ema_decay: float | None = None, commitment: float = 0.25, groups: int = 1
    ) -> None:
        super().__init__()
        self.ema_decay = ema_decay
        self.commitment = commitment
        codebook = torch.empty(groups, codebook_size, dim // groups).uniform_(-1 / codebook_size, 1 / codebook_size)
        self.codebook = nn.Parameter(codebook, requires_grad=ema_decay is None)
        self.ema_counts: Tensor
        self.ema_sums: Tensor
        self.steps_unused: Tensor
        self.started: Tensor
        self.register_buffer("ema_counts", torch.ones(groups, codebook_size))
        self.register_buffer("ema_sums", codebook.clone())
        self.register_buffer("steps_unused", torch.zeros(groups, codebook_size, dtype=torch.int64))
        self.register_buffer("started", torch.tensor(False))  # whether training has begun to quantise

    @property
    def groups(self) -> int:
        return self.codebook.shape[0]

    @property
    def codebook_size(self) -> int:
        return self.codebook.shape[1]

    def parts(self, latents: Tensor) -> Tensor:
        """Latents `(batch, dim, time)` as `(groups, batch · time, dim / groups)`."""
        return latents.unflatten(1, (self.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)

    def nearest(self, latents: Tensor) -> Tensor:
        """Units `(batch, groups, time)` of latents `(batch, dim, time)`: argmin_k ‖z_e − e_k‖ (eq. 1)."""
        # ‖z‖² is the same for every k and left out; float32 even under autocast: near ties must not flip
        with torch.autocast(latents.device.type, enabled=False):
            products = self.parts(latents).float() @ self.codebook.mT  # (G, B · T, K)
            distance = self.codebook.square().sum(2)[:, None] - 2 * products
        return distance.argmin(-1).unflatten(1, (len(latents), -1)).transpose(0, 1)

    def lookup(self, units: Tensor) -> Tensor:
        """Codebook vectors `(batch, dim, time)` of units `(batch, groups, time)`."""
        firsts = torch.arange(0, self.groups * self.codebook_size, self.codebook_size, device=units.device)
        vectors = F.embedding(units + firsts[:, None], self.codebook.flatten(0, 1))  # (B, G, T, dim / G)
        return vectors.transpose(2, 3).flatten(1, 2)

    def forward(self, latents: Tensor, quantize: bool = True) -> QuantizedLatents:
        """Quantises latents `(batch, dim, time)`; with `quantize` off they pass as they are and cost nothing."""
        units = self.nearest(latents)
        vectors = self.lookup(units)
        codebook_loss = F.mse_loss(vectors, latents.detach())
        commitment_loss = F.mse_loss(latents, vectors.detach())
        # weights of zero, not missing terms: every parameter then has a gradient, which data parallelism relies on;
        # with moving averages the codebook has none, and its loss no part in the total
        codebook_weight = 1.0 if quantize and self.ema_decay is None else 0.0
        commitment_weight = self.commitment if quantize else 0.0
        return QuantizedLatents(
            latents=latents + (vectors - latents).detach() if quantize else latents,
            units=units,
            codebook_loss=codebook_loss,
            commitment_loss=commitment_loss,
            cost=codebook_loss * codebook_weight + commitment_loss * commitment_weight,
        )

    @torch.no_grad()
    def statistics(self, latents: Tensor, units: Tensor) -> CodebookStatistics:
        parts = self.parts(latents).float()  # (G, B·T, dim / G)
        chosen = units.transpose(0, 1).flatten(1)  # (G, B·T)
        firsts = torch.arange(0, self.groups * self.codebook_size, self.codebook_size, device=units.device)
        rows = (chosen + firsts[:, None]).flatten()
        # not bincount, for which a GPU has to wait: it looks for the largest unit first
        ones = torch.ones_like(parts[..., 0]).flatten()
        counts = self.ema_counts.new_zeros(self.groups * self.codebook_size).index_add_(0, rows, ones)
        sums = torch.zeros_like(self.codebook).flatten(0, 1).index_add_(0, rows, parts.flatten(0, 1))
        return CodebookStatistics(counts.view_as(self.ema_counts), sums.view_as(self.codebook))

    @torch.no_grad()
    def update(self, statistics: CodebookStatistics) -> None:
        """One moving-average step (appendix A.1, eq. 6–8). Vectors whose running count falls to nothing stay."""
        self.steps_unused.add_(1).masked_fill_(statistics.counts > 0, 0)
        if self.ema_decay is None:
            return
        self.ema_counts.lerp_(statistics.counts, 1 - self.ema_decay)
        self.ema_sums.lerp_(statistics.sums, 1 - self.ema_decay)
        alive = (self.ema_counts > 1e-3)[..., None]
        self.codebook.copy_(torch.where(alive, self.ema_sums / self.ema_counts[..., None], self.codebook))

    @torch.no_grad()
    def place(self, vectors: Tensor, counts: Tensor) -> None:
        """Puts the codebook at `vectors`, shaped as it, as if each were chosen `counts` (groups, K) times per batch."""
        self.codebook.copy_(vectors)
        self.ema_counts.copy_(counts)
        self.ema_sums.copy_(vectors * counts[..., None])
        self.steps_unused.zero_()

    @torch.no_grad()
    def restart(self, latents: Tensor, after: int, generator: torch.Generator) -> Tensor:
        """Moves vectors unused for `after` steps to random latents `(batch, dim, time)`, as if chosen once each.

        Nothing here depends on how many there are, so that a GPU need not be asked.

        Returns:
            which have moved, `(groups, K)` bool.
        """
        candidates = self.parts(latents)
        order = torch.randperm(candidates.shape[1], generator=generator).to(latents.device, non_blocking=True)
        dead = self.steps_unused >= after
        turn = dead.cumsum(1) - 1  # of each dead vector among them
        moved = dead & (turn < len(order))
        places = order[turn.clamp(0, len(order) - 1)]  # (G, K)
        vectors = candidates.gather(1, places[..., None].expand(-1, -1, candidates.shape[2]))
        for tensor, value in ((self.codebook, vectors), (self.ema_sums, vectors), (self.ema_counts[..., None], 1.0)):
            tensor.copy_(torch.where(moved[..., None], value, tensor))
        self.steps_unused.masked_fill_(moved, 0)
        return moved
