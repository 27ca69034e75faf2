"""How fast the prior draws units, against a full forward pass for every unit."""

from collections.abc import Callable

import torch

from audio_vq.bench.measurement import Budget, Measurement, take_turns
from audio_vq.config import PriorConfig
from audio_vq.generation.drawing import SamplingOptions, draw
from audio_vq.generation.units import sample_units
from audio_vq.models.prior import PriorModel, build_prior

PLAIN, CACHED = "prior_plain_units_per_s", "prior_units_per_s"
NAMES = (PLAIN, CACHED)
BATCH = 1  # sequences


def measure_prior(config: PriorConfig, codebook_size: int, budget: Budget) -> list[Measurement]:
    """Of a prior with fresh weights: how long it takes does not depend on them."""
    torch.manual_seed(0)
    prior = build_prior(config, codebook_size, num_speakers=1).eval().requires_grad_(False)
    num_units = config.context - 1  # the window is never moved
    rates = take_turns(
        {PLAIN: _plain(prior, num_units), CACHED: lambda: _cached(prior, num_units)},
        budget.seconds,
    )
    context = {
        "prior": f"{config.layers} layers, {config.channels} channels, context {config.context}",
        "codebook_size": codebook_size,
        "sequences": BATCH,
    }
    return [
        Measurement(PLAIN, rates.median(PLAIN), "units/s", context=context),
        Measurement(CACHED, rates.median(CACHED), "units/s", rates.ratio(CACHED, PLAIN), PLAIN, context),
    ]


def _cached(prior: PriorModel, num_units: int) -> float:
    return sample_units(prior, torch.zeros(BATCH, dtype=torch.int64), num_units, SamplingOptions()).size


def _plain(prior: PriorModel, num_units: int) -> Callable[[], float]:
    speaker, uniforms = torch.zeros(BATCH, dtype=torch.int64), torch.rand(num_units, BATCH, dtype=torch.float64)

    @torch.inference_mode()
    def work() -> float:
        units = torch.zeros(BATCH, num_units, dtype=torch.int64)
        for t in range(num_units):
            logits = prior(units[:, : t + 1], speaker)[:, :, t]  # of what follows units before t
            units[:, t] = draw(logits, uniforms[t], SamplingOptions())
        return units.numel()

    return work
