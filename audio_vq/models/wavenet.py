"""WaveNet decoder: p(waveform | latents, speaker), one mu-law class at a time.

van den Oord et al. 2016, "WaveNet", sections 2.1–2.5: dilated causal convolutions with gated activation, residual and
skip connections, conditioned locally (latents) and globally (speaker).

A layer with dilation d, here for kernel size 2:

    z_t = W_past x_{t−d} + W_now x_t + V c_t          c_t: latents and speaker
    g_t = tanh(z_t[:R]) ⊙ σ(z_t[R:])
    x_t ← x_t + W_res g_t ;   skip_t ← skip_t + W_skip g_t

Inside, time comes before channels, `(batch, time, channels)`: a dilated convolution is then one plain matrix product,
several times faster on CPUs than a dilated `Conv1d`. Conditioning is computed once per frame, never per sample.
On CPUs `loss` is fused (`fused_loss.py`).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audio_vq.kernels import cpu
from audio_vq.models.fused_loss import DecoderWeights, FusedLoss, supported
from audio_vq.models.gated import gated_convolution

LEAK = 0.1  # of the conditioning network: with plain ReLUs it can die early, and the decoder then hears no latents


class WaveNet(nn.Module):
    """Autoregressive decoder over mu-law classes.

    Args:
        classes: mu-law classes (256).
        layers, dilation_cycle, kernel_size: dilations are 1, 2 … 2^(cycle − 1), repeated.
        residual_channels: R; the gate has 2 R channels.
        skip_channels: S.
        hop_length: samples per conditioning frame.
        conditioner: latents and speaker → conditioning.
    """

    def __init__(
        self,
        classes: int,
        layers: int,
        dilation_cycle: int,
        kernel_size: int,
        residual_channels: int,
        skip_channels: int,
        hop_length: int,
        conditioner: "Conditioner",
    ) -> None:
        super().__init__()
        self.dilations = [2 ** (i % dilation_cycle) for i in range(layers)]
        self.kernel_size = kernel_size
        self.hop_length = hop_length
        self.conditioner = conditioner
        self.bfloat16_products = False  # whether the fused training loss may multiply in bfloat16
        self.fused_loss = FusedLoss(tuple(self.dilations), classes // 2)
        self.embedding = nn.Embedding(classes, residual_channels)
        self.layers = nn.ModuleList(
            GatedLayer(residual_channels, kernel_size, dilation, last=i == layers - 1)
            for i, dilation in enumerate(self.dilations)
        )
        # the skip projections of all layers side by side: one matrix product instead of a sum of many
        self.skip = nn.Linear(layers * residual_channels, skip_channels)
        self.hidden = nn.Linear(skip_channels, skip_channels)
        self.output = nn.Linear(skip_channels, classes)

    @property
    def receptive_field(self) -> int:
        """How many previous samples a prediction depends on."""
        return 1 + (self.kernel_size - 1) * sum(self.dilations)

    @property
    def silence(self) -> int:
        """The class of amplitude zero: what precedes the first sample."""
        return self.embedding.num_embeddings // 2

    def loss(self, targets: Tensor, latents: Tensor, speaker: Tensor) -> Tensor:
        """Mean −ln p(target) over all samples, a scalar; arguments as in `forward`."""
        if supported(self.embedding.weight, self.kernel_size):
            wanted = self.bfloat16_products or torch.is_autocast_enabled("cpu")
            bfloat16 = wanted and cpu.HAS_BFLOAT16 and torch.is_grad_enabled()
            conditioning = self.conditioner(latents, speaker).transpose(1, 2)
            return self.fused_loss(self._weights(), conditioning.float(), targets, bfloat16=bfloat16)
        logits = self(targets, latents, speaker).transpose(1, 2)  # (B, T, classes), as it lies in memory
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    def forward(self, targets: Tensor, latents: Tensor, speaker: Tensor) -> Tensor:
        """Teacher-forced prediction of every sample from those before it.

        Args:
            targets: `(batch, time)` mu-law classes; time = units × samples per unit.
            latents: `(batch, dim, units)`.
            speaker: `(batch,)` int64.

        Returns:
            logits `(batch, classes, time)`; those at t depend on targets before t only.
        """
        previous = F.pad(targets[:, :-1], (1, 0), value=self.silence)
        conditioning = self.conditioner(latents, speaker)  # (B, layers, frames, 2R)
        x = self.embedding(previous)  # (B, T, R): time first from here …
        gates = []
        for layer, frames in zip(self.layers, conditioning.unbind(1), strict=True):
            x, gate = layer(x, frames)
            gates.append(gate)
        skip = F.relu(self.skip(torch.cat(gates, 2)))
        logits = self.output(F.relu(self.hidden(skip)))
        return logits.transpose(1, 2)  # … to here

    def _weights(self) -> DecoderWeights:
        layers = [layer for layer in self.layers if isinstance(layer, GatedLayer)]
        residuals = [layer.residual for layer in layers if layer.residual is not None]
        none = self.embedding.weight[:0]  # of a single layer: (0, R)
        return DecoderWeights(
            taps=torch.stack([torch.cat([layer.weight[1], layer.weight[0]], 1) for layer in layers]),
            residual=torch.stack([each.weight for each in residuals]) if residuals else none[:, None] + none[..., None],
            skip=self.skip.weight,
            hidden=self.hidden.weight,
            output=self.output.weight,
            embedding=self.embedding.weight,
            residual_bias=torch.stack([each.bias for each in residuals]) if residuals else none,
            skip_bias=self.skip.bias,
            hidden_bias=self.hidden.bias,
            output_bias=self.output.bias,
        )


class GatedLayer(nn.Module):
    """One residual layer: `(batch, time, R)` → the next layer's input and the gate's output, of the same shape."""

    def __init__(self, channels: int, kernel_size: int, dilation: int, last: bool) -> None:
        super().__init__()
        self.dilation = dilation
        bound = 1 / math.sqrt(kernel_size * channels)
        # weight[0] is the present, weight[k] lies k · dilation samples back; the bias comes with the conditioning
        self.weight = nn.Parameter(torch.empty(kernel_size, 2 * channels, channels).uniform_(-bound, bound))
        self.residual = None if last else nn.Linear(channels, channels)  # nothing reads the last layer's output

    def forward(self, x: Tensor, conditioning: Tensor) -> tuple[Tensor, Tensor]:
        """`conditioning`: `(batch, frames, 2R)`, constant within a frame."""
        gate = gated_convolution(x, self.weight, conditioning, self.dilation)
        return (x + self.residual(gate) if self.residual else x), gate


class Conditioner(nn.Module):
    """Latents `(batch, dim, units)`, speakers `(batch,)` → conditioning `(batch, layers, frames, 2R)`, with gate bias.

    Args:
        channels: of a convolution over neighbouring latents; 0 leaves the latents as they are.
        frames_per_unit: conditioning vectors per unit (needs `channels`).
        speaker_channels: of the speaker embedding; 0 = one-hot.

    Attributes:
        reach: units to either side of a unit that its conditioning depends on.
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
    ) -> None:
        super().__init__()
        self.num_layers = layers
        self.context: nn.Module = nn.Identity()
        self.reach = 2 if channels else 0  # two convolutions of window 3
        if channels:
            before = nn.Conv1d(dim, channels, 3, padding=1)
            frames = nn.ConvTranspose1d(channels, channels, frames_per_unit, stride=frames_per_unit)
            after = nn.Conv1d(channels, channels, 3, padding=1)
            for layer, taps in ((before, 3), (frames, 1), (after, 3)):
                _begin_as_loud(layer, taps * layer.in_channels)
            self.context = nn.Sequential(before, nn.LeakyReLU(LEAK), frames, nn.LeakyReLU(LEAK), after)
        if speaker_channels:
            self.speaker = nn.Embedding(speakers, speaker_channels)
        else:
            self.speaker = nn.Embedding.from_pretrained(torch.eye(speakers), freeze=True)
        self.from_latents = nn.Linear(channels or dim, layers * 2 * residual_channels)
        self.from_speaker = nn.Linear(self.speaker.embedding_dim, layers * 2 * residual_channels, bias=False)

    def forward(self, latents: Tensor, speaker: Tensor) -> Tensor:
        frames = self.context(latents).transpose(1, 2)  # (B, F, C)
        total = self.from_latents(frames) + self.from_speaker(self.speaker(speaker))[:, None]  # (B, F, layers · 2R)
        return total.unflatten(2, (self.num_layers, -1)).transpose(1, 2)


def _begin_as_loud(layer: nn.Conv1d | nn.ConvTranspose1d, inputs: int) -> None:
    """Begin with weights that keep the variance of activations (He et al. 2015). `inputs`: values an output sums.

    A decoder that hears its latents faintly at first learns to do without, and the encoder gets faint gradients.
    """
    nn.init.normal_(layer.weight, std=nn.init.calculate_gain("leaky_relu", LEAK) / math.sqrt(inputs))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
