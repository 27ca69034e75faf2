"""The one training loop, for the VQ-VAE and for the prior, on one CPU or many GPUs (Hugging Face Accelerate).

What is particular to a model lives in its task (`vqvae_task.py`, `gaussian_task.py`, `prior_task.py`). Everything
random is a function of (seed, step, rank): continuing from a checkpoint needs no state but weights, moments and the
step, and is exact.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from audio_vq.config import TrainConfig
from audio_vq.errors import DivergenceError
from audio_vq.training.average import WeightAverage
from audio_vq.training.muon import MuonAdam
from audio_vq.training.processes import Agreement, interruptions
from audio_vq.training.progress import ProgressLine
from audio_vq.training.schedule import Budget, due, learning_rate_factor
from audio_vq.training.state import RunFolder, TrainingState
from audio_vq.training.task import PartResult, Task

CHECK_STEPS = 10  # between looks whether the loss is finite: looking makes a GPU wait


def train(task: Task, config: TrainConfig, folder: Path, device: str, seed: int) -> dict[str, Any]:
    """Trains within the budget, continuing the run in `folder` where it stands; returns the last validation's record.

    Raises:
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after the state is saved.
        DivergenceError: the numbers are not finite any more; what was saved before stays.
        UserError: no budget; a run of another model.
    """
    budget = Budget.of(config)
    training = Training(task, config, folder, device)
    state, network, average, agreement = training.state, training.network, training.average, training.agreement
    progress = budget.progress(state.step, agreement.seconds)
    with interruptions() as interrupted, training.line, _divergence_explained(training):
        while progress < 1:
            torch.manual_seed(hash((seed, state.step, training.rank)) % 2**63)  # dropout, samples of latents
            if task.before_step(training.accelerator, network, progress, state.step):
                average.reset(network)
            training.set_learning_rate(
                learning_rate_factor(progress, state.step, config.warmup_steps, config.decay_share)
            )
            parts = training.step()
            task.after_step(training.accelerator, network, average.model, parts, state.step)
            average.update(network)
            interrupt = training.advance(parts, bool(interrupted))
            before, progress = progress, budget.progress(state.step, agreement.seconds)
            training.line.update(state, agreement.seconds, progress, _mean_bits(parts), task.status)
            if due(before, progress, config.validations) or progress >= 1:
                training.validate()
            elif interrupt or agreement.seconds - training.saved_at > 60 * config.save_minutes:
                training.save(is_best=False)
            if interrupt and progress < 1:
                training.line.interrupted(state, folder)
                raise KeyboardInterrupt
    training.accelerator.wait_for_everyone()  # a process that leaves early takes the others down with it
    training.accelerator.end_training()
    return training.record


class Training:
    """The loop's objects, and what it does to them: one step, a validation, a save."""

    def __init__(self, task: Task, config: TrainConfig, folder: Path, device: str) -> None:
        self.task, self.config, self.folder = task, config, folder
        self.accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision=_mixed_precision(config, device),
            log_with="tensorboard",
            project_dir=folder,
        )
        self.accelerator.init_trackers("tensorboard")
        self.rank = self.accelerator.process_index
        groups = task.parameter_groups(config.learning_rate)
        # fused: one pass over all parameters instead of some ten
        optimizer = MuonAdam(groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.model, self.optimizer = self.accelerator.prepare(task.network, optimizer)
        self.network: nn.Module = self.accelerator.unwrap_model(self.model)
        self.average = WeightAverage(self.network, config.weight_average)
        self.run = RunFolder(folder)
        self.state = TrainingState()
        if self.run.has_checkpoint():
            self.state = self.run.load(self.network, self.optimizer, self.average)
        self.agreement = Agreement(self.accelerator, self.state.seconds)
        self.saved_at = self.agreement.seconds
        self.record = self.run.records[-1] if self.run.records else {}  # a finished run returns it unchanged
        self.line = ProgressLine(enabled=self.accelerator.is_main_process)

    def set_learning_rate(self, factor: float) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

    def step(self) -> list[PartResult]:
        """One optimiser step; the gradient is the mean over the parts of its batch."""
        self.optimizer.zero_grad(set_to_none=True)
        parts = []
        for part in self.task.losses(self.model, self.state.step, self.rank):
            self.accelerator.backward(part.loss / self.config.gradient_accumulation)
            parts.append(part)
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        return parts

    def advance(self, parts: list[PartResult], interrupted: bool) -> bool:
        """Counts the step; whether any process is `interrupted`. Raises FloatingPointError for a wild loss."""
        self.state.step += 1
        self.state.audio_seconds += self.task.seconds_per_step * self.accelerator.num_processes
        diverged = self.state.step % CHECK_STEPS == 0 and not parts[-1].loss.isfinite()
        interrupted, diverged = self.agreement.any(interrupted, diverged)
        if diverged:
            raise FloatingPointError("the loss is not a finite number")
        return interrupted

    def validate(self) -> None:
        """Measures the averaged network, saves it, writes the record."""
        self._refuse_if(not _all_finite([self.network, self.average.model]), "weights are not finite numbers")
        state, bits = self.state, f"train_bits_per_{self.task.bits_per}"
        validation = self.task.validate(self.average.model)
        self.record = {
            "step": state.step,
            "seconds": round(self.agreement.seconds, 3),
            "audio_hours_seen": round(state.audio_seconds / 3600, 6),
            "audio_seconds_per_second": round(self.line.audio_seconds_per_second, 3),
            bits: self.line.take_mean_bits(),
            **validation.record,
        }
        self._refuse_if(not math.isfinite(sum(_numbers(self.record))), "a validation's figures are not finite numbers")
        value = validation.value
        is_best = value is not None and (state.best_value is None or value <= state.best_value)
        state.best_value = value if is_best else state.best_value
        self.save(is_best)
        if self.accelerator.is_main_process:
            self.run.append_metrics(self.record)
            self.task.write_samples(self.average.model, self.folder / "samples" / f"step-{state.step:08d}")
        self.accelerator.log({"train/bits": self.record[bits], **validation.scalars}, step=state.step)
        self.line.validated(self.record)

    def save(self, is_best: bool) -> None:
        """A checkpoint, by the first process; the others wait."""
        self._refuse_if(not _all_finite([self.network, self.average.model]), "weights are not finite numbers")
        state = self.state
        state.seconds = self.saved_at = self.agreement.seconds
        if self.accelerator.is_main_process:
            info = self.task.info(self.record)
            self.run.save(state, info, self.network, self.optimizer, self.average, is_best)
        self.accelerator.wait_for_everyone()

    def _refuse_if(self, wrong: bool, what: str) -> None:
        """Raises FloatingPointError on all processes if on any something is `wrong`."""
        if any(self.agreement.any(wrong)):
            raise FloatingPointError(what)


@contextmanager
def _divergence_explained(training: Training) -> Iterator[None]:
    """Turns numbers that are not finite into an error that says what to do."""
    try:
        yield
    except FloatingPointError as error:
        last = training.folder / "last"
        kept = f"{last} keeps the last good checkpoint" if training.run.has_checkpoint() else "nothing was saved yet"
        raise DivergenceError(
            f"training diverged by step {training.state.step}: {error}; {kept}. Try another run= folder and a lower "
            f"train.learning_rate (now {training.config.learning_rate:g})"
        ) from None


def _mixed_precision(config: TrainConfig, device: str) -> str:
    """What Accelerate is told. On CPUs "auto" concerns the compiled decoder alone: elsewhere nothing is gained."""
    if config.mixed_precision != "auto":
        return config.mixed_precision
    return "bf16" if device == "cuda" and torch.cuda.is_bf16_supported() else "no"


def _mean_bits(parts: list[PartResult]) -> Tensor:
    return torch.stack([part.bits.detach() for part in parts]).mean()


def _all_finite(networks: Iterable[nn.Module]) -> bool:
    tensors = [tensor for network in networks for tensor in network.state_dict().values()]
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


def _numbers(record: dict[str, Any]) -> Iterator[float]:
    """All figures of a record, nested ones too."""
    for value in record.values():
        if isinstance(value, dict):
            yield from _numbers(value)
        elif isinstance(value, int | float):
            yield value
