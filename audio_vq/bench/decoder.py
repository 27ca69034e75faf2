"""The decoder that is measured, and what it has to say."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audio_vq.audio.waveform import Waveform
from audio_vq.models.vqvae import NATS_TO_BITS
from audio_vq.models.wavenet import WaveNet
from audio_vq.pretrained import VQVAE

BITS_WHEN_TRAINED = 4.0  # per class: what trained decoders need for speech, about


@dataclass(frozen=True)
class Speech:
    """Recorded speech at the models' sample rate, of one speaker if the model knows who it is."""

    waveform: Waveform
    speaker: int = 0


@dataclass(frozen=True)
class Decoder:
    """A WaveNet and a stretch of speech.

    Attributes:
        wavenet: on a CPU, float32.
        latents: `(dim, units)`: what it reads of units.
        speaker: whose voice.
        targets: mu-law classes `(bands, steps)` for teacher forcing; None = the decoder's own.
        sample_rate: Hz.
        prefix: of the names of its measurements.
        context: what it is, for the context of its measurements.
    """

    wavenet: WaveNet
    latents: Tensor
    speaker: int
    targets: Tensor | None
    sample_rate: int
    prefix: str
    context: dict[str, Any]

    @property
    def voice(self) -> Tensor:
        """The speaker as a batch of one."""
        return torch.tensor([self.speaker], device=self.latents.device)

    @property
    def hop_length(self) -> int:
        """Samples per unit."""
        frames = self.wavenet.conditioner(self.latents[None, :, :1], self.voice).shape[2]
        return frames * self.wavenet.frame_length * self.wavenet.bands.bands

    @property
    def multiply_adds(self) -> float:
        """Per waveform sample, of the matrix products; conditioning, once per unit, is not counted."""
        wavenet = self.wavenet
        linears = [wavenet.skip, wavenet.hidden, wavenet.output]
        matrices = [*wavenet.layers.parameters(), *(linear.weight for linear in linears)]
        return sum(matrix.numel() for matrix in matrices if matrix.ndim > 1) / wavenet.bands.bands


@torch.no_grad()
def make_decoder(
    model: VQVAE,
    speech: Speech | None,
    seconds: float,
    prefix: str,
    context: dict[str, Any],
    trained: bool,
) -> Decoder:
    """A decoder with `seconds` of speech, or with made-up latents where there is none.

    Args:
        model: of which it is a part.
        speech: what it has to say, if not something made up.
        seconds: at least one unit is kept.
        prefix: of the names of its measurements.
        context: what it is.
        trained: else it is made as decided as a trained one, and its latents are made up: an untrained encoder's
            say nothing.
    """
    wavenet, hop_length, targets = model.network.wavenet, model.hop_length, None
    units = max(1, round(seconds * model.unit_rate_hz))
    if speech is not None:
        units = min(units, len(speech.waveform) // hop_length)
        waveform = speech.waveform[: units * hop_length]
        targets = wavenet.bands.encode(torch.from_numpy(waveform)[None])[0]
    if speech is not None and trained:
        latents = model.codec.lookup(model.encode(waveform, model.sample_rate, match_level=False))
    else:
        latents = _made_up(model, units)
    if not trained:
        decide(wavenet, latents)
    speaker = speech.speaker if speech is not None and trained else 0
    context = {**context, "bands": wavenet.bands.bands}
    return Decoder(wavenet, latents, speaker, targets, model.sample_rate, prefix, context)


def _made_up(model: VQVAE, units: int) -> Tensor:
    """What the decoder might read of so many units, `(dim, units)`."""
    generator = _generator()
    latents = torch.randn(1, model.config.quantizer.dim, units, generator=generator)
    pitch = torch.randint(max(1, model.pitch_classes), (1, units), generator=generator)
    return model.network.with_pitch(latents, pitch)[0]


@torch.no_grad()
def decide(wavenet: WaveNet, latents: Tensor, bits: float = BITS_WHEN_TRAINED) -> None:
    """Scales the output layer of fresh weights until the mean entropy of predictions is `bits`, as when trained.

    Fresh networks find all classes nearly alike, which hides what rounded weights do.
    """
    latents = latents[None, :, :8]
    voice = torch.zeros(1, dtype=torch.int64)
    steps = wavenet.conditioner(latents, voice).shape[2] * wavenet.frame_length
    targets = torch.randint(wavenet.classes, (1, wavenet.bands.bands, steps), generator=_generator())
    logits = wavenet(targets, latents, voice)[0].permute(1, 2, 0).double()  # (bands, time, classes)
    low, high = 0.0, 16.0  # of log2 of the scale; entropy falls as it grows
    for _ in range(30):
        middle = (low + high) / 2
        entropy = torch.distributions.Categorical(logits=logits * 2**middle).entropy().mean() * NATS_TO_BITS
        low, high = (middle, high) if entropy > bits else (low, middle)
    wavenet.output.weight.mul_(2**low)
    wavenet.output.bias.mul_(2**low)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
