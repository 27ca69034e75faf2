"""What the training loop must know of a model, and what the two say to each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from audio_vq.checkpoint import CheckpointInfo


@dataclass(frozen=True)
class PartResult:
    """The loss of one part of a step's batch, and what the task wants to see again in `after_step`."""

    loss: Tensor  # scalar, differentiable
    bits: Tensor  # scalar, the figure to watch: bits per sample or per unit
    payload: Any = None  # detached: it outlives the part


@dataclass(frozen=True)
class Validation:
    """`record` goes to metrics.jsonl as it is; the lowest `value` is the best checkpoint (None: not a candidate)."""

    record: dict[str, Any]
    value: float | None
    scalars: dict[str, float] = field(default_factory=dict)  # for TensorBoard


class Task(Protocol):
    """One kind of model in training. `network` is the model itself, `averaged` the moving average of its weights."""

    network: nn.Module
    seconds_per_step: float  # of audio, on one process
    bits_per: str  # "sample" or "unit": what the training bits count

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Optimiser groups; each keeps its own `lr`."""

    def before_step(self, accelerator: Accelerator, network: nn.Module, progress: float, step: int) -> bool:
        """Jumps that precede a step; True when the weight average has to begin again.

        Raises:
            FloatingPointError: numbers that are not finite.
        """

    def losses(self, model: nn.Module, step: int, rank: int) -> Iterator[PartResult]:
        """The batch of (step, rank) through the wrapped model, a part of `gradient_accumulation` after another."""

    def after_step(
        self,
        accelerator: Accelerator,
        network: nn.Module,
        averaged: nn.Module,
        parts: Sequence[PartResult],
        step: int,
    ) -> None:
        """Updates that are not gradients."""

    def status(self) -> str:
        """A few words for the progress line."""

    def validate(self, averaged: nn.Module) -> Validation:
        """Figures of the averaged network."""

    def write_samples(self, averaged: nn.Module, folder: Path) -> None:
        """Something to listen to."""

    def info(self, record: dict[str, Any]) -> CheckpointInfo:
        """What the checkpoint says of itself."""


def device_of(network: nn.Module) -> torch.device:
    """Where a network is. Tasks ask when they run: Accelerate gives every process its device after they are made."""
    return next(network.parameters()).device
