"""The VQ-VAE: encoder, quantiser and WaveNet composed (van den Oord et al. 2017, eq. 3)."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audio_vq.config import ModelConfig, filterbank_hop_length, hop_length
from audio_vq.errors import UserError
from audio_vq.models.bands import Bands
from audio_vq.models.conditioner import Conditioner, Voice
from audio_vq.models.encoder import Encoder
from audio_vq.models.filterbank import Filterbank, Perturbation
from audio_vq.models.period import PitchPeriod
from audio_vq.models.quantizer import QuantizedLatents, VectorQuantizer
from audio_vq.models.wavenet import WaveNet
from audio_vq.pitch import centres_of

NATS_TO_BITS = 1 / math.log(2)


@dataclass(frozen=True)
class Heard:
    """A batch of recordings' stretches, with what is known of the recordings as a whole."""

    waveform: Tensor  # (batch, time) in [−1, 1]; time is a multiple of the hop length
    speaker: Tensor  # (batch,) int64
    mean: Tensor | None = None  # (batch, filters): mean spectra, of encoders that are centred
    pitch: Tensor | None = None  # (batch, units) int64: pitch classes, of models with pitch

    def to(self, device: torch.device) -> "Heard":
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "Heard":
        """In memory that a GPU can read by itself, while the program goes on."""
        return self._each(Tensor.pin_memory)

    def split(self, size: int) -> "Iterator[Heard]":
        """Parts of `size` stretches each."""
        for first in range(0, len(self.waveform), size):
            yield self._each(itemgetter(slice(first, first + size)))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Heard":
        mean, pitch = (None if known is None else change(known) for known in (self.mean, self.pitch))
        return Heard(change(self.waveform), change(self.speaker), mean, pitch)


@dataclass(frozen=True)
class Losses:
    """One batch's losses, each a scalar in bits per class (nats / ln 2).

    The quantiser's terms are squared distances, put on the same scale as the likelihood they are added to.
    """

    total: Tensor
    reconstruction: Tensor
    encoded: Tensor  # (batch, dim, units): z_e, detached
    quantized: QuantizedLatents


@dataclass(frozen=True)
class ConditioningBits:
    """Bits per waveform sample (of bands: per class) when the decoder is given the truth, or something else.

    A decoder that ignores its latents needs the same bits whatever units it is given: `bits_shuffled − bits_true` is
    what the units are worth. Pitch, where a model has it, stays true. `None` where there is nobody to compare with.
    """

    bits_true: float
    bits_shuffled: float | None  # the units of another utterance
    bits_zero: float  # all-zero latents
    bits_wrong_speaker: float | None


