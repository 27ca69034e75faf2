"""What the decoder is told: latents and speaker, once per frame."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audio_vq.models.period import PitchPeriod

LEAK = 0.1  # of the network: with plain ReLUs it can die early, and the decoder then hears no latents


@dataclass(frozen=True, eq=False)
class Voice:
    """What a conditioner knows of a speaker."""

    embedding: Tensor  # (speaker channels,)
    own: Tensor  # (own channels,): added to what the embedding says to network and layers; zeros of trained speakers
    pitch_range: tuple[float, float]  # median in Hz, spread in semitones


class Conditioner(nn.Module):
    """Latents `(batch, dim, units)`, speakers `(batch,)` → conditioning `(batch, rows, frames, 2R)`, with gate bias.

    A row for each layer of the decoder; with `period` one more, whose values all are the pitch period in steps.

    Args:
        channels: of a network over neighbouring latents and the speaker; 0 leaves the latents as they are.
        frames_per_unit: conditioning vectors per unit (needs `channels`).
        speaker_channels: of the speaker embedding; 0 = one-hot.
        spectrum: values per unit of the spectrum that the network also says (needs `channels`); 0 = none.
        period: of the pitch that is asked for, for decoders that look back as far.
        joined: how many of the speakers, the last ones, joined a trained model.

    Attributes:
        reach: units to either side of a unit that its conditioning depends on.
        own: `(joined, own channels)` of the last speakers, those who joined a trained model; None where none did.
    """

    def __init__(
        self,
        dim: int,
        speakers: int,
        layers: int,
        residual_channels: int,
        channels: int = 0,
        frames_per_unit: int = 1,
        speaker_channels: int = 0,
        spectrum: int = 0,
        period: PitchPeriod | None = None,
        joined: int = 0,
    ) -> None:
        super().__init__()
        self.period = period
        self.num_layers = layers
        self.reach = 3 if channels else 0  # convolutions of window 3
        if speaker_channels:
            self.speaker = nn.Embedding(speakers, speaker_channels)
        else:
            self.speaker = nn.Embedding.from_pretrained(torch.eye(speakers), freeze=True)
        self.network = Network(dim, self.speaker.embedding_dim, channels, frames_per_unit) if channels else None
        self.spectrum = nn.Linear(channels, spectrum) if spectrum else None
        self.from_latents = nn.Linear(channels or dim, layers * 2 * residual_channels)
        self.from_speaker = nn.Linear(self.speaker.embedding_dim, layers * 2 * residual_channels, bias=False)
        self.own_channels = channels + layers * 2 * residual_channels
        own = torch.zeros(joined, self.own_channels) if joined else None
        self.own = None if own is None else nn.Parameter(own, requires_grad=False)

    def voice(self, speaker: Tensor, emphasis: float = 0.0) -> Tensor:
        """Embeddings `(batch, speaker channels)`, led on by so much of their distance from the average speaker's.

        What is said is then more of the speaker's than it would be (as classifier-free guidance exaggerates a
        condition, Ho and Salimans 2022).
        """
        voice: Tensor = self.speaker(speaker)
        return voice + emphasis * (voice - self.average_voice) if emphasis else voice

    @property
    def joined(self) -> int:
        """Speakers, the last ones, who joined a trained model."""
        return 0 if self.own is None else len(self.own)

    @property
    def average_voice(self) -> Tensor:
        """`(speaker channels,)`, of the speakers the model was trained with."""
        return self.speaker.weight[: self.speaker.num_embeddings - self.joined].mean(0)

    def join(self, voice: Voice) -> None:
        """One more speaker, the last one."""
        rows = [self.speaker.weight, voice.embedding[None]]
        self.speaker = nn.Embedding.from_pretrained(torch.cat([each.detach() for each in rows]))
        own = [*([] if self.own is None else [self.own]), voice.own[None]]
        self.own = nn.Parameter(torch.cat([each.detach() for each in own]), requires_grad=False)
        if self.period is not None:
            self.period.join(voice.pitch_range)

    def blend(self, speakers: Tensor, shares: Tensor, pitch_range: tuple[float, float]) -> Voice:
        """Somebody between speakers `(n,)`, by shares `(n,)` whose sum is 1."""
        with torch.no_grad():
            return Voice(shares @ self.speaker(speakers), shares @ self._own(speakers), pitch_range)

    def forward(self, latents: Tensor, speaker: Tensor, emphasis: float = 0.0) -> Tensor:
        said = self.said(speaker, emphasis)
        frames = self.network.frames(self.network.context(latents, said[0])) if self.network else latents
        return self._conditioning(frames, latents, speaker, said[1])

    def with_spectrum(self, latents: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """Conditioning, and the spectrum `(batch, units, spectrum)` that the network makes of the same."""
        assert self.network is not None
        to_network, to_layers = self.said(speaker)
        context = self.network.context(latents, to_network)
        conditioning = self._conditioning(self.network.frames(context), latents, speaker, to_layers)
        return conditioning, self._spectrum(context)

    def said_spectrum(self, latents: Tensor, speaker: Tensor, emphasis: float = 0.0) -> Tensor:
        """The spectrum alone."""
        assert self.network is not None
        return self._spectrum(self.network.context(latents, self.said(speaker, emphasis)[0]))

    def said(self, speaker: Tensor, emphasis: float = 0.0) -> tuple[Tensor, Tensor]:
        """What speakers `(batch,)` say to the network `(batch, channels)` and to the layers `(batch, layers · 2R)`."""
        voice = self.voice(speaker, emphasis)
        to_network, to_layers = self.network.voice(voice) if self.network else voice[:, :0], self.from_speaker(voice)
        if self.own is None:
            return to_network, to_layers
        own = (1 + emphasis) * self._own(speaker)
        channels = to_network.shape[1]
        return to_network + own[:, :channels], to_layers + own[:, channels:]

    def _own(self, speaker: Tensor) -> Tensor:
        """`(batch, own channels)`."""
        trained = self.speaker.weight.new_zeros(1, self.own_channels)
        if self.own is None:
            return trained.expand(len(speaker), -1)
        first = self.speaker.num_embeddings - len(self.own)
        return torch.cat([trained, self.own])[(speaker - first + 1).clamp(0)]

    def _spectrum(self, context: Tensor) -> Tensor:
        assert self.spectrum is not None
        return self.spectrum(context.transpose(1, 2))

    def _conditioning(self, frames: Tensor, latents: Tensor, speaker: Tensor, said: Tensor) -> Tensor:
        """Frames are `(batch, channels, F)`, what speakers say to the layers `(batch, layers · 2R)`."""
        total = self.from_latents(frames.transpose(1, 2)) + said[:, None]
        rows = total.unflatten(2, (self.num_layers, -1)).transpose(1, 2)  # (B, layers, F, 2R)
        if self.period is None:
            return rows
        periods = self.period(latents, speaker).to(rows).repeat_interleave(rows.shape[2] // latents.shape[2], 1)
        return torch.cat([rows, periods[:, None, :, None].expand(-1, 1, -1, rows.shape[3])], 1)


class Network(nn.Module):
    """Neighbouring latents and the speaker, seen together: what a unit sounds like depends on both."""

    def __init__(self, dim: int, speaker_channels: int, channels: int, frames_per_unit: int) -> None:
        super().__init__()
        self.before = nn.Conv1d(dim, channels, 3, padding=1)
        self.voice = nn.Linear(speaker_channels, channels, bias=False)
        self.middle = nn.Conv1d(channels, channels, 3, padding=1)
        self.split = nn.ConvTranspose1d(channels, channels, frames_per_unit, stride=frames_per_unit)
        self.after = nn.Conv1d(channels, channels, 3, padding=1)
        for layer, taps in ((self.before, 3), (self.middle, 3), (self.split, 1), (self.after, 3)):
            _begin_as_loud(layer, taps * layer.in_channels)

    def context(self, latents: Tensor, said: Tensor) -> Tensor:
        """`(batch, dim, units)`, of speakers `(batch, channels)`, by `voice` → `(batch, channels, units)`."""
        x = F.leaky_relu(self.before(latents) + said[..., None], LEAK)
        return x + F.leaky_relu(self.middle(x), LEAK)

    def frames(self, context: Tensor) -> Tensor:
        """`(batch, channels, units)` → `(batch, channels, frames)`."""
        return self.after(F.leaky_relu(self.split(context), LEAK))


def _begin_as_loud(layer: nn.Conv1d | nn.ConvTranspose1d, inputs: int) -> None:
    """Begin with weights that keep the variance of activations (He et al. 2015). `inputs`: values an output sums.

    A decoder that hears its latents faintly at first learns to do without, and the encoder gets faint gradients.
    """
    nn.init.normal_(layer.weight, std=nn.init.calculate_gain("leaky_relu", LEAK) / math.sqrt(inputs))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
