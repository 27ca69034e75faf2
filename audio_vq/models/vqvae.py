"""The VQ-VAE: encoder, quantiser and WaveNet composed (van den Oord et al. 2017, eq. 3).

In the quantiser's place a Gaussian bottleneck makes it the VAE that the paper compares with.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from audio_vq.audio import mu_law_encode
from audio_vq.config import ModelConfig, filterbank_hop_length, hop_length
from audio_vq.errors import UserError
from audio_vq.models.encoder import Encoder, Filterbank
from audio_vq.models.gaussian import GaussianBottleneck
from audio_vq.models.quantizer import VectorQuantizer
from audio_vq.models.wavenet import Conditioner, WaveNet

NATS_TO_BITS = 1 / math.log(2)


class Narrowed(Protocol):
    """What a bottleneck makes of the encoder's outputs: `QuantizedLatents` or `GaussianLatents`."""

    @property
    def latents(self) -> Tensor:
        """What the decoder reads, `(batch, dim, units)`."""

    @property
    def cost(self) -> Tensor:
        """What is added to the loss, a scalar on the scale of nats per waveform sample."""


class Bottleneck(Protocol):
    """What lies between encoder and decoder: `VectorQuantizer` or `GaussianBottleneck`.

    `strength`, from 0 to 1, is how far it is in force: a quantiser is off at 0 and on above, a Gaussian's KL weight
    is scaled by it.
    """

    def __call__(self, outputs: Tensor, strength: float = 1.0, /) -> Narrowed:
        """For training."""

    def settled(self, outputs: Tensor, strength: float = 1.0, /) -> Tensor:
        """The latents alone, without chance: for everything after training."""


@dataclass(frozen=True)
class Losses:
    """One batch's losses, each a scalar in bits per sample (nats / ln 2), and what the bottleneck did.

    The quantiser's terms are squared distances, put on the same scale as the likelihood they are added to.
    """

    total: Tensor
    reconstruction: Tensor
    bottleneck: Tensor
    outputs: Tensor  # (batch, channels, units), the encoder's, detached
    narrowed: Narrowed


@dataclass(frozen=True)
class ConditioningBits:
    """Bits per waveform sample when the decoder is given the truth, or something else.

    A decoder that ignores its latents needs the same bits whatever units it is given: `bits_shuffled − bits_true` is
    what the units are worth. `None` where there is nobody else to compare with.
    """

    bits_true: float
    bits_shuffled: float | None  # the units of another utterance
    bits_zero: float  # all-zero latents
    bits_wrong_speaker: float | None


