"""The VQ-VAE: encoder, quantiser and WaveNet composed (van den Oord et al. 2017, eq. 3)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from audio_vq.audio import mu_law_encode
from audio_vq.config import ModelConfig, filterbank_hop_length, hop_length
from audio_vq.errors import UserError
from audio_vq.models.encoder import Encoder, Filterbank
from audio_vq.models.quantizer import QuantizedLatents, VectorQuantizer
from audio_vq.models.wavenet import Conditioner, WaveNet

NATS_TO_BITS = 1 / math.log(2)


@dataclass(frozen=True)
class Losses:
    """One batch's losses, each a scalar in bits per sample (nats / ln 2).

    The quantiser's terms are squared distances, put on the same scale as the likelihood they are added to.
    """

    total: Tensor
    reconstruction: Tensor
    encoded: Tensor  # (batch, dim, units): z_e, detached
    quantized: QuantizedLatents


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

    def __init__(self, encoder: Encoder, quantizer: VectorQuantizer, wavenet: WaveNet, sample_rate: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.quantizer = quantizer
        self.wavenet = wavenet
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

    def latents(self, waveform: Tensor, quantize: bool = True) -> Tensor:
        """What the decoder reads of a waveform, `(batch, dim, units)`: codebook vectors, or z_e where not quantised."""
        encoded = self.encoder(waveform)
        return self.quantizer.lookup(self.quantizer.nearest(encoded)) if quantize else encoded

    def forward(self, waveform: Tensor, speaker: Tensor, quantize: bool = True) -> Losses:
        """Losses of a batch; `speaker` is `(batch,)` int64. Without `quantize` the decoder reads z_e as it is."""
        encoded = self.encoder(waveform)
        quantized = self.quantizer(encoded, quantize)
        reconstruction = bits_per_sample(self.wavenet, waveform, quantized.latents, speaker)
        return Losses(
            total=reconstruction + quantized.cost * NATS_TO_BITS,
            reconstruction=reconstruction,
            encoded=encoded.detach(),
            quantized=quantized,
        )

    def conditioning_bits(
        self, waveform: Tensor, speaker: Tensor, num_speakers: int, quantize: bool = True
    ) -> ConditioningBits:
        """What the units and the speaker are worth, on a batch in which neighbours are of different utterances."""
        return conditioning_bits(self.wavenet, waveform, self.latents(waveform, quantize), speaker, num_speakers)


def bits_per_sample(wavenet: WaveNet, waveform: Tensor, latents: Tensor, speaker: Tensor) -> Tensor:
    """Mean negative log-likelihood of the waveform's mu-law classes, a scalar in bits."""
    targets = mu_law_encode(waveform, wavenet.embedding.num_embeddings)
    return wavenet.loss(targets, latents, speaker) * NATS_TO_BITS


@torch.no_grad()
def conditioning_bits(
    wavenet: WaveNet, waveform: Tensor, latents: Tensor, speaker: Tensor, num_speakers: int
) -> ConditioningBits:
    """What the latents `(batch, dim, units)` and the speaker are worth; see `VQVAEModel.conditioning_bits`."""

    def bits(latents: Tensor, speaker: Tensor) -> float:
        return bits_per_sample(wavenet, waveform, latents, speaker).item()

    # a fixed rotation through the other speakers: every wrong one is used, none is the right one
    turn = 1 + torch.arange(len(speaker), device=speaker.device) % max(num_speakers - 1, 1)
    return ConditioningBits(
        bits_true=bits(latents, speaker),
        bits_shuffled=bits(latents.roll(1, 0), speaker) if len(waveform) > 1 else None,
        bits_zero=bits(torch.zeros_like(latents), speaker),
        bits_wrong_speaker=bits(latents, (speaker + turn) % num_speakers) if num_speakers > 1 else None,
    )


def build_vqvae(config: ModelConfig, num_speakers: int) -> VQVAEModel:
    """The model a configuration describes, with fresh weights.

    Raises:
        UserError: it describes a VAE, which has no units.
    """
    if config.bottleneck != "quantized":
        raise UserError("this model has Gaussian latents (model.bottleneck=gaussian) and so no units; give another")
    quantizer = config.quantizer
    decay = quantizer.ema_decay if quantizer.update == "ema" else None
    return VQVAEModel(
        encoder=build_encoder(config, quantizer.dim),
        quantizer=VectorQuantizer(quantizer.codebook_size, quantizer.dim, decay, quantizer.commitment),
        wavenet=build_wavenet(config, num_speakers),
        sample_rate=config.sample_rate,
    )


def build_encoder(config: ModelConfig, dim: int) -> Encoder:
    """With `dim` output channels."""
    encoder = config.encoder
    filterbank = None
    if encoder.filterbank:
        hop = filterbank_hop_length(config.sample_rate)
        filterbank = Filterbank(encoder.filterbank, config.sample_rate, hop)
    return Encoder(
        strides=list(encoder.strides),
        channels=encoder.channels,
        dim=dim,
        residual_blocks=encoder.residual_blocks,
        layer_norm=encoder.layer_norm,
        filterbank=filterbank,
    )


def build_wavenet(config: ModelConfig, num_speakers: int) -> WaveNet:
    """A decoder of latents with `quantizer.dim` channels."""
    wavenet = config.wavenet
    conditioner = Conditioner(
        dim=config.quantizer.dim,
        speakers=num_speakers,
        layers=wavenet.layers,
        residual_channels=wavenet.residual_channels,
        channels=wavenet.conditioning_channels,
        frames_per_unit=wavenet.conditioning_frames,
        speaker_channels=wavenet.speaker_channels,
    )
    return WaveNet(
        classes=config.mu_law_classes,
        layers=wavenet.layers,
        dilation_cycle=wavenet.dilation_cycle,
        kernel_size=wavenet.kernel_size,
        residual_channels=wavenet.residual_channels,
        skip_channels=wavenet.skip_channels,
        hop_length=hop_length(config) // wavenet.conditioning_frames,
        conditioner=conditioner,
    )
