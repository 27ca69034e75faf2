"""The pitch period that latents ask for: how far back a voiced waveform looks like what comes next.

A decoder of few layers has to learn to find it in its past; told where to look, it need not (the pitch-dependent
dilation of Wu et al. 2021, "Quasi-periodic WaveNet"; the pitch predictors of speech codecs).
"""

import torch
from torch import Tensor, nn

LOWEST_HZ = 50.0  # periods of lower pitches count as the period of this one
EXPECTED = (150.0, 3.0)  # median in Hz and spread in semitones of a speaker of whom nothing is known


class PitchPeriod(nn.Module):
    """Latents `(batch, dim, units)`, whose last two channels are pitch, and speakers → periods `(batch, units)`.

    In decoder steps, whole numbers; 0 where unvoiced.

    Args:
        speakers: how many.
        step_rate: decoder steps per second.
        shortest: in steps; shorter ones count as this one.

    Attributes:
        ranges: `(speakers, 2)`, median in Hz and spread in semitones of every speaker's pitch; `fit` sets them.
        longest: in steps.
    """

    def __init__(self, speakers: int, step_rate: float, shortest: int) -> None:
        super().__init__()
        self.step_rate = step_rate
        self.shortest, self.longest = shortest, max(shortest, round(step_rate / LOWEST_HZ))
        self.ranges: Tensor
        self.register_buffer("ranges", torch.tensor([EXPECTED]).repeat(speakers, 1))

    def forward(self, latents: Tensor, speaker: Tensor) -> Tensor:
        voiced, up = latents[:, -2] > 0, latents[:, -1].float()
        median, spread = self.ranges[speaker].unbind(1)
        hertz = median[:, None] * torch.exp2(up * spread[:, None] / 12)
        periods = (self.step_rate / hertz).round().clamp(self.shortest, self.longest)
        return torch.where(voiced, periods, 0)

    def fit(self, ranges: list[tuple[float, float]]) -> None:
        """Median in Hz and spread in semitones of every speaker's pitch."""
        self.ranges.copy_(torch.tensor(ranges))

    def join(self, pitch_range: tuple[float, float]) -> None:
        """One more speaker."""
        self.ranges = torch.cat([self.ranges, self.ranges.new_tensor([pitch_range])])
