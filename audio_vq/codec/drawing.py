"""How a class is drawn from logits: temperature, nucleus, and random numbers that belong to one stream."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audio_vq.errors import UserError


@dataclass(frozen=True)
class SamplingOptions:
    """Raises UserError for values out of range.

    Attributes:
        temperature: divides the logits; 1 is the distribution as trained.
        top_p: keeps the most likely classes that together have this probability
            (Holtzman et al. 2020); 1 keeps all.
        seed: of the random numbers.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise UserError(f"temperature {self.temperature} is out of range; give a number above 0")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p {self.top_p} is out of range; give a number above 0 and at most 1")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed {self.seed} is out of range; give a whole number from 0, below 2^63")


def random_stream(seed: int, stream: int) -> np.random.Generator:
    """The random numbers of one stream: the same alone and beside others."""
    return np.random.default_rng([seed, stream])


def draw(logits: Tensor, uniforms: Tensor, options: SamplingOptions) -> Tensor:
    """Classes `(batch,)` by the inverse of the cumulative distribution, in float64.

    Args:
        logits: `(batch, classes)`.
        uniforms: `(batch,)` in [0, 1), float64.
        options: temperature and top_p; of classes as likely as the nucleus' last, all belong to it.
    """
    probabilities = torch.softmax(logits.double() / options.temperature, 1)
    if options.top_p < 1:
        falling = probabilities.sort(1, descending=True).values
        before = falling.cumsum(1) - falling  # what the more likely ones hold
        least = torch.where(before < options.top_p, falling, torch.inf).amin(1, keepdim=True)
        probabilities = torch.where(probabilities >= least, probabilities, 0)
    cumulative = probabilities.cumsum(1)
    place = uniforms[:, None] * cumulative[:, -1:]  # strictly below the total: a class is always found
    return torch.searchsorted(cumulative, place, right=True)[:, 0]
