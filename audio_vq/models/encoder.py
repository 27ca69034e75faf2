"""Encoder: strided 1-D convolutions from waveform to latents.

van den Oord et al. 2017, section 4.3 (six convolutions of stride 2, window 4); the residual blocks at the unit rate
follow Chorowski et al. 2019, section III.
Every operation sees a bounded stretch of time and none depends on the length of its input, so that
a recording gets the same units alone, in a batch, or inside a longer recording.

Inside, tensors are `(batch, time, channels)`: a convolution is then one matrix product over overlapping rows, and the
norms are over what lies side by side in memory. `tests/test_encoder.py` holds it against `torch.nn.functional.conv1d`.
"""

import math

from torch import Tensor, nn

from audio_vq.models.convolution import Convolution, silenced
from audio_vq.models.filterbank import Filterbank, Perturbation


class Encoder(nn.Module):
    """Waveform `(batch, time)` → latents `(batch, dim, time / hop_length)`; time is a multiple of the hop length."""

    def __init__(
        self,
        strides: list[int],
        channels: int,
        dim: int,
        residual_blocks: int = 0,
        layer_norm: bool = False,
        filterbank: Filterbank | None = None,
        centred: bool = False,
    ) -> None:
        """`centred`: from what the filterbank gives, the recording's mean spectrum is taken off."""
        super().__init__()
        self.filterbank = filterbank
        self.centred = centred
        if filterbank and centred:  # a mean over whole recordings is not found anew for every step
            filterbank.requires_grad_(False)
        self.hop_length = math.prod(strides) * (filterbank.hop_length if filterbank else 1)
        layers: list[nn.Module] = []
        width = 1
        if filterbank:
            layers += [Convolution(filterbank.filters, channels, 3), channel_norm(channels, layer_norm), nn.ReLU()]
            width = channels
        for stride in strides:
            convolution = Convolution(width, channels, 2 * stride, stride)
            layers += [convolution, channel_norm(channels, layer_norm), nn.ReLU()]
            width = channels
        layers += [ResidualBlock(channels, layer_norm) for _ in range(residual_blocks)]
        layers.append(Convolution(channels, dim, 1))
        self.layers = nn.Sequential(*layers)

    @property
    def reach(self) -> int:
        """Samples to either side of a unit's stretch that it may depend on (an upper bound)."""
        hop, reach = 1, 0
        if self.filterbank:
            hop, reach = self.filterbank.hop_length, self.filterbank.reach
        for layer in self.layers:
            if isinstance(layer, ResidualBlock):
                reach += hop  # a window of 3
            elif isinstance(layer, Convolution):
                reach += (layer.kernel_size[0] - layer.stride[0] + 1) // 2 * hop
                hop *= layer.stride[0]
        return reach

    def forward(
        self,
        waveform: Tensor,
        mean: Tensor | None = None,
        inside: Tensor | None = None,
        perturbation: Perturbation | None = None,
    ) -> Tensor:
        """Latents of a waveform.

        Args:
            waveform: `(batch, time)`.
            mean: `(batch, filters)`, the recordings' mean spectra, of an encoder that is `centred`.
            inside: `(batch, time / hop_length)`, 1 for units of the recording, 0 for those beyond its ends: every layer
                then sees zeros there, as if the waveform ended where the recording does. The waveform is zero there.
            perturbation: of what the filterbank gives.
        """
        spectrum = self.spectrum(waveform, mean, inside)
        if perturbation and self.filterbank:
            spectrum = perturbation(spectrum, self.filterbank.sample_rate)
        return self.of_spectrum(spectrum, inside)

    def spectrum(self, waveform: Tensor, mean: Tensor | None = None, inside: Tensor | None = None) -> Tensor:
        """What the layers see, `(batch, frames, filters)`: without a filterbank the waveform itself."""
        if self.filterbank is None:
            return waveform[..., None]
        x = self.filterbank(waveform, inside)
        if self.centred:
            assert mean is not None
            x = x - mean[:, None]
        return x

    def of_spectrum(self, spectrum: Tensor, inside: Tensor | None = None) -> Tensor:
        x = silenced(spectrum, inside)
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.ReLU | ResidualBlock):  # what convolutions look at
                x = silenced(x, inside)
        return x.transpose(1, 2)  # (B, T / hop, dim) → (B, dim, T / hop)


class ResidualBlock(nn.Module):
    def __init__(self, channels: int, layer_norm: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Convolution(channels, channels, 3),
            channel_norm(channels, layer_norm),
            nn.ReLU(),
            Convolution(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def channel_norm(channels: int, wanted: bool) -> nn.Module:
    """Layer normalisation over the channels of each time step: no statistics over time, so length does not matter."""
    return nn.LayerNorm(channels) if wanted else nn.Identity()
