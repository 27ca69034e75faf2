"""The one training loop, for the VQ-VAE and for the prior, on one CPU or many GPUs (Hugging Face Accelerate).

What is particular to a model lives in its task (`vqvae_task.py`, `prior_task.py`). Everything random is a function of
(seed, step, rank): continuing from a checkpoint needs no state but weights, moments and the step, and is exact.
"""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

from audio_vq.checkpoint import CheckpointInfo
from audio_vq.config import TrainConfig
from audio_vq.training.average import WeightAverage
from audio_vq.training.progress import ProgressLine
from audio_vq.training.schedule import Budget, due, learning_rate_factor
from audio_vq.training.state import RunFolder, TrainingState


@dataclass(frozen=True)
class StepResult:
    """One batch's loss and what the task wants to see again in `after_step`."""

    loss: Tensor  # scalar, differentiable
    bits: Tensor  # scalar, the figure to watch: bits per sample or per unit
    payload: Any = None


@dataclass(frozen=True)
class Validation:
    """`record` goes to metrics.jsonl as it is; the lowest `value` is the best checkpoint (None: not a candidate)."""

    record: dict[str, Any]
    value: float | None
    scalars: dict[str, float] = field(default_factory=dict)  # for TensorBoard


class Task(Protocol):
    """What the loop must know of a model."""

    network: nn.Module
    seconds_per_batch: float  # of audio
    bits_per: str  # "sample" or "unit": what the training bits count

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Optimiser groups; each keeps its own `lr`."""

    def before_step(self, network: nn.Module, progress: float, step: int) -> bool:
        """Jumps that precede a step; True when the weight average has to begin again."""

    def loss(self, model: nn.Module, step: int, rank: int) -> StepResult:
        """The loss of the batch of (step, rank), through the wrapped model."""

    def after_step(self, accelerator: Accelerator, network: nn.Module, result: StepResult, step: int) -> None:
        """Updates that are not gradients."""

    def status(self) -> str:
        """A few words for the progress line."""

    def validate(self, network: nn.Module) -> Validation:
        """Figures of the averaged network."""

    def write_samples(self, network: nn.Module, folder: Path) -> None:
        """Something to listen to."""

    def info(self, record: dict[str, Any]) -> CheckpointInfo:
        """What the checkpoint says of itself."""


def train(  # noqa: PLR0915 - the whole loop in one place
    task: Task, config: TrainConfig, folder: Path, device: str, seed: int
) -> dict[str, Any]:
    """Trains within the budget, continuing the run in `folder` where it stands; returns the last validation's record.

    Raises:
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after the state is saved.
        UserError: no budget; a run of another model.
    """
    budget = Budget.of(config)
    accelerator = Accelerator(
        cpu=device == "cpu",
        mixed_precision=_mixed_precision(config, device),
        log_with="tensorboard",
        project_dir=folder,
    )
    accelerator.init_trackers("tensorboard")
    groups = task.parameter_groups(config.learning_rate)
    # fused: one pass over all parameters instead of some ten
    optimizer = torch.optim.Adam(groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    peaks = [group["lr"] for group in optimizer.param_groups]
    model, optimizer = accelerator.prepare(task.network, optimizer)
    network = accelerator.unwrap_model(model)
    average = WeightAverage(network, config.weight_average)
    run = RunFolder(folder)
    state = run.load(network, optimizer, average) if run.has_checkpoint() else TrainingState()
    clock = _Clock(accelerator, state.seconds)
    last_save, record = clock.seconds(), _last_record(run)

    def save(is_best: bool) -> None:
        state.seconds = clock.seconds()
        if accelerator.is_main_process:
            run.save(state, task.info(record), network, optimizer, average, is_best)
        accelerator.wait_for_everyone()

    progress = budget.progress(state.step, clock.seconds())
    line = ProgressLine(enabled=accelerator.is_main_process)
    with line, _interruptions() as interrupted:
        while progress < 1:
            torch.manual_seed(hash((seed, state.step, accelerator.process_index)) % 2**63)  # dropout
            if task.before_step(network, progress, state.step):
                average.reset(network)
            factor = learning_rate_factor(progress, state.step, config.warmup_steps, config.decay_share)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            result = _step(task, accelerator, model, optimizer, config, state.step)
            task.after_step(accelerator, network, result, state.step)
            average.update(network)
            state.step += 1
            clock.step(state.step)
            state.audio_seconds += task.seconds_per_batch * config.gradient_accumulation * accelerator.num_processes
            before, progress = progress, budget.progress(state.step, clock.seconds())
            line.update(state, clock.seconds(), progress, result.bits, task.status)

            if due(before, progress, config.validations) or progress >= 1:
                record = _record(state, clock.seconds(), line, task.bits_per)
                validation = task.validate(average.model)
                record.update(validation.record)
                is_best = validation.value is not None and (
                    state.best_value is None or validation.value <= state.best_value
                )
                state.best_value = validation.value if is_best else state.best_value
                save(is_best)
                last_save = clock.seconds()
                if accelerator.is_main_process:
                    run.append_metrics(record)
                    task.write_samples(average.model, folder / "samples" / f"step-{state.step:08d}")
                accelerator.log(
                    {"train/bits": record[f"train_bits_per_{task.bits_per}"], **validation.scalars},
                    step=state.step,
                )
                line.validated(record)
            elif clock.seconds() - last_save > 60 * config.save_minutes:
                save(is_best=False)
                last_save = clock.seconds()
            if interrupted():
                save(is_best=False)
                raise KeyboardInterrupt
    accelerator.wait_for_everyone()  # a process that leaves early takes the others down with it
    accelerator.end_training()
    return record


def _step(
    task: Task,
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    step: int,
) -> StepResult:
    """One optimiser step; returns the result of its last part."""
    optimizer.zero_grad(set_to_none=True)
    parts = config.gradient_accumulation
    for part in range(parts):
        # every part of every step has a batch number of its own
        result = task.loss(model, step * parts + part, accelerator.process_index)
        accelerator.backward(result.loss / parts)
    accelerator.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    optimizer.step()
    return result


def _mixed_precision(config: TrainConfig, device: str) -> str:
    """What Accelerate is told. On CPUs "auto" concerns the compiled decoder alone: elsewhere nothing is gained."""
    if config.mixed_precision != "auto":
        return config.mixed_precision
    return "bf16" if device == "cuda" and torch.cuda.is_bf16_supported() else "no"


class _Clock:
    """Seconds of training, the same on every process.

    All must agree when to stop: with several, the first one's clock counts. They compare only now and then, for every
    comparison waits for the GPUs; in between the clock stands still.
    """

    STEPS = 16  # between comparisons

    def __init__(self, accelerator: Accelerator, before: float) -> None:
        self.accelerator = accelerator
        self.start = time.perf_counter() - before
        self.agreed = before

    def seconds(self) -> float:
        return self.agreed if self.accelerator.num_processes > 1 else time.perf_counter() - self.start

    def step(self, step: int) -> None:
        """To be called in every step, by every process."""
        if self.accelerator.num_processes > 1 and step % self.STEPS == 0:
            seconds = torch.tensor(time.perf_counter() - self.start, device=self.accelerator.device)
            self.agreed = float(broadcast(seconds))


@contextmanager
def _interruptions() -> Iterator[Any]:
    """Ctrl-C and SIGTERM end the step, not the process: the caller asks, saves, leaves. A second one is immediate."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _record(state: TrainingState, seconds: float, line: ProgressLine, bits_per: str) -> dict[str, Any]:
    """The part of a validation's record that is the same for every model."""
    return {
        "step": state.step,
        "seconds": round(seconds, 3),
        "audio_hours_seen": round(state.audio_seconds / 3600, 6),
        "audio_seconds_per_second": round(line.audio_seconds_per_second, 3),
        f"train_bits_per_{bits_per}": line.take_mean_bits(),
    }


def _last_record(run: RunFolder) -> dict[str, Any]:
    """The last validation of a run that is continued; a finished run returns it unchanged."""
    lines = run.metrics_file.read_text(encoding="utf-8").splitlines() if run.metrics_file.exists() else []
    return json.loads(lines[-1]) if lines else {}
