"""The VQ-VAE: encoder, quantiser and WaveNet composed (van den Oord et al. 2017, eq. 3)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from audio_vq.audio import mu_law_encode
from audio_vq.config import FILTERBANK_HOP_SECONDS, ModelConfig
from audio_vq.models.encoder import Encoder, Filterbank
from audio_vq.models.quantizer import VectorQuantizer
from audio_vq.models.wavenet import Conditioner, WaveNet

NATS_TO_BITS = 1 / math.log(2)


@dataclass(frozen=True)
class Losses:
    """One batch's losses, each a scalar in bits per sample (nats / ln 2), and what the bottleneck did.

    The codebook and commitment terms are squared distances, put on the same scale as the likelihood they are added to.
    """

    total: Tensor
    reconstruction: Tensor
    codebook: Tensor
    commitment: Tensor
    latents: Tensor  # (batch, dim, units), before quantisation, detached
    units: Tensor  # (batch, units)


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

    def __init__(
        self,
        encoder: Encoder,
        quantizer: VectorQuantizer,
        wavenet: WaveNet,
        commitment: float,
        sample_rate: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.quantizer = quantizer
        self.wavenet = wavenet
        self.commitment = commitment
        self.sample_rate = sample_rate

    @property
    def hop_length(self) -> int:
        return self.encoder.hop_length

    @property
    def classes(self) -> int:
        return self.wavenet.embedding.num_embeddings

    def encode(self, waveform: Tensor) -> Tensor:
        """Units of a waveform."""
        return self.quantizer.nearest(self.encoder(waveform))

    def forward(self, waveform: Tensor, speaker: Tensor, quantize: bool = True) -> Losses:
        """Losses of a batch; `speaker` is `(batch,)` int64. Without `quantize` the decoder reads latents themselves."""
        latents = self.encoder(waveform)
        quantized = self.quantizer(latents)
        reconstruction = self.bits(waveform, quantized.latents if quantize else latents, speaker)
        # weights of zero, not missing terms: every parameter then has a gradient, which data parallelism relies on
        scale = NATS_TO_BITS if quantize else 0.0
        # with moving averages the codebook has no gradient and its loss no part in the total
        codebook = quantized.codebook_loss * (scale if self.quantizer.ema_decay is None else 0.0)
        commitment = quantized.commitment_loss * (scale * self.commitment)
        return Losses(
            total=reconstruction + codebook + commitment,
            reconstruction=reconstruction,
            codebook=codebook,
            commitment=commitment,
            latents=latents.detach(),
            units=quantized.units,
        )

    def bits(self, waveform: Tensor, latents: Tensor, speaker: Tensor) -> Tensor:
        """Mean negative log-likelihood of the waveform's mu-law classes, bits per sample."""
        targets = mu_law_encode(waveform, self.classes)
        return self.wavenet.loss(targets, latents, speaker) * NATS_TO_BITS

    @torch.no_grad()
    def conditioning_bits(
        self, waveform: Tensor, speaker: Tensor, num_speakers: int, quantize: bool = True
    ) -> ConditioningBits:
        """What the units and the speaker are worth, on a batch in which neighbours are of different utterances."""
        latents = self.encoder(waveform)
        if quantize:
            latents = self.quantizer.lookup(self.quantizer.nearest(latents))
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


def build_vqvae(config: ModelConfig, num_speakers: int) -> VQVAEModel:
    """The model a configuration describes, with fresh weights."""
    encoder, quantizer, wavenet = config.encoder, config.quantizer, config.wavenet
    filterbank = None
    if encoder.filterbank:
        hop = round(FILTERBANK_HOP_SECONDS * config.sample_rate)
        filterbank = Filterbank(encoder.filterbank, config.sample_rate, hop)
    net = Encoder(
        strides=list(encoder.strides),
        channels=encoder.channels,
        dim=quantizer.dim,
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
        quantizer=VectorQuantizer(
            quantizer.codebook_size, quantizer.dim, quantizer.ema_decay if quantizer.update == "ema" else None
        ),
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
        commitment=quantizer.commitment,
        sample_rate=config.sample_rate,
    )