class VQVAEModel(nn.Module):
    """Waveforms `(batch, time)` in [−1, 1]; time is a multiple of `hop_length`. Units `(batch, time / hop_length)`."""

    def __init__(self, encoder: Encoder, bottleneck: Bottleneck, wavenet: WaveNet, sample_rate: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.wavenet = wavenet
        self.sample_rate = sample_rate
        self.register_load_state_dict_pre_hook(_under_todays_names)

    @property
    def quantizer(self) -> VectorQuantizer:
        """The bottleneck of a model with units.

        Raises:
            UserError: this model has none.
        """
        if not isinstance(self.bottleneck, VectorQuantizer):
            raise UserError("this model has Gaussian latents (model.bottleneck=gaussian) and so no units; give another")
        return self.bottleneck

    @property
    def hop_length(self) -> int:
        return self.encoder.hop_length

    @property
    def classes(self) -> int:
        return self.wavenet.embedding.num_embeddings

    def encode(self, waveform: Tensor) -> Tensor:
        """Units of a waveform."""
        return self.quantizer.nearest(self.encoder(waveform))

    def latents(self, waveform: Tensor, strength: float = 1.0) -> Tensor:
        """What the decoder reads of a waveform, `(batch, dim, units)`, without chance."""
        return self.bottleneck.settled(self.encoder(waveform), strength)

    def forward(self, waveform: Tensor, speaker: Tensor, strength: float = 1.0) -> Losses:
        """Losses of a batch; `speaker` is `(batch,)` int64, `strength` the bottleneck's."""
        outputs = self.encoder(waveform)
        narrowed = self.bottleneck(outputs, strength)
        reconstruction = self.bits(waveform, narrowed.latents, speaker)
        cost = narrowed.cost * NATS_TO_BITS
        return Losses(
            total=reconstruction + cost,
            reconstruction=reconstruction,
            bottleneck=cost,
            outputs=outputs.detach(),
            narrowed=narrowed,
        )

    def bits(self, waveform: Tensor, latents: Tensor, speaker: Tensor) -> Tensor:
        """Mean negative log-likelihood of the waveform's mu-law classes, bits per sample."""
        targets = mu_law_encode(waveform, self.classes)
        return self.wavenet.loss(targets, latents, speaker) * NATS_TO_BITS

    @torch.no_grad()
    def conditioning_bits(
        self, waveform: Tensor, speaker: Tensor, num_speakers: int, strength: float = 1.0
    ) -> ConditioningBits:
        """What the latents and the speaker are worth, on a batch in which neighbours are of different utterances."""
        latents = self.latents(waveform, strength)
        others = latents.roll(1, 0)
        # a fixed rotation through the other speakers: every wrong one is used, none is the right one
        turn = 1 + torch.arange(len(speaker), device=speaker.device) % max(num_speakers - 1, 1)
        wrong = (speaker + turn) % num_speakers
        return ConditioningBits(
            bits_true=self.bits(waveform, latents, speaker).item(),
            bits_shuffled=self.bits(waveform, others, speaker).item() if len(waveform) > 1 else None,
            bits_zero=self.bits(waveform, torch.zeros_like(latents), speaker).item(),
            bits_wrong_speaker=self.bits(waveform, latents, wrong).item() if num_speakers > 1 else None,
        )


def _under_todays_names(_model: nn.Module, weights: dict[str, Any], prefix: str, *_: Any) -> None:
    """Takes weights of the time when there was no other bottleneck than the quantiser."""
    before = f"{prefix}quantizer."
    for name in [name for name in weights if name.startswith(before)]:
        weights[f"{prefix}bottleneck.{name.removeprefix(before)}"] = weights.pop(name)


def build_bottleneck(config: ModelConfig) -> VectorQuantizer | GaussianBottleneck:
    if config.bottleneck == "gaussian":
        return GaussianBottleneck(hop_length(config), config.gaussian.kl_weight, config.gaussian.free_bits)
    quantizer = config.quantizer
    decay = quantizer.ema_decay if quantizer.update == "ema" else None
    return VectorQuantizer(quantizer.codebook_size, quantizer.dim, decay, quantizer.commitment)


def build_vqvae(config: ModelConfig, num_speakers: int) -> VQVAEModel:
    """The model a configuration describes, with fresh weights."""
    encoder, quantizer, wavenet = config.encoder, config.quantizer, config.wavenet
    filterbank = None
    if encoder.filterbank:
        hop = filterbank_hop_length(config.sample_rate)
        filterbank = Filterbank(encoder.filterbank, config.sample_rate, hop)
    net = Encoder(
        strides=list(encoder.strides),
        channels=encoder.channels,
        dim=quantizer.dim * (2 if config.bottleneck == "gaussian" else 1),  # mean and log-variance
        residual_blocks=encoder.residual_blocks,
        layer_norm=encoder.layer_norm,
        filterbank=filterbank,
    )
    conditioner = Conditioner(
        dim=quantizer.dim,
        speakers=num_speakers,
        layers=wavenet.layers,
        residual_channels=wavenet.residual_channels,
        channels=wavenet.conditioning_channels,
        frames_per_unit=wavenet.conditioning_frames,
        speaker_channels=wavenet.speaker_channels,
    )
    return VQVAEModel(
        encoder=net,
        bottleneck=build_bottleneck(config),
        wavenet=WaveNet(
            classes=config.mu_law_classes,
            layers=wavenet.layers,
            dilation_cycle=wavenet.dilation_cycle,
            kernel_size=wavenet.kernel_size,
            residual_channels=wavenet.residual_channels,
            skip_channels=wavenet.skip_channels,
            hop_length=net.hop_length // wavenet.conditioning_frames,
            conditioner=conditioner,
        ),
        sample_rate=config.sample_rate,
    )
