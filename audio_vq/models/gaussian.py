"""A VAE with Gaussian latents, with which the VQ-VAE is compared.

Kingma & Welling 2014, "Auto-encoding variational Bayes". The encoder's output layer gives mean and log-variance of
q(z | waveform), the prior p(z) is N(0, 1). Before a strong autoregressive decoder such latents are known to end unused
("posterior collapse", van den Oord et al. 2017, section 1); free bits are one of the known remedies (Kingma et al.
2016, "Improved variational inference with inverse autoregressive flow", eq. 15).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from audio_vq.config import ModelConfig, hop_length
from audio_vq.models.encoder import Encoder
from audio_vq.models.filterbank import Perturbation
from audio_vq.models.vqvae import (
    NATS_TO_BITS,
    ConditioningBits,
    Heard,
    build_encoder,
    build_wavenet,
    conditioning_bits,
    spoken_part,
)
from audio_vq.models.wavenet import WaveNet

LOG_VARIANCE_LIMIT = 15.0  # e^15 is far beyond what learns; it keeps a wild first step finite


@dataclass(frozen=True)
class GaussianLatents:
    """What the bottleneck makes of the encoder's outputs."""

    latents: Tensor  # (batch, dim, units): a sample of q in training, its mean in evaluation
    kl: Tensor  # (batch, dim, units): KL(q ‖ p) of each latent, nats
    cost: Tensor  # scalar, nats per waveform sample: what the KL adds to the loss

    @property
    def nats_per_unit(self) -> Tensor:
        """KL of all channels of a unit, averaged over units: a scalar."""
        return self.kl.detach().sum(1).mean()


@dataclass(frozen=True)
class GaussianLosses:
    """One batch's losses, scalars in bits per waveform sample."""

    total: Tensor
    reconstruction: Tensor
    latents: GaussianLatents


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

    def forward(self, outputs: Tensor, annealing: float = 1.0) -> GaussianLatents:
        """`annealing`, 0 to 1, scales the weight of the KL."""
        mean, log_variance = mean_and_log_variance(outputs)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        per_channel = kl.mean((0, 2)).clamp(min=self.free_bits * math.log(2))  # (dim,), nats per unit
        noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        return GaussianLatents(
            latents=mean + (0.5 * log_variance).exp() * noise,
            kl=kl,
            cost=per_channel.sum() * (annealing * self.kl_weight / self.hop_length),
        )


class GaussianVAE(nn.Module):
    """`VQVAEModel` with Gaussian latents in place of the quantiser's: the same encoder and decoder, but no units."""

    said_filterbank = None  # its decoder says no spectrum

    def __init__(self, encoder: Encoder, bottleneck: GaussianBottleneck, wavenet: WaveNet) -> None:
        super().__init__()
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.wavenet = wavenet

    @property
    def hop_length(self) -> int:
        return self.encoder.hop_length

    def latents(self, heard: Heard) -> Tensor:
        """The means, `(batch, dim, units)`: what the decoder reads after training, without chance."""
        return mean_and_log_variance(self.encoder(heard.waveform, heard.mean))[0]

    def read(self, heard: Heard) -> Tensor:
        return self.latents(heard)

    def conditioning_bits(self, heard: Heard, num_speakers: int) -> ConditioningBits:
        """As `VQVAEModel.conditioning_bits`."""
        return conditioning_bits(self.wavenet, heard, self.latents(heard), num_speakers)

    def forward(
        self,
        heard: Heard,
        perturbation: Perturbation | None = None,
        annealing: float = 1.0,
        spoken_units: int | None = None,
    ) -> GaussianLosses:
        """Losses of a batch; arguments as of `VQVAEModel`, `annealing` as of the bottleneck."""
        encoded = self.encoder(heard.waveform, heard.mean, perturbation=perturbation)
        latents = self.bottleneck(encoded, annealing)
        targets = self.wavenet.bands.encode(heard.waveform)
        conditioning = self.wavenet.conditioner(latents.latents, heard.speaker)
        if spoken_units is not None:
            targets, conditioning = spoken_part(targets, conditioning, encoded.shape[2], spoken_units)
        reconstruction = self.wavenet.conditioned_loss(targets, conditioning) * NATS_TO_BITS
        return GaussianLosses(reconstruction + latents.cost * NATS_TO_BITS, reconstruction, latents)


def mean_and_log_variance(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Of q(z | waveform), each `(batch, dim, units)`; float32 even under autocast, for small KLs are differences."""
    mean, log_variance = outputs.float().chunk(2, 1)
    return mean, log_variance.clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)


def build_gaussian_vae(config: ModelConfig, num_speakers: int) -> GaussianVAE:
    """The model a configuration with `bottleneck` gaussian describes, with fresh weights."""
    gaussian = config.gaussian
    return GaussianVAE(
        encoder=build_encoder(config, 2 * config.quantizer.dim),  # mean and log-variance
        bottleneck=GaussianBottleneck(hop_length(config), gaussian.kl_weight, gaussian.free_bits),
        wavenet=build_wavenet(config, num_speakers),
    )
