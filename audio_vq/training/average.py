"""Exponential moving average of weights: what validation, samples and published checkpoints use."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """Averages parameters and floating-point buffers; integer buffers are copied.

    The decay grows from zero with the number of updates, so that short runs are not dominated by their beginning.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        current, floating = model.state_dict(), []
        for name, average in self.model.state_dict().items():
            if average.is_floating_point():
                floating.append((average, current[name]))
            else:
                average.copy_(current[name])
        averages, values = (list(tensors) for tensors in zip(*floating, strict=True))
        get_ema_multi_avg_fn(decay)(averages, values, self.updates)

    def reset(self, model: nn.Module) -> None:
        """Begins again at the current weights: after a jump that must not be averaged over."""
        self.model.load_state_dict(model.state_dict())
        self.updates = 0
