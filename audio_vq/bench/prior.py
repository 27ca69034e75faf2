"""How fast the prior draws units, against a full forward pass for every unit."""

from collections.abc import Sequence

import torch
from torch import Tensor

from audio_vq.bench.measurement import Budget, Measurement, take_turns
from audio_vq.codec.drawing import SamplingOptions, draw
from audio_vq.codec.prior import sample_units
from audio_vq.config import PriorConfig
from audio_vq.models.prior import PriorModel, build_prior

PLAIN, CACHED = "prior_plain_units_per_s", "prior_units_per_s"
NAMES = (PLAIN, CACHED)


def measure_prior(config: PriorConfig, track_sizes: Sequence[int], budget: Budget) -> list[Measurement]:
    """Of a prior with fresh weights: how long it takes does not depend on them."""
    torch.manual_seed(0)
    prior = build_prior(config, track_sizes, num_speakers=1).eval().requires_grad_(False)
    speaker = torch.zeros(1, dtype=torch.int64)
    num_units = config.context - 1  # so many, and the window is never moved
    uniforms = torch.rand(1, num_units, len(track_sizes), dtype=torch.float64)

    @torch.inference_mode()
    def plain() -> float:
        return plain_units(prior, speaker, uniforms).shape[2]

    def cached() -> float:
        return sample_units(prior, speaker, num_units, SamplingOptions()).shape[2]

    rates = take_turns({PLAIN: plain, CACHED: cached}, budget.seconds)
    context = {
        "prior": f"{config.layers} layers, {config.channels} channels, context {config.context}",
        "track_sizes": list(track_sizes),
        "sequences": 1,
    }
    return [
        Measurement(PLAIN, rates.median(PLAIN), "units/s", context=context),
        Measurement(CACHED, rates.median(CACHED), "units/s", rates.ratio(CACHED, PLAIN), PLAIN, context),
    ]


def plain_units(prior: PriorModel, speaker: Tensor, uniforms: Tensor) -> Tensor:
    """Codes `(batch, tracks, time)` by a forward pass over the past for each unit.

    Uniforms are `(batch, time, tracks)`, float64.
    """
    codes = torch.zeros(uniforms.mT.shape, dtype=torch.int64)
    for t in range(codes.shape[2]):
        said = prior.predict(prior.inputs(codes[:, :, :t], speaker))[:, t:]
        for track in range(codes.shape[1]):
            logits = prior.logits(said, codes[:, :track, t : t + 1])[:, 0]
            codes[:, track, t] = draw(logits, uniforms[:, t, track], SamplingOptions())
    return codes
