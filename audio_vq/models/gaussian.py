"""Gaussian latents: what the quantiser is compared with (Kingma & Welling 2014, "Auto-encoding variational Bayes").

The encoder's output layer gives mean and log-variance of q(z | waveform), the prior p(z) is N(0, 1). Before a strong
autoregressive decoder such latents are known to end unused ("posterior collapse", van den Oord et al. 2017, section 1);
free bits are one of the known remedies (Kingma et al. 2016, "Improved variational inference with inverse
autoregressive flow", eq. 15).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LOG_VARIANCE_LIMIT = 15.0  # e^15 is far beyond what learns; it keeps a wild first step finite


@dataclass(frozen=True)
class GaussianLatents:
    """What the Gaussian bottleneck makes of the encoder's outputs."""

    latents: Tensor  # (batch, dim, units): a sample of q in training, its mean in evaluation
    kl: Tensor  # (batch, dim, units): KL(q ‖ p) of each latent, nats
    cost: Tensor  # scalar, nats per waveform sample: what the KL adds to the loss


class GaussianBottleneck(nn.Module):
    """Mean and log-variance `(batch, 2 · dim, units)` → latents `(batch, dim, units)`. It has no weights of its own.

    Args:
        hop_length: waveform samples per unit, over which the KL of a unit is spread.
        kl_weight: of the KL in the loss; 1 is the evidence lower bound.
        free_bits: KL of each latent channel, averaged over the batch, below which it costs nothing (bits per unit).
    """

    def __init__(self, hop_length: int, kl_weight: float = 1.0, free_bits: float = 0.0) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.kl_weight = kl_weight
        self.free_bits = free_bits

    def forward(self, outputs: Tensor, strength: float = 1.0) -> GaussianLatents:
        """`strength`, 0 to 1, scales the weight of the KL: annealing raises it during training."""
        mean, log_variance = mean_and_log_variance(outputs)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        per_channel = kl.mean((0, 2)).clamp(min=self.free_bits * math.log(2))  # (dim,), nats per unit
        noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        return GaussianLatents(
            latents=mean + (0.5 * log_variance).exp() * noise,
            kl=kl,
            cost=per_channel.sum() * (strength * self.kl_weight / self.hop_length),
        )

    def settled(self, outputs: Tensor, strength: float = 1.0) -> Tensor:  # noqa: ARG002 - as for the quantiser
        """The mean: latents without chance."""
        return mean_and_log_variance(outputs)[0]


def mean_and_log_variance(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Of q(z | waveform), each `(batch, dim, units)`; float32 even under autocast, for small KLs are differences."""
    mean, log_variance = outputs.float().chunk(2, 1)
    return mean, log_variance.clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)
