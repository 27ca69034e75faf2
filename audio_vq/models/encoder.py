"""Encoder: strided 1-D convolutions from waveform to latents.

van den Oord et al. 2017, section 4.3 (six convolutions of stride 2, window 4); the residual blocks at the unit rate
follow Chorowski et al. 2019, section III; the filterbank Zeghidour et al. 2018, "Learning filterbanks from raw speech".
Every operation sees a bounded stretch of time and none depends on the length of its input, so that
a recording gets the same units alone, in a batch, or inside a longer recording.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Encoder(nn.Module):
    """Waveform `(batch, time)` → latents `(batch, dim, time / hop_length)`; time is a multiple of the hop length."""

    def __init__(
        self,
        strides: list[int],
        channels: int,
        dim: int,
        residual_blocks: int = 0,
        layer_norm: bool = False,
        filterbank: "Filterbank | None" = None,
    ) -> None:
        super().__init__()
        self.filterbank = filterbank
        self.hop_length = math.prod(strides) * (filterbank.hop_length if filterbank else 1)
        norm = ChannelNorm if layer_norm else nn.Identity
        layers: list[nn.Module] = []
        width = 1
        if filterbank:
            layers += [nn.Conv1d(filterbank.filters, channels, 3, padding=1), norm(channels), nn.ReLU()]
            width = channels
        for stride in strides:
            layers += [StridedConv(width, channels, stride), norm(channels), nn.ReLU()]
            width = channels
        layers += [ResidualBlock(channels, norm(channels)) for _ in range(residual_blocks)]
        layers.append(nn.Conv1d(channels, dim, 1))
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
            elif isinstance(layer, nn.Conv1d):
                reach += (layer.kernel_size[0] - layer.stride[0] + 1) // 2 * hop
                hop *= layer.stride[0]
        return reach

    def forward(self, waveform: Tensor) -> Tensor:
        x = self.filterbank(waveform) if self.filterbank else waveform[:, None]  # (B, C, T')
        return self.layers(x)  # (B, dim, T / hop)


class StridedConv(nn.Conv1d):
    """Convolution of window 2 × stride, padded so that time shrinks by exactly `stride`."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, 2 * stride, stride)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name is nn.Conv1d's
        left = self.stride[0] // 2
        return super().forward(F.pad(input, (left, self.stride[0] - left)))


class ResidualBlock(nn.Module):
    def __init__(self, channels: int, norm: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(channels, channels, 3, padding=1), norm, nn.ReLU(), nn.Conv1d(channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each time step: no statistics over time, so length does not matter."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name is nn.LayerNorm's
        # (B, C, T) → (B, T, C) for the norm → (B, C, T)
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


class Filterbank(nn.Module):
    """Learned log-energy filterbank: `(batch, time)` → `(batch, filters, time / hop_length)`.

    Complex filters that start as Gabor functions on the mel scale, squared modulus, Hann low-pass, log.
    It starts as a log-mel spectrogram; the filters learn.
    """

    WINDOW_SECONDS = 0.025
    OVERSAMPLING = 4  # energies are computed this often per hop, then low-passed

    def __init__(self, filters: int, sample_rate: int, hop_length: int) -> None:
        super().__init__()
        self.filters = filters
        self.hop_length = hop_length
        self.stride = hop_length // self.OVERSAMPLING
        window = round(self.WINDOW_SECONDS * sample_rate)
        self.kernel = nn.Parameter(gabor_filters(filters, sample_rate, window))  # (2 · filters, 1, window)
        pool = torch.hann_window(2 * self.OVERSAMPLING + 1, periodic=False)
        self.pool: Tensor
        self.register_buffer("pool", (pool / pool.sum()).expand(filters, 1, -1).clone(), persistent=False)

    @property
    def reach(self) -> int:
        """Samples to either side of a frame's stretch that it may depend on (an upper bound)."""
        pool_reach = (self.pool.shape[-1] - self.OVERSAMPLING + 1) // 2 * self.stride
        return pool_reach + (self.kernel.shape[-1] - self.stride + 1) // 2

    def forward(self, waveform: Tensor) -> Tensor:
        reach = self.kernel.shape[-1] - self.stride
        x = F.pad(waveform[:, None], (reach // 2, reach - reach // 2))
        x = F.conv1d(x, self.kernel, stride=self.stride)  # (B, 2F, T / stride): real and imaginary parts
        energy = x[:, : self.filters].square() + x[:, self.filters :].square()
        reach = self.pool.shape[-1] - self.OVERSAMPLING
        energy = F.pad(energy, (reach // 2, reach - reach // 2))
        energy = F.conv1d(energy, self.pool, stride=self.OVERSAMPLING, groups=self.filters)
        # −90 dB is the floor; centre and scale bring speech to about [−2, 2]
        return (torch.log(energy + 1e-9) + 12.0) / 4.0


def gabor_filters(filters: int, sample_rate: int, window: int) -> Tensor:
    """Gabor functions `(2 · filters, 1, window)`, cosines first, spaced and sized like mel filters (60 Hz … Nyquist).

    Each has unit gain at its centre frequency.
    """
    mel = torch.linspace(_mel(60.0), _mel(sample_rate / 2 * 0.97), filters + 2, dtype=torch.float64)
    hertz = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    centre = hertz[1:-1, None]
    bandwidth = (hertz[2:] - hertz[:-2])[:, None] / 2  # full width at half maximum, Hz
    time = (torch.arange(window, dtype=torch.float64) - (window - 1) / 2) / sample_rate  # s
    spread = math.sqrt(2 * math.log(2)) / (math.pi * bandwidth)  # s, of the Gaussian with that bandwidth
    envelope = torch.exp(-0.5 * (time / spread).square()) * torch.hann_window(
        window, periodic=False, dtype=torch.float64
    )
    envelope = envelope / envelope.sum(1, keepdim=True)
    angle = 2 * math.pi * centre * time
    return torch.cat([envelope * torch.cos(angle), envelope * torch.sin(angle)])[:, None].float()


def _mel(hertz: float) -> float:
    return 2595.0 * math.log10(1.0 + hertz / 700.0)
