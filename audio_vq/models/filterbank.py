"""Learned log-energy filterbank before the encoder's strides, and what is done to what it gives.

Zeghidour et al. 2018, "Learning filterbanks from raw speech".
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audio_vq.models.convolution import overlapping_rows, silenced

FLOOR = 1e-9  # added to energies: −90 dB
CENTRE = 12.0  # nats of energy; centre and scale bring speech to about [−2, 2]
LOG_SCALE = 4.0  # nats of energy in one of the filterbank's units
ACTIVE_RANGE_DB = 30.0  # of a recording's frames that are taken for speech
COSINES = 5  # of the perturbation's curve, the first of which is a change of level


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
        return (torch.log(energy + FLOOR) + CENTRE) / LOG_SCALE

    def responses(self, length: int) -> Tensor:
        """Power responses `(filters, length / 2 + 1)` at the frequencies of a real Fourier transform of that length.

        A signal of power spectrum `|X|²` under a window w has the energies `responses @ |X|² / (length · Σ w²)`.
        """
        kernel = self.kernel.detach()[:, 0].double()
        filters = torch.complex(kernel[: self.filters], kernel[self.filters :])
        time = torch.arange(kernel.shape[1], device=kernel.device)
        turns = torch.arange(length // 2 + 1, device=kernel.device)[:, None] * time / length
        wave = torch.exp(-2j * math.pi * turns.double()).T  # (window, frequencies)
        power = (filters @ wave).abs().square()
        negative = (filters @ wave.conj()).abs().square()
        negative[:, [0, -1]] = 0  # which are their own
        return power + negative


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
