"""The decoder that is measured, and what it has to say."""

from dataclasses import dataclass

import torch
from torch import Tensor

from audio_vq.audio import Waveform, mu_law_encode
from audio_vq.models.vqvae import NATS_TO_BITS, VQVAEModel
from audio_vq.models.wavenet import WaveNet

BITS_WHEN_TRAINED = 4.0  # per sample: what trained decoders need for speech, about


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
        latents: `(dim, units)`.
        speaker: whose voice.
        targets: mu-law classes `(time,)` for teacher forcing; None = the decoder's own.
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
    context: dict[str, str]

    @property
    def voice(self) -> Tensor:
        """The speaker as a batch of one."""
        return torch.tensor([self.speaker], device=self.latents.device)

    @property
    def hop_length(self) -> int:
        """Samples per unit."""
        return self.wavenet.conditioner(self.latents[None, :, :1], self.voice).shape[2] * self.wavenet.hop_length

    @property
    def multiply_adds(self) -> int:
        """Per sample, of the matrix products; conditioning, once per unit, is not counted."""
        wavenet = self.wavenet
        linears = [wavenet.skip, wavenet.hidden, wavenet.output]
        matrices = [*wavenet.layers.parameters(), *(linear.weight for linear in linears)]
        return sum(matrix.numel() for matrix in matrices if matrix.ndim > 1)


@torch.no_grad()
def make_decoder(
    network: VQVAEModel,
    speech: Speech | None,
    seconds: float,
    prefix: str,
    context: dict[str, str],
    trained: bool,
) -> Decoder:
    """A decoder with `seconds` of speech, or with made-up latents where there is none.

    Args:
        network: of which it is a part.
        speech: what it has to say, if not something made up.
        seconds: at least one unit is kept.
        prefix: of the names of its measurements.
        context: what it is.
        trained: else it is made as decided as a trained one, and its latents are made up: an untrained encoder's
            say nothing.
    """
    units = max(1, round(seconds * network.sample_rate / network.hop_length))
    latents = torch.randn(network.quantizer.codebook.shape[1], units, generator=_generator())
    targets = None
    if speech is not None:
        units = min(units, len(speech.waveform) // network.hop_length)
        waveform = torch.from_numpy(speech.waveform[: units * network.hop_length])
        targets = mu_law_encode(waveform, network.classes)
        quantized = network.quantizer.lookup(network.encode(waveform[None]))[0]
        latents = quantized if trained else latents[:, :units]
    if not trained:
        decide(network.wavenet, latents)
    speaker = speech.speaker if speech is not None and trained else 0
    return Decoder(network.wavenet, latents, speaker, targets, network.sample_rate, prefix, context)


@torch.no_grad()
def decide(wavenet: WaveNet, latents: Tensor, bits: float = BITS_WHEN_TRAINED) -> None:
    """Scales the output layer of fresh weights until the mean entropy of predictions is `bits`, as when trained.

    Fresh networks find all classes nearly alike, which hides what rounded weights do.
    """
    latents = latents[None, :, :8]
    voice = torch.zeros(1, dtype=torch.int64)
    time = wavenet.conditioner(latents, voice).shape[2] * wavenet.hop_length
    targets = torch.randint(wavenet.embedding.num_embeddings, (1, time), generator=_generator())
    logits = wavenet(targets, latents, voice)[0].T.double()  # (time, classes)
    low, high = 0.0, 16.0  # of log2 of the scale; entropy falls as it grows
    for _ in range(30):
        middle = (low + high) / 2
        entropy = torch.distributions.Categorical(logits=logits * 2**middle).entropy().mean() * NATS_TO_BITS
        low, high = (middle, high) if entropy > bits else (low, middle)
    wavenet.output.weight.mul_(2**low)
    wavenet.output.bias.mul_(2**low)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
