"""Muon for the matrices of hidden layers, Adam for all else, as one optimiser."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
NEWTON_SCHULZ_STEPS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)  # brings singular values near one in so many steps (Jordan et al. 2024)
ADAM_RMS = 0.2  # usual size of Adam's updates: both then want the same learning rate (Liu et al. 2025)


class MuonAdam(torch.optim.Adam):
    """Parameter groups with `"matrices": True` are updated by Muon, the others by Adam.

    Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers") replaces the momentum's matrix by the nearest
    orthogonal one, so that all directions learn alike. A parameter of more than two axes is a batch of matrices.
    `torch.optim.Muon` computes in bfloat16, which costs most of a step on CPUs without it.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        for group in self.param_groups:
            if group.get("matrices"):
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._move(parameter, parameter.grad, group["lr"])
                        parameter.grad = None  # Adam leaves it alone
        return super().step(closure)

    def _move(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())  # Adam looks for it when it is loaded
            state["momentum"] = torch.zeros_like(parameter)
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        update = orthogonal(gradient.lerp(momentum, MOMENTUM))  # Nesterov's
        parameter.add_(update, alpha=-rate * ADAM_RMS * max(update.shape[-2:]) ** 0.5)


def orthogonal(matrices: Tensor) -> Tensor:
    """Nearly the nearest matrices `(…, rows, columns)` with orthonormal rows or columns, by Newton–Schulz steps."""
    wide = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    x = wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = QUINTIC
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide is matrices else x.mT
