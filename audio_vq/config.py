"""What can be configured: the only home of defaults. YAML in `conf/` states only what differs.

The same dataclasses are Hydra's schema, are written into every checkpoint's `config.json`, and rebuild the model. Each
refuses impossible values when it is made, from whatever source: nothing impossible reaches a model.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from audio_vq.errors import UserError

FILTERBANK_HOP_SECONDS = 0.01
FILTERBANK_HOP_MULTIPLE = 4  # samples: energies are computed four times per hop
MOST_CHANNELS = 1 << 14
MOST_EMPHASIS = 4.0


@dataclass(frozen=True)
class Range:
    """What a setting may be: a number, ends included, or one of the `choices`."""

    least: float = -math.inf
    most: float = math.inf
    choices: tuple[str | int, ...] = ()
    text: str = ""  # instead of the ends, where they say it badly

    def __contains__(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isfinite(value) and self.least <= value <= self.most

    def __str__(self) -> str:
        upper = f"from {self.least} to {self.most}" if math.isfinite(self.most) else f"from {self.least}"
        return self.text or " or ".join(map(str, self.choices)) or upper


SHARE = Range(0, 1 - 1e-9, text="from 0, below 1")  # of a budget, of which something has to be left
ABOVE_ZERO = Range(1e-12, text="above 0")
SEED = Range(0, 2**64 - 1)


def setting(default: Any, least: float | Range, most: float = math.inf) -> Any:
    """A field with a range."""
    return field(default=default, metadata={"allowed": least if isinstance(least, Range) else Range(least, most)})


def refuse_impossible(config: Any, place: str) -> None:
    """Raises UserError naming the first setting of a dataclass that is out of its range.

    Of a list the range is that of each element; None, where it is the default, means not given.
    """
    for entry in dataclasses.fields(config):
        allowed, value = entry.metadata.get("allowed"), getattr(config, entry.name)
        if allowed is None or (value is None and entry.default is None):
            continue
        is_whole = entry.type in (int, int | None, list[int])
        expected = f"{'whole numbers' if is_whole else 'numbers'} " if not allowed.choices else ""
        given = value if isinstance(value, list) else [value]
        if not given or any(one not in allowed or (is_whole and one != int(one)) for one in given):
            raise UserError(f"{place}{entry.name}={value}: expected {expected}{allowed}")


@dataclass
class EncoderConfig:
    """Strided convolutions over the waveform. Hop length = filterbank hop × product of strides."""

    # each with a window of 2 × stride
    strides: list[int] = field(default_factory=lambda: [2, 2, 2, 2, 2, 2], metadata={"allowed": Range(1, 1024)})
    channels: int = setting(512, 1, MOST_CHANNELS)
    residual_blocks: int = setting(0, 0, 256)  # convolutions of window 3 at the unit rate, each with a skip
    layer_norm: bool = False  # over channels, between convolutions: without it small budgets collapse
    # filters of a learned Gabor filterbank before the strides (hop 10 ms); 0 = none
    filterbank: int = setting(0, 0, 1024)
    centred: bool = False  # take a recording's mean spectrum off: most of what tells voices and microphones apart

    def __post_init__(self) -> None:
        refuse_impossible(self, "model.encoder.")


@dataclass
class QuantizerConfig:
    codebook_size: int = setting(512, 2, 1 << 20)  # K
    dim: int = setting(64, 1, MOST_CHANNELS)  # D, channels of latents; divided among the groups
    groups: int = setting(1, 1, 64)  # G codebooks of K vectors each: so many units stand side by side
    # "loss" (paper, eq. 3) or "ema" (paper, appendix A.1)
    update: str = setting("loss", Range(choices=("loss", "ema")))
    ema_decay: float = setting(0.99, SHARE)
    commitment: float = setting(0.25, 0)  # β
    continuous_share: float = setting(0.0, SHARE)  # share of the training budget before quantisation begins
    kmeans_start: bool = False  # codebook begins as k-means centres of encoder outputs
    # steps without use after which a codebook vector restarts at a latent; 0 = never
    restart_after: int = setting(0, 0)

    def __post_init__(self) -> None:
        refuse_impossible(self, "model.quantizer.")


@dataclass
class GaussianConfig:
    """Latents of a standard VAE; their number of channels is `quantizer.dim`."""

    kl_weight: float = setting(1.0, 0)  # 1 is the evidence lower bound
    anneal_share: float = setting(0.0, SHARE)  # share of the training budget over which the weight rises from zero
    free_bits: float = setting(0.0, 0)  # bits per unit and latent channel that cost nothing

    def __post_init__(self) -> None:
        refuse_impossible(self, "model.gaussian.")


@dataclass
class WaveNetConfig:
    bands: int = setting(1, Range(choices=(1, 2, 4, 8)))  # a step says one class of each; 1 = the waveform itself
    layers: int = setting(30, 1, 1024)
    dilation_cycle: int = setting(10, 1, 20)  # dilations 1, 2, 4 … 2^(cycle − 1), repeated
    kernel_size: int = setting(2, 1, 64)
    residual_channels: int = setting(64, 1, MOST_CHANNELS)
    skip_channels: int = setting(128, 1, MOST_CHANNELS)
    speaker_channels: int = setting(0, 0, MOST_CHANNELS)  # of the speaker embedding; 0 = one-hot, as in the paper
    # of a network over neighbouring latents and the speaker before they condition; 0 = latents as they are
    conditioning_channels: int = setting(0, 0, MOST_CHANNELS)
    conditioning_frames: int = setting(1, 1, 1024)  # conditioning vectors per unit, from a transposed convolution
    # of the error of a log spectrum that the conditioning network has to say as well; 0 = it need not
    spectrum_weight: float = setting(0.0, 0)
    pitch_taps: int = setting(0, 0, 31)  # steps around one pitch period ago that a step sees; 0, or an odd number

    def __post_init__(self) -> None:
        refuse_impossible(self, "model.wavenet.")


@dataclass
class ModelConfig:
    """Encoder, bottleneck and decoder of one VQ-VAE."""

    sample_rate: int = setting(16000, 4000, 96000)  # Hz
    mu_law_classes: int = setting(256, 4, 1 << 15)
    # classes of pitch beside the units, in a speaker's own range; the first is "unvoiced"; 0 = no pitch
    pitch: int = setting(0, 0, 256)
    # or "gaussian": a VAE to compare with, without units
    bottleneck: str = setting("quantized", Range(choices=("quantized", "gaussian")))
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    gaussian: GaussianConfig = field(default_factory=GaussianConfig)
    wavenet: WaveNetConfig = field(default_factory=WaveNetConfig)

    def __post_init__(self) -> None:
        refuse_impossible(self, "model.")
        hop, wavenet, quantizer = hop_length(self), self.wavenet, self.quantizer
        bands, frames = wavenet.bands, wavenet.conditioning_frames
        if hop % (bands * frames):
            raise UserError(
                f"model.wavenet.bands={bands} times model.wavenet.conditioning_frames={frames} does not divide the hop "
                f"length {hop}"
            )
        if quantizer.dim % quantizer.groups:
            raise UserError(f"model.quantizer.dim={quantizer.dim} is not a multiple of groups={quantizer.groups}")
        if 0 < self.pitch < 3:
            raise UserError(f"model.pitch={self.pitch}: expected 0, or 3 classes or more, the first for unvoiced units")
        if not wavenet.conditioning_channels and (frames > 1 or wavenet.spectrum_weight):
            raise UserError(
                "model.wavenet.conditioning_frames and spectrum_weight need model.wavenet.conditioning_channels above 0"
            )
        if wavenet.pitch_taps and (not self.pitch or wavenet.pitch_taps % 2 == 0):
            raise UserError(
                f"model.wavenet.pitch_taps={wavenet.pitch_taps}: expected 0 or an odd number, and model.pitch above 0"
            )
        if self.bottleneck == "gaussian" and (self.pitch or wavenet.spectrum_weight):
            raise UserError("model.bottleneck=gaussian has no units: model.pitch and spectrum_weight are not for it")
        if not self.encoder.filterbank and (self.encoder.centred or wavenet.spectrum_weight):
            raise UserError("model.encoder.centred and model.wavenet.spectrum_weight need model.encoder.filterbank")


@dataclass
class PriorConfig:
    """Decoder-only transformer over units."""

    layers: int = setting(4, 1, 1024)
    heads: int = setting(4, 1, 1024)
    channels: int = setting(256, 2, MOST_CHANNELS)
    context: int = setting(256, 2, 1 << 20)  # units it looks back on; also the length of a training example
    dropout: float = setting(0.1, SHARE)

    def __post_init__(self) -> None:
        refuse_impossible(self, "prior.")
        if self.channels % (2 * self.heads):
            raise UserError(f"prior.channels={self.channels} is not a multiple of twice prior.heads={self.heads}")


@dataclass
class TrainConfig:
    """Budget, optimiser and bookkeeping: the same for the VQ-VAE and the prior."""

    minutes: float | None = setting(None, ABOVE_ZERO)  # budget in minutes of training, or
    steps: int | None = setting(None, 1)  # in optimiser steps; with both, whichever ends first
    batch_size: int = setting(4, 1)
    # samples per training example (VQ-VAE; the prior's is prior.context, in units)
    crop_length: int = setting(10240, 1)
    # samples of each crop that the decoder has to say, at most, from a random place on; 0 = all. The encoder, which is
    # quick, and the spectrum learn from the whole crop
    spoken_length: int = setting(0, 0)
    learning_rate: float = setting(2e-3, ABOVE_ZERO)
    # of the matrices in the decoder's layers: "adam", or "muon", which takes fewer steps
    optimizer: str = setting("adam", Range(choices=("adam", "muon")))
    encoder_rate_scale: float = setting(1.0, 0)  # the encoder's share of the learning rate
    filterbank_rate_scale: float = setting(0.02, 0)  # the filterbank's
    # of what the encoder hears, not of what the decoder must say: formants moved by up to this share
    warp: float = setting(0.0, 0, 1)
    equaliser_db: float = setting(0.0, 0, 60)  # a random smooth curve; standard deviation of each of its cosines
    # the default with which the model will speak: how far beyond its place, away from the average, a voice is led
    emphasis: float = setting(0.0, -1, MOST_EMPHASIS)
    warmup_steps: int = setting(50, 0)
    decay_share: float = setting(0.4, 0, 1)  # last share of the budget, over which the learning rate falls to zero
    max_grad_norm: float = setting(1.0, ABOVE_ZERO)
    weight_decay: float = setting(0.0, 0)
    weight_average: float = setting(0.999, SHARE)  # decay of the moving average of weights that is used and published
    speaker_balance: float = setting(0.5, 0, 1)  # speakers are drawn ∝ seconds ** balance: 0 = evenly, 1 = as they are
    validations: int = setting(10, 1)  # spread evenly over the budget, each saves a checkpoint
    validation_crops: int = setting(32, 1)
    save_minutes: float = setting(5.0, ABOVE_ZERO)  # longest time between checkpoints
    gradient_accumulation: int = setting(1, 1)
    # "bf16"; "no" = float32; "auto" = bf16 where it pays: all of the model on GPUs, the compiled decoder on CPUs
    mixed_precision: str = setting("auto", Range(choices=("auto", "no", "bf16")))
    threads: int = setting(0, 0, 4096)  # CPU threads; 0 = all cores

    def __post_init__(self) -> None:
        refuse_impossible(self, "train.")

    @property
    def spoken_samples(self) -> int:
        """Of each crop, those that the decoder says."""
        return min(self.spoken_length or self.crop_length, self.crop_length)


@dataclass
class TrainRun:
    """`audio-vq train`."""

    data: str = "???"  # prepared corpus
    run: str = "???"  # folder of this run
    # checkpoint whose weights training begins with: a folder, a run or a shipped model; none = fresh ones
    init: str = ""
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    seed: int = setting(0, SEED)
    device: str = setting("auto", Range(choices=("auto", "cpu", "cuda")))

    def __post_init__(self) -> None:
        refuse_impossible(self, "")
        hop, crop = hop_length(self.model), self.train.crop_length
        if crop % hop:
            raise UserError(
                f"train.crop_length={crop} is not a multiple of the model's hop length {hop} (strides "
                f"{list(self.model.encoder.strides)}); give train.crop_length={max(hop, crop // hop * hop)}"
            )
        if (self.train.warp or self.train.equaliser_db) and not self.model.encoder.filterbank:
            raise UserError(
                "train.warp and train.equaliser_db change spectra: they need model.encoder.filterbank above 0"
            )
        spoken = self.train.spoken_length
        if spoken % hop:
            raise UserError(f"train.spoken_length={spoken}: expected a multiple of the model's hop length {hop}")


@dataclass
class TrainPriorRun:
    """`audio-vq train-prior`."""

    model: str = "???"  # checkpoint that makes the units
    data: str = "???"
    run: str = "???"
    prior: PriorConfig = field(default_factory=PriorConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    seed: int = setting(0, SEED)
    device: str = setting("auto", Range(choices=("auto", "cpu", "cuda")))

    def __post_init__(self) -> None:
        refuse_impossible(self, "")


def filterbank_hop_length(sample_rate: int) -> int:
    """Samples: 10 ms, or the nearest multiple of four to it (440 at 44,100 Hz, 112 at 11,025 Hz)."""
    return FILTERBANK_HOP_MULTIPLE * round(FILTERBANK_HOP_SECONDS * sample_rate / FILTERBANK_HOP_MULTIPLE)


def hop_length(model: ModelConfig) -> int:
    """Waveform samples per unit."""
    frontend = filterbank_hop_length(model.sample_rate) if model.encoder.filterbank else 1
    return frontend * math.prod(model.encoder.strides)


def as_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain dictionaries and lists."""
    return dataclasses.asdict(config)
