"""Sub-bands of a waveform: a pseudo-QMF bank, and the mu-law classes of what it gives.

A decoder over M bands takes M times fewer steps, each of which says one class per band (Okamoto et al. 2017, "Subband
WaveNet"; Yu et al. 2020, "DurIAN", section 3). The bank is cosine-modulated with a Kaiser-windowed prototype (Nguyen
1994, "Near-perfect-reconstruction pseudo-QMF banks"; Lin and Vaidyanathan 1998). Nothing is shifted: band signals and
reconstruction lie where the waveform does.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audio_vq.models.mu_law import mu_law_decode, mu_law_encode

TAPS_PER_BAND = 20
KAISER_BETA = 9.0
CUTOFF = 0.55271  # of the prototype, in bandwidths: reconstructs best, by 64 dB or more for 2, 4 and 8 bands
FULL_SCALE = 0.8  # where the loud steps of a band come to lie


class Bands(nn.Module):
    """Waveform `(batch, time)` ↔ mu-law classes `(batch, bands, time / bands)`.

    One band is the waveform itself, as in the paper.

    Attributes:
        gain: `(bands,)`, by which band signals are multiplied so that each uses all classes; `fit` finds it.
    """

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.bands, self.classes = bands, classes
        self.gain: Tensor
        self.analysis: Tensor
        self.synthesis: Tensor
        self.register_buffer("gain", torch.ones(bands))
        analysis, synthesis = filters(bands)
        self.register_buffer("analysis", analysis, persistent=False)  # (bands, taps)
        self.register_buffer("synthesis", synthesis, persistent=False)

    @property
    def reach(self) -> int:
        """Samples to either side of a step's place that it tells of; also what synthesis waits for."""
        return self.analysis.shape[1] // 2

    def split(self, waveform: Tensor) -> Tensor:
        """Band signals `(batch, bands, time / bands)`, before the gain; beyond the waveform's ends is silence."""
        if self.bands == 1:
            return waveform[:, None]
        padded = F.pad(waveform[:, None], (self.reach, self.reach - self.bands + 1))
        return F.conv1d(padded, self.analysis[:, None], stride=self.bands)

    def join(self, signals: Tensor) -> Tensor:
        """The waveform `(batch, time)` of band signals, as `split` gives them."""
        if self.bands == 1:
            return signals[:, 0]
        whole = F.conv_transpose1d(signals, self.bands * self.synthesis[:, None], stride=self.bands)
        return whole[:, 0, self.reach : self.reach + signals.shape[2] * self.bands]

    def encode(self, waveform: Tensor) -> Tensor:
        return mu_law_encode(self.split(waveform) * self.gain[:, None], self.classes)

    def decode(self, classes: Tensor) -> Tensor:
        return self.join(mu_law_decode(classes, self.classes) / self.gain[:, None])

    @torch.no_grad()
    def fit(self, waveform: Tensor, quantile: float = 0.9995) -> None:
        """Sets the gain by some typical waveforms `(batch, time)`: all but the loudest steps lie within full scale."""
        if self.bands > 1:
            sizes = self.split(waveform).abs().transpose(0, 1).flatten(1)
            rank = max(1, round((1 - quantile) * sizes.shape[1]))
            loud = sizes.topk(rank, 1).values[:, -1]
            self.gain.copy_(FULL_SCALE / loud.clamp_min(1e-4))


def filters(bands: int) -> tuple[Tensor, Tensor]:
    """Analysis and synthesis filters, each `(bands, taps)`."""
    if bands == 1:
        return torch.ones(1, 1), torch.ones(1, 1)
    taps = TAPS_PER_BAND * bands
    n = torch.arange(taps + 1, dtype=torch.float64) - taps / 2
    cutoff = CUTOFF / bands
    window = torch.kaiser_window(taps + 1, periodic=False, beta=KAISER_BETA, dtype=torch.float64)
    prototype = 2 * cutoff * torch.sinc(cutoff * n) * window
    band = torch.arange(bands, dtype=torch.float64)[:, None]
    phase = (2 * band + 1) * math.pi / (2 * bands) * n
    turn = math.pi / 4 * (-1) ** band
    # `conv1d` does not turn its filters round, `conv_transpose1d` does
    return (prototype * torch.cos(phase + turn)).flip(1).float(), (prototype * torch.cos(phase - turn)).float()
