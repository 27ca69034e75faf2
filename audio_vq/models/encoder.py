"""Encoder: strided 1-D convolutions from waveform to latents.

van den Oord et al. 2017, section 4.3 (six convolutions of stride 2, window 4); the residual blocks at the unit rate
follow Chorowski et al. 2019, section III; the filterbank Zeghidour et al. 2018, "Learning filterbanks from raw speech".
Every operation sees a bounded stretch of time and none depends on the length of its input, so that
a recording gets the same units alone, in a batch, or inside a longer recording.

Inside, tensors are `(batch, time, channels)`: a convolution is then one matrix product over overlapping rows, and the
norms are over what lies side by side in memory. `tests/test_encoder.py` holds it against `torch.nn.functional.conv1d`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOG_SCALE = 4.0  # nats of energy in one of the filterbank's units
ACTIVE_RANGE_DB = 30.0  # of a recording's frames that are taken for speech
COSINES = 5  # of the perturbation's curve, the first of which is a change of level
SHARED_FROM = 512  # values in a row: from here on, a quarter fewer multiplications outweigh some additions (CPUs)


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
        perturbation: "Perturbation | None" = None,
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


class Convolution(nn.Conv1d):
    """`nn.Conv1d` over `(batch, time, channels)`, padded with zeros so that time shrinks by exactly `stride`.

    The window is a multiple of the stride: with `stride` time steps to a row, it is `window / stride` rows.
    """

    def __init__(self, in_channels: int, out_channels: int, window: int, stride: int = 1) -> None:
        assert window % stride == 0
        super().__init__(in_channels, out_channels, window, stride)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name is nn.Conv1d's
        window, stride = self.kernel_size[0], self.stride[0]
        left = (window - stride) // 2
        right = window - stride - left
        matrix = self.weight.transpose(1, 2).flatten(1)  # (out, in, window) → (out, window · in)
        if window == 2 * stride and stride * self.in_channels >= SHARED_FROM and input.device.type == "cpu":
            return shared_products(padded_rows(input, stride, left, right), matrix, self.bias)
        return F.linear(overlapping_rows(input, window, stride, left, right), matrix, self.bias)


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


def overlapping_rows(x: Tensor, window: int, stride: int, left: int, right: int) -> Tensor:
    """What a convolution sees at each of its places: `(batch, time, C)` → `(batch, time / stride, window · C)`.

    `window` is a multiple of `stride`; `left` and `right` are the zeros beyond the ends, together `window − stride`.
    """
    if window == stride == 1:
        return x
    rows = padded_rows(x, stride, left, right)
    taps = window // stride
    places = rows.shape[1] - taps + 1
    return torch.cat([rows[:, tap : tap + places] for tap in range(taps)], 2)


def padded_rows(x: Tensor, stride: int, left: int, right: int) -> Tensor:
    """`stride` time steps side by side: `(batch, time, C)` → `(batch, (left + time + right) / stride, stride · C)`."""
    return F.pad(x, (0, 0, left, right)).reshape(len(x), -1, stride * x.shape[2])


def shared_products(rows: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """`linear` of every two neighbouring rows `(batch, places + 1, K)`, with three matrix products for four.

    For neighbours p, q, r and the matrix's halves A, B (Winograd 1980, F(2, 2)):
    Ap + Bq = A(p − q) + (A + B)q and Aq + Br = B(r − q) + (A + B)q.
    """
    places = rows.shape[1] - 1
    rows = F.pad(rows, (0, 0, 0, places % 2))  # an odd place has no neighbour to share with
    p, q, r = rows[:, 0:-2:2], rows[:, 1:-1:2], rows[:, 2::2]
    first, second = matrix.chunk(2, 1)
    shared = F.linear(q, first + second, bias)
    both = torch.stack([F.linear(p - q, first) + shared, F.linear(r - q, second) + shared], 2)
    return both.flatten(1, 2)[:, :places]


def silenced(x: Tensor, inside: Tensor | None) -> Tensor:
    """`x` `(batch, time, channels)` with zeros where `inside` `(batch, units)` is zero."""
    if inside is None:
        return x
    return (x.unflatten(1, (inside.shape[1], -1)) * inside[:, :, None, None]).flatten(1, 2)


def mean_spectrum(spectrum: Tensor) -> Tensor:
    """Mean `(filters,)` of what the filterbank gives of a recording, `(frames, filters)`, over frames of speech.

    Those are the frames less than `ACTIVE_RANGE_DB` below the loudest one, so that pauses do not count.
    """
    loudness = spectrum.mean(1)
    active = loudness >= loudness.max() - ACTIVE_RANGE_DB * math.log(10) / 10 / LOG_SCALE
    return spectrum[active].mean(0)


class Filterbank(nn.Module):
    """Learned log-energy filterbank: `(batch, time)` → `(batch, time / hop_length, filters)`.

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
        self.sample_rate = sample_rate
        self.kernel = nn.Parameter(gabor_filters(filters, sample_rate, window))  # (2 · filters, 1, window)
        pool = torch.hann_window(2 * self.OVERSAMPLING + 1, periodic=False)
        self.pool: Tensor
        self.register_buffer("pool", pool / pool.sum(), persistent=False)

    @property
    def reach(self) -> int:
        """Samples to either side of a frame's stretch that it may depend on (an upper bound)."""
        pool_reach = (len(self.pool) - self.OVERSAMPLING + 1) // 2 * self.stride
        return pool_reach + (self.kernel.shape[-1] - self.stride + 1) // 2

    def forward(self, waveform: Tensor, inside: Tensor | None = None) -> Tensor:
        """`inside` as for the encoder."""
        window = self.kernel.shape[-1]
        reach = window - self.stride
        x = F.pad(waveform, (reach // 2, reach - reach // 2)).unfold(1, window, self.stride)
        x = F.linear(x, self.kernel[:, 0])  # (B, T / stride, 2F): real and imaginary parts
        energy = silenced(x[..., : self.filters].square() + x[..., self.filters :].square(), inside)
        window = -(-len(self.pool) // self.OVERSAMPLING) * self.OVERSAMPLING
        left = (len(self.pool) - self.OVERSAMPLING) // 2
        seen = overlapping_rows(energy, window, self.OVERSAMPLING, left, window - self.OVERSAMPLING - left)
        pool = F.pad(self.pool, (0, window - len(self.pool)))
        energy = (seen.unflatten(2, (window, self.filters)) * pool[:, None]).sum(2)  # (B, T / hop, F)
        # −90 dB is the floor; centre and scale bring speech to about [−2, 2]
        return (torch.log(energy + 1e-9) + 12.0) / LOG_SCALE


def gabor_filters(filters: int, sample_rate: int, window: int) -> Tensor:
    """Gabor functions `(2 · filters, 1, window)`, cosines first, spaced and sized like mel filters (60 Hz … Nyquist).

    Each has unit gain at its centre frequency.
    """
    hertz = _hertz(mel_edges(filters, sample_rate))
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


def mel_edges(filters: int, sample_rate: int) -> Tensor:
    """`(filters + 2,)` evenly spaced in mel: neighbouring filters' centres are a filter's edges."""
    return torch.linspace(_mel(60.0), _mel(sample_rate / 2 * 0.97), filters + 2, dtype=torch.float64)


def _mel(hertz: float) -> float:
    return 2595.0 * math.log10(1.0 + hertz / 700.0)


def _hertz(mel: Tensor) -> Tensor:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


@dataclass(frozen=True)
class Perturbation:
    """What the filterbank might give of the same speech from another mouth, through another microphone.

    Formants are moved by up to a share of `warp` up or down (vocal-tract length perturbation, Jaitly and Hinton 2013);
    a smooth random curve is added, cosines over the filters with amplitudes of a standard deviation of `equaliser_db`.
    """

    warp: float
    equaliser_db: float

    def __call__(self, spectrum: Tensor, sample_rate: int) -> Tensor:
        """One draw per clip of `spectrum` `(batch, frames, filters)`, from torch's generator."""
        if self.warp:
            spectrum = self._warped(spectrum, sample_rate)
        if self.equaliser_db:
            batch, _, filters = spectrum.shape
            place = (torch.arange(filters) + 0.5) / filters
            curves = torch.cos(math.pi * torch.arange(COSINES)[:, None] * place)  # (cosines, filters)
            draws = torch.randn(batch, COSINES) * (self.equaliser_db * math.log(10) / 10 / LOG_SCALE)
            spectrum = spectrum + (draws @ curves).to(spectrum)[:, None]
        return spectrum

    def _warped(self, spectrum: Tensor, sample_rate: int) -> Tensor:
        batch, frames, filters = spectrum.shape
        factor = torch.exp((2 * torch.rand(batch, 1) - 1) * math.log1p(self.warp))
        mel = mel_edges(filters, sample_rate)
        wanted = 2595.0 * torch.log10(1.0 + _hertz(mel[1:-1]) * factor / 700.0)
        places = ((wanted - mel[1]) / (mel[1] - mel[0])).clamp(0, filters - 1.001).to(spectrum)
        below = places.floor().long()
        share = (places - below)[:, None]
        index = below[:, None].expand(-1, frames, -1)
        return spectrum.gather(2, index) * (1 - share) + spectrum.gather(2, index + 1) * share
