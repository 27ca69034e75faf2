"""Budgets and learning rates, as pure functions of progress."""

from dataclasses import dataclass

from audio_vq.config import TrainConfig
from audio_vq.errors import UserError


@dataclass(frozen=True)
class Budget:
    """Training ends at so many optimiser steps or minutes, whichever comes first."""

    steps: int | None
    minutes: float | None

    @classmethod
    def of(cls, config: TrainConfig) -> "Budget":
        """Raises UserError where there is none."""
        if config.steps is None and config.minutes is None:
            raise UserError("training has no budget; give train.minutes=… or train.steps=…")
        return cls(config.steps, config.minutes)

    def progress(self, step: int, seconds: float) -> float:
        """The share of the budget that is used, from 0; 1 and above means the end."""
        shares = []
        if self.steps is not None:
            shares.append(step / self.steps)
        if self.minutes is not None:
            shares.append(seconds / (60 * self.minutes))
        return max(shares)


def learning_rate_factor(progress: float, step: int, warmup_steps: int, decay_share: float) -> float:
    """Linear warm-up over steps, constant, then linear decay to zero over the last share of the budget."""
    warm = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    left = max(0.0, 1.0 - progress)
    return warm * (min(1.0, left / decay_share) if decay_share else 1.0)


def due(before: float, after: float, times: int) -> bool:
    """Whether one of `times` evenly spread marks, the last at 1, lies in (before, after]."""
    return int(min(after, 1.0) * times) > int(min(before, 1.0) * times)
