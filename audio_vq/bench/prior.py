"""How fast the prior draws units, against a full forward pass for every unit."""

import torch
from torch import Tensor

from audio_vq.bench.measurement import Budget, Measurement, take_turns
from audio_vq.codec.drawing import SamplingOptions, draw
from audio_vq.codec.prior import sample_units
from audio_vq.config import PriorConfig
from audio_vq.models.prior import PriorModel, build_prior

PLAIN, CACHED = "prior_plain_units_per_s", "prior_units_per_s"
NAMES = (PLAIN, CACHED)


def measure_prior(config: PriorConfig, codebook_size: int, budget: Budget) -> list[Measurement]:
    """Of a prior with fresh weights: how long it takes does not depend on them."""
    torch.manual_seed(0)
    prior = build_prior(config, codebook_size, num_speakers=1).eval().requires_grad_(False)
    speaker = torch.zeros(1, dtype=torch.int64)
    uniforms = torch.rand(1, config.context - 1, dtype=torch.float64)  # so many, and the window is never moved

    @torch.inference_mode()
    def plain() -> float:
        return plain_units(prior, speaker, uniforms).numel()

    def cached() -> float:
        return sample_units(prior, speaker, uniforms.shape[1], SamplingOptions()).size

    rates = take_turns({PLAIN: plain, CACHED: cached}, budget.seconds)
    context = {
        "prior": f"{config.layers} layers, {config.channels} channels, context {config.context}",
        "codebook_size": codebook_size,
        "sequences": 1,
    }
    return [
        Measurement(PLAIN, rates.median(PLAIN), "units/s", context=context),
        Measurement(CACHED, rates.median(CACHED), "units/s", rates.ratio(CACHED, PLAIN), PLAIN, context),
    ]


def plain_units(prior: PriorModel, speaker: Tensor, uniforms: Tensor) -> Tensor:
    """Units `(batch, time)` by a forward pass over the past for each; uniforms `(batch, time)`, float64."""
    units = torch.zeros(uniforms.shape, dtype=torch.int64)
    for t in range(units.shape[1]):
        logits = prior(units[:, : t + 1], speaker)[:, :, t]  # of what follows units before t
        units[:, t] = draw(logits, uniforms[:, t], SamplingOptions())
    return units