class VQVAEModel(nn.Module):
    """Waveforms `(batch, time)` in [−1, 1]; time is a multiple of `hop_length`.

    A model's code has several tracks `(batch, tracks, units)`: the units of each group, then pitch classes if it has
    them. What the decoder reads, `(batch, dim + pitch channels, units)`, is made of codes by `lookup`.
    """

    def __init__(self, encoder: Encoder, quantizer: VectorQuantizer, wavenet: WaveNet, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.quantizer = quantizer
        self.wavenet = wavenet
        self.sample_rate = config.sample_rate
        self.pitch_classes = config.pitch
        self.spectrum_weight = config.wavenet.spectrum_weight

    @property
    def hop_length(self) -> int:
        return self.encoder.hop_length

    @property
    def said_filterbank(self) -> Filterbank | None:
        """Whose spectrum the decoder's conditioning network says too; None where it says none."""
        return self.encoder.filterbank if self.wavenet.conditioner.spectrum else None

    @property
    def track_sizes(self) -> tuple[int, ...]:
        """How many values each track of the code may have."""
        pitch = (self.pitch_classes,) if self.pitch_classes else ()
        return (self.quantizer.codebook_size,) * self.quantizer.groups + pitch

    def with_speaker(self, voice: Voice) -> "VQVAEModel":
        """A copy that knows one more speaker, the last one."""
        network = copy.deepcopy(self)
        network.wavenet.conditioner.join(voice)
        return network

    def encode(self, heard: Heard) -> Tensor:
        """The code of a batch, `(batch, tracks, units)`."""
        units = self.quantizer.nearest(self.encoder(heard.waveform, heard.mean))
        return units if heard.pitch is None else torch.cat([units, heard.pitch[:, None]], 1)

    def lookup(self, codes: Tensor) -> Tensor:
        """What the decoder reads of codes `(batch, tracks, units)`."""
        groups = self.quantizer.groups
        return self.with_pitch(
            self.quantizer.lookup(codes[:, :groups]), codes[:, groups] if self.pitch_classes else None
        )

    def with_pitch(self, latents: Tensor, pitch: Tensor | None) -> Tensor:
        """What the decoder reads of latents and pitch classes."""
        if not self.pitch_classes:
            return latents
        assert pitch is not None
        return torch.cat([latents, pitch_channels(pitch, self.pitch_classes).to(latents)], 1)

    def latents(self, heard: Heard, quantize: bool = True) -> Tensor:
        """Codebook vectors `(batch, dim, units)` of a batch, or z_e where not quantised."""
        encoded = self.encoder(heard.waveform, heard.mean)
        return self.quantizer.lookup(self.quantizer.nearest(encoded)) if quantize else encoded

    def forward(
        self,
        heard: Heard,
        perturbation: Perturbation | None = None,
        quantize: bool = True,
        spoken_units: int | None = None,
    ) -> Losses:
        """Losses of a batch, of which the encoder hears a perturbed version.

        Without `quantize` the decoder reads z_e as it is. It says so many of each stretch's units, from a random place
        on; all by default.
        """
        spectrum = self.encoder.spectrum(heard.waveform, heard.mean)
        perturbed = perturbation(spectrum, self.sample_rate) if perturbation else spectrum
        encoded = self.encoder.of_spectrum(perturbed)
        quantized = self.quantizer(encoded, quantize)
        read = self.with_pitch(quantized.latents, heard.pitch)
        conditioner, cost = self.wavenet.conditioner, quantized.cost
        if conditioner.spectrum is None:
            conditioning = conditioner(read, heard.speaker)
        else:
            conditioning, said = conditioner.with_spectrum(read, heard.speaker)
            plain = spectrum if heard.mean is None else spectrum + heard.mean[:, None]
            cost = cost + self.spectrum_weight * F.mse_loss(said.flatten(1), plain.detach().flatten(1))
        targets = self.wavenet.bands.encode(heard.waveform)
        if spoken_units is not None:
            targets, conditioning = spoken_part(targets, conditioning, read.shape[2], spoken_units)
        reconstruction = self.wavenet.conditioned_loss(targets, conditioning)
        total = reconstruction + cost
        return Losses(
            total=total * NATS_TO_BITS,
            reconstruction=reconstruction * NATS_TO_BITS,
            encoded=encoded.detach(),
            quantized=quantized,
        )

    def read(self, heard: Heard, quantize: bool = True) -> Tensor:
        """What the decoder reads of a batch."""
        return self.with_pitch(self.latents(heard, quantize), heard.pitch)

    def conditioning_bits(self, heard: Heard, num_speakers: int, quantize: bool = True) -> ConditioningBits:
        """What the units and the speaker are worth, on a batch in which neighbours are of different utterances."""
        pitch = None if heard.pitch is None else pitch_channels(heard.pitch, self.pitch_classes)
        return conditioning_bits(self.wavenet, heard, self.latents(heard, quantize), num_speakers, pitch)


@torch.no_grad()
def conditioning_bits(
    wavenet: WaveNet, heard: Heard, latents: Tensor, num_speakers: int, pitch: Tensor | None = None
) -> ConditioningBits:
    """What latents `(batch, dim, units)` and the speaker are worth; see `VQVAEModel.conditioning_bits`.

    `pitch`: `(batch, channels, units)`, that the decoder reads beside the latents.
    """
    targets, speaker = wavenet.bands.encode(heard.waveform), heard.speaker

    def bits(latents: Tensor, speaker: Tensor) -> float:
        read = latents if pitch is None else torch.cat([latents, pitch], 1)
        return wavenet.loss(targets, read, speaker).item() * NATS_TO_BITS

    # a fixed rotation through the other speakers: every wrong one is used, none is the right one
    turn = 1 + torch.arange(len(speaker), device=speaker.device) % max(num_speakers - 1, 1)
    return ConditioningBits(
        bits_true=bits(latents, speaker),
        bits_shuffled=bits(latents.roll(1, 0), speaker) if len(speaker) > 1 else None,
        bits_zero=bits(torch.zeros_like(latents), speaker),
        bits_wrong_speaker=bits(latents, (speaker + turn) % num_speakers) if num_speakers > 1 else None,
    )


def spoken_part(targets: Tensor, conditioning: Tensor, units: int, spoken: int) -> tuple[Tensor, Tensor]:
    """So many units of each clip, from places that torch's generator draws.

    Targets are `(batch, bands, steps)`, conditioning `(batch, rows, frames, 2R)`, both of `units` units.
    """
    first = torch.randint(units - spoken + 1, (len(targets),)).tolist()
    steps, frames = targets.shape[2] // units, conditioning.shape[2] // units
    return (
        torch.stack([clip[:, u * steps : (u + spoken) * steps] for clip, u in zip(targets, first, strict=True)]),
        torch.stack([clip[:, u * frames : (u + spoken) * frames] for clip, u in zip(conditioning, first, strict=True)]),
    )


def pitch_channels(classes: Tensor, num_classes: int) -> Tensor:
    """What the decoder reads of pitch classes `(batch, units)`: voiced or not, and how far up; `(batch, 2, units)`."""
    voiced = (classes > 0).float()
    return torch.stack([voiced * 2 - 1, centres_of(classes, num_classes) * voiced], 1)


def build_vqvae(config: ModelConfig, num_speakers: int, joined: int = 0) -> VQVAEModel:
    """The model a configuration describes, with fresh weights; so many of its speakers, the last ones, have joined it.

    Raises:
        UserError: it describes a VAE, which has no units.
    """
    if config.bottleneck != "quantized":
        raise UserError("this model has Gaussian latents (model.bottleneck=gaussian) and so no units; give another")
    quantizer = config.quantizer
    decay = quantizer.ema_decay if quantizer.update == "ema" else None
    return VQVAEModel(
        encoder=build_encoder(config, quantizer.dim),
        quantizer=VectorQuantizer(
            quantizer.codebook_size, quantizer.dim, decay, quantizer.commitment, quantizer.groups
        ),
        wavenet=build_wavenet(config, num_speakers, joined),
        config=config,
    )


def build_encoder(config: ModelConfig, dim: int) -> Encoder:
    """With `dim` output channels."""
    encoder = config.encoder
    return Encoder(
        strides=list(encoder.strides),
        channels=encoder.channels,
        dim=dim,
        residual_blocks=encoder.residual_blocks,
        layer_norm=encoder.layer_norm,
        filterbank=build_filterbank(config) if encoder.filterbank else None,
        centred=encoder.centred,
    )


def build_filterbank(config: ModelConfig) -> Filterbank:
    hop = filterbank_hop_length(config.sample_rate)
    return Filterbank(config.encoder.filterbank, config.sample_rate, hop)


def build_wavenet(config: ModelConfig, num_speakers: int, joined: int = 0) -> WaveNet:
    """A decoder of latents with `quantizer.dim` channels, and of pitch where there is one."""
    wavenet, bands = config.wavenet, config.wavenet.bands
    frames = math.prod(config.encoder.strides)  # of the filterbank, per unit
    period = None
    if wavenet.pitch_taps:
        period = PitchPeriod(num_speakers, config.sample_rate / bands, shortest=1 + wavenet.pitch_taps // 2)
    conditioner = Conditioner(
        dim=config.quantizer.dim + (2 if config.pitch else 0),
        speakers=num_speakers,
        layers=wavenet.layers,
        residual_channels=wavenet.residual_channels,
        channels=wavenet.conditioning_channels,
        frames_per_unit=wavenet.conditioning_frames,
        speaker_channels=wavenet.speaker_channels,
        spectrum=frames * config.encoder.filterbank if wavenet.spectrum_weight else 0,
        period=period,
        joined=joined,
    )
    return WaveNet(
        bands=Bands(bands, config.mu_law_classes),
        layers=wavenet.layers,
        dilation_cycle=wavenet.dilation_cycle,
        kernel_size=wavenet.kernel_size,
        residual_channels=wavenet.residual_channels,
        skip_channels=wavenet.skip_channels,
        frame_length=hop_length(config) // (bands * wavenet.conditioning_frames),
        conditioner=conditioner,
        pitch_taps=wavenet.pitch_taps,
    )
