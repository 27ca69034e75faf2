"""How a class is drawn from logits: temperature, nucleus, and random numbers that belong to one stream."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_vq.config import MOST_EMPHASIS
from audio_vq.errors import UserError

Temperature = float | tuple[float, ...]  # one number, or one per band


@dataclass(frozen=True)
class SamplingOptions:
    """Raises UserError for values out of range.

    Attributes:
        temperature: divides the logits; 1 is the distribution as trained. One number, or one per band.
        top_p: keeps the most likely classes that together have this probability
            (Holtzman et al. 2020); 1 keeps all.
        seed: of the random numbers.
        postfilter: whether speech is brought to the spectrum that the model says it has, where it says one.
        emphasis: how much further than it is a speaker's embedding lies from the average one: 0 is as trained, −1 the
            average voice.
    """

    temperature: Temperature = 1.0
    top_p: float = 1.0
    seed: int = 0
    postfilter: bool = True
    emphasis: float = 0.0

    def __post_init__(self) -> None:
        given = self.temperature if isinstance(self.temperature, tuple) else (self.temperature,)
        if not given or not all(0 < temperature < float("inf") for temperature in given):
            raise UserError(f"temperature {self.temperature} is out of range; give a number above 0, or one per band")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p {self.top_p} is out of range; give a number above 0 and at most 1")
        if not -1 <= self.emphasis <= MOST_EMPHASIS:
            raise UserError(
                f"emphasis {self.emphasis} is out of range; give -1, for the average voice, to {MOST_EMPHASIS:g}"
            )
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed {self.seed} is out of range; give a whole number from 0, below 2^63")

    def temperatures(self, bands: int) -> tuple[float, ...]:
        """One per band. Raises UserError where there are more or fewer."""
        if not isinstance(self.temperature, tuple):
            return (self.temperature,) * bands
        if len(self.temperature) != bands:
            raise UserError(
                f"{len(self.temperature)} temperatures for a model of {bands} band(s); give one number, or one per band"
            )
        return self.temperature


def random_stream(seed: int, stream: int) -> np.random.Generator:
    """The random numbers of one stream: the same alone and beside others."""
    return np.random.default_rng([seed, stream])


def random_steps(random: np.random.Generator, bands: int, steps: int) -> npt.NDArray[np.float64]:
    """One number in [0, 1) per band and step, `(bands, steps)`: drawn step by step, in however many pieces."""
    return np.ascontiguousarray(random.random((steps, bands)).T)


def draw(logits: Tensor, uniforms: Tensor, options: SamplingOptions) -> Tensor:
    """Classes `(batch,)` or `(batch, bands)` by the inverse of the cumulative distribution, in float64.

    Args:
        logits: `(…, classes)`.
        uniforms: `(…)` in [0, 1), float64.
        options: temperature and top_p; of classes as likely as the nucleus' last, all belong to it.
    """
    probabilities = torch.softmax(_tempered(logits.double(), options.temperature), -1)
    if options.top_p < 1:
        falling = probabilities.sort(-1, descending=True).values
        before = falling.cumsum(-1) - falling  # what the more likely ones hold
        least = torch.where(before < options.top_p, falling, torch.inf).amin(-1, keepdim=True)
        probabilities = torch.where(probabilities >= least, probabilities, 0)
    cumulative = probabilities.cumsum(-1)
    place = uniforms[..., None] * cumulative[..., -1:]  # strictly below the total: a class is always found
    return torch.searchsorted(cumulative, place, right=True)[..., 0]


def _tempered(logits: Tensor, temperature: Temperature) -> Tensor:
    if not isinstance(temperature, tuple):
        return logits / temperature
    # numbers, not a tensor of them: nothing has to be brought to a GPU
    bands = zip(logits.unbind(-2), temperature, strict=True)
    return torch.stack([band / warmth for band, warmth in bands], -2)
