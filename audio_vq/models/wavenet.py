"""WaveNet decoder: p(waveform | latents, speaker), one step of mu-law classes at a time, a class per band.

van den Oord et al. 2016, "WaveNet", sections 2.1–2.5: dilated causal convolutions with gated activation, residual and
skip connections, conditioned locally (latents) and globally (speaker).

A layer with dilation d, here for kernel size 2:

    z_t = W_past x_{t−d} + W_now x_t + V c_t          c_t: latents and speaker
    g_t = tanh(z_t[:R]) ⊙ σ(z_t[R:])
    x_t ← x_t + W_res g_t ;   skip_t ← skip_t + W_skip g_t

Inside, time comes before channels, `(batch, time, channels)`: a dilated convolution is then one plain matrix product,
several times faster on CPUs than a dilated `Conv1d`. Conditioning is computed once per frame, never per step.
With pitch taps a step also sees what was said one pitch period ago (`period.py`): an odd number of steps around that.

On CPUs `loss` is fused (`fused_loss.py`).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audio_vq.kernels import cpu
from audio_vq.models.bands import Bands
from audio_vq.models.conditioner import Conditioner
from audio_vq.models.fused_loss import DecoderWeights, FusedLoss, supported
from audio_vq.models.gated import gated_convolution


class WaveNet(nn.Module):
    """Autoregressive decoder over the mu-law classes of a waveform's bands.

    Args:
        bands: between waveform and classes.
        layers, dilation_cycle, kernel_size: dilations are 1, 2 … 2^(cycle − 1), repeated.
        residual_channels: R; the gate has 2 R channels.
        skip_channels: S.
        frame_length: steps per conditioning frame.
        conditioner: latents and speaker → conditioning; it knows the pitch period if there are pitch taps.
        pitch_taps: steps around one pitch period ago that a step sees; 0 or an odd number.
    """

    def __init__(
        self,
        bands: Bands,
        layers: int,
        dilation_cycle: int,
        kernel_size: int,
        residual_channels: int,
        skip_channels: int,
        frame_length: int,
        conditioner: Conditioner,
        pitch_taps: int = 0,
    ) -> None:
        super().__init__()
        self.bands = bands
        self.classes = bands.classes
        self.dilations = [2 ** (i % dilation_cycle) for i in range(layers)]
        self.kernel_size = kernel_size
        self.frame_length = frame_length
        self.conditioner = conditioner
        self.bfloat16_products = False  # whether the fused training loss may multiply in bfloat16
        self.fused_loss = FusedLoss(tuple(self.dilations))
        self.pitch_taps = pitch_taps
        # the last step's classes, a table per band one below another; what they say is summed. Below are such tables of
        # every pitch tap, and a row that says that there was nothing
        last = bands.bands * self.classes
        self.embedding = nn.Embedding(last * (1 + pitch_taps) + (pitch_taps > 0), residual_channels)
        nn.init.normal_(self.embedding.weight[:last], std=bands.bands**-0.5)
        nn.init.zeros_(self.embedding.weight[last:])
        self.layers = nn.ModuleList(
            GatedLayer(residual_channels, kernel_size, dilation, last=i == layers - 1)
            for i, dilation in enumerate(self.dilations)
        )
        # the skip projections of all layers side by side: one matrix product instead of a sum of many
        self.skip = nn.Linear(layers * residual_channels, skip_channels)
        self.hidden = nn.Linear(skip_channels, skip_channels)
        self.output = nn.Linear(skip_channels, bands.bands * self.classes)

    @property
    def receptive_field(self) -> int:
        """How many previous samples a prediction depends on: whole steps, and what a step's bands reach beyond it.

        The last step and, with pitch taps, one period back, are what the first layer sees.
        """
        period = self.conditioner.period
        seen = period.longest + self.pitch_taps // 2 if period else 1
        steps = seen + (self.kernel_size - 1) * sum(self.dilations)
        return steps * self.bands.bands + (self.bands.reach if self.bands.bands > 1 else 0)

    @property
    def silence(self) -> int:
        """The class of amplitude zero: what precedes the first step, in every band."""
        return self.classes // 2

    def loss(self, targets: Tensor, latents: Tensor, speaker: Tensor) -> Tensor:
        """Mean −ln p(target) over all steps and bands, a scalar; arguments as in `forward`."""
        return self.conditioned_loss(targets, self.conditioner(latents, speaker))

    def conditioned_loss(self, targets: Tensor, conditioning: Tensor) -> Tensor:
        """As `loss`, of what the conditioner has made of latents and speaker."""
        if supported(self.embedding.weight, self.kernel_size):
            wanted = self.bfloat16_products or torch.is_autocast_enabled("cpu")
            bfloat16 = wanted and cpu.HAS_BFLOAT16 and torch.is_grad_enabled()
            frames = conditioning[:, : len(self.layers)].transpose(1, 2).float()
            seen = self.seen(targets, conditioning)
            return self.fused_loss(self._weights(), frames, seen, targets, bfloat16=bfloat16)
        return F.cross_entropy(self._logits(targets, conditioning).float(), targets)

    def forward(self, targets: Tensor, latents: Tensor, speaker: Tensor) -> Tensor:
        """Teacher-forced prediction of every step from those before it.

        Args:
            targets: `(batch, bands, time)` mu-law classes; time = units × steps per unit.
            latents: `(batch, dim, units)`.
            speaker: `(batch,)` int64.

        Returns:
            logits `(batch, classes, bands, time)`; those at t depend on targets before t only.
        """
        return self._logits(targets, self.conditioner(latents, speaker))

    def _logits(self, targets: Tensor, conditioning: Tensor) -> Tensor:
        """Conditioning is `(batch, rows, frames, 2R)`, as the conditioner makes it."""
        x = self.embedding(self.seen(targets, conditioning)).sum(2)  # (B, T, R): time first from here …
        gates = []
        for layer, frames in zip(self.layers, conditioning[:, : len(self.layers)].unbind(1), strict=True):
            x, gate = layer(x, frames)
            gates.append(gate)
        skip = F.relu(self.skip(torch.cat(gates, 2)))
        logits = self.output(F.relu(self.hidden(skip)))
        return logits.unflatten(2, (self.bands.bands, -1)).permute(0, 3, 2, 1)  # … to here

    def seen(self, targets: Tensor, conditioning: Tensor) -> Tensor:
        """Rows of the embedding that a step reads, `(batch, time, bands · (1 + pitch taps))`: what it sees said."""
        bands, device = self.bands.bands, targets.device
        firsts = torch.arange(0, bands * self.classes, self.classes, device=device)[:, None]  # of each band's classes
        seen = [F.pad(targets[..., :-1], (1, 0), value=self.silence) + firsts]
        if self.pitch_taps:
            time = torch.arange(targets.shape[2], device=device)
            periods = conditioning[:, -1, :, 0].long().repeat_interleave(self.frame_length, 1)  # (B, T)
            for tap in range(self.pitch_taps):
                ago = time - periods + (tap - self.pitch_taps // 2)
                said = targets.gather(2, ago.clamp(0, len(time) - 1)[:, None].expand(-1, bands, -1))
                said = said + firsts + (1 + tap) * bands * self.classes
                seen.append(torch.where(((periods > 0) & (ago >= 0))[:, None], said, len(self.embedding.weight) - 1))
        return torch.cat(seen, 1).transpose(1, 2)

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
