"""What can be configured: the only home of defaults. YAML in `conf/` states only what differs.

The same dataclasses are Hydra's schema, are written into every checkpoint's `config.json`, and rebuild the model.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any


@dataclass
class EncoderConfig:
    """Strided convolutions over the waveform. Hop length = filterbank hop × product of strides."""

    strides: list[int] = field(default_factory=lambda: [2, 2, 2, 2, 2, 2])  # each with a window of 2 × stride
    channels: int = 512
    residual_blocks: int = 0  # convolutions of window 3 at the unit rate, each with a skip
    layer_norm: bool = False  # over channels, between convolutions: without it small budgets collapse
    filterbank: int = 0  # filters of a learned Gabor filterbank before the strides (hop 10 ms); 0 = none


@dataclass
class QuantizerConfig:
    codebook_size: int = 512  # K
    dim: int = 64  # D, channels of latents and codebook vectors
    update: str = "loss"  # "loss" (paper, eq. 3) or "ema" (paper, appendix A.1)
    ema_decay: float = 0.99
    commitment: float = 0.25  # β
    continuous_share: float = 0.0  # share of the training budget before quantisation begins
    kmeans_start: bool = False  # codebook begins as k-means centres of encoder outputs
    restart_after: int = 0  # steps without use after which a codebook vector restarts at a latent; 0 = never


@dataclass
class GaussianConfig:
    """Latents of a standard VAE; their number of channels is `quantizer.dim`."""

    kl_weight: float = 1.0  # 1 is the evidence lower bound
    anneal_share: float = 0.0  # share of the training budget over which the weight rises from zero
    free_bits: float = 0.0  # bits per unit and latent channel that cost nothing


@dataclass
class WaveNetConfig:
    layers: int = 30
    dilation_cycle: int = 10  # dilations 1, 2, 4 … 2^(cycle − 1), repeated
    kernel_size: int = 2
    residual_channels: int = 64
    skip_channels: int = 128
    speaker_channels: int = 0  # of the speaker embedding; 0 = one-hot, as in the paper
    conditioning_channels: int = 0  # of a convolution over latents before they condition; 0 = latents as they are
    conditioning_frames: int = 1  # conditioning vectors per unit, from a transposed convolution


@dataclass
class ModelConfig:
    """Encoder, bottleneck and decoder of one VQ-VAE."""

    sample_rate: int = 16000  # Hz
    mu_law_classes: int = 256
    bottleneck: str = "quantized"  # or "gaussian": a VAE to compare with, without units
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    gaussian: GaussianConfig = field(default_factory=GaussianConfig)
    wavenet: WaveNetConfig = field(default_factory=WaveNetConfig)


@dataclass
class PriorConfig:
    """Decoder-only transformer over units."""

    layers: int = 4
    heads: int = 4
    channels: int = 256
    context: int = 256  # units it looks back on; also the length of a training example
    dropout: float = 0.1


@dataclass
class TrainConfig:
    """Budget, optimiser and bookkeeping: the same for the VQ-VAE and the prior."""

    minutes: float | None = None  # budget in minutes of training, or
    steps: int | None = None  # in optimiser steps; with both, whichever ends first
    batch_size: int = 4
    crop_length: int = 10240  # samples per training example (VQ-VAE; the prior's is prior.context, in units)
    learning_rate: float = 2e-3
    encoder_rate_scale: float = 1.0  # the encoder's share of the learning rate
    filterbank_rate_scale: float = 0.02  # the filterbank's
    warmup_steps: int = 50
    decay_share: float = 0.4  # last share of the budget, over which the learning rate falls to zero
    max_grad_norm: float = 1.0
    weight_decay: float = 0.0
    weight_average: float = 0.999  # decay of the moving average of weights that is used and published
    speaker_balance: float = 0.5  # speakers are drawn ∝ seconds ** balance: 0 = evenly, 1 = as they are
    validations: int = 10  # spread evenly over the budget, each saves a checkpoint
    validation_crops: int = 32
    save_minutes: float = 5.0  # longest time between checkpoints
    gradient_accumulation: int = 1
    # "bf16"; "no" = float32; "auto" = bf16 where it pays: all of the model on GPUs, the compiled decoder on CPUs
    mixed_precision: str = "auto"
    threads: int = 0  # CPU threads; 0 = all cores


@dataclass
class TrainRun:
    """`audio-vq train`."""

    data: str = "???"  # prepared corpus
    run: str = "???"  # folder of this run
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    seed: int = 0
    device: str = "auto"


@dataclass
class TrainPriorRun:
    """`audio-vq train-prior`."""

    model: str = "???"  # checkpoint that makes the units
    data: str = "???"
    run: str = "???"
    prior: PriorConfig = field(default_factory=PriorConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    seed: int = 0
    device: str = "auto"


FILTERBANK_HOP_SECONDS = 0.01


def hop_length(model: ModelConfig) -> int:
    """Waveform samples per unit."""
    frontend = round(FILTERBANK_HOP_SECONDS * model.sample_rate) if model.encoder.filterbank else 1
    return frontend * math.prod(model.encoder.strides)


def as_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain dictionaries and lists."""
    return dataclasses.asdict(config)
