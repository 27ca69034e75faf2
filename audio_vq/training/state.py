"""Run folders: checkpoints with the training state beside them, `last` and `best`, `metrics.jsonl`."""

import json
import math
import shutil
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from audio_vq.checkpoint import (
    CARD_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    CheckpointInfo,
    load_weights,
    save_tensors,
    step_name,
    write_checkpoint,
)
from audio_vq.errors import UserError
from audio_vq.files import TEMPORARY, atomic_folder, atomic_write_text
from audio_vq.training.average import WeightAverage

STATE_FILE, TENSORS_FILE = "training.json", "training.safetensors"
CHECKPOINT_FILES = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE, STATE_FILE, TENSORS_FILE)
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError, UserError)
MUON_MOMENTS = {"step", "momentum"}
ADAM_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}


@dataclass
class TrainingState:
    """Where training stands, besides tensors."""

    step: int = 0
    seconds: float = 0.0  # of training, summed over all sessions
    audio_seconds: float = 0.0
    best_value: float | None = None
    best_step: int | None = None
    average_updates: int = 0

    @classmethod
    def read(cls, file: Path) -> "TrainingState":
        """Raises KeyError or ValueError for a file that is not whole."""
        content = json.loads(file.read_text(encoding="utf-8"))
        state = cls(**{entry.name: content[entry.name] for entry in fields(cls)})
        if not all(value is None or math.isfinite(value) for value in vars(state).values()):
            raise ValueError("a figure is not finite")
        return state


class RunFolder:
    """`checkpoints/step-…`, the links `last` and `best`, and `metrics.jsonl`.

    A checkpoint folder is complete or absent, and the links move only to complete ones: a kill or a full disk at any
    moment leaves the run as it was at the save before. Kept are the last checkpoint, the one before it, in case a
    disk or a copy damages the last, and the best. Copies of runs go on in which links are folders or are missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self.metrics_file = folder / "metrics.jsonl"
        self.records: list[dict[str, Any]] = []  # validations so far

    def has_checkpoint(self) -> bool:
        return bool(self._saved())

    def save(
        self,
        state: TrainingState,
        info: CheckpointInfo,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage,
        is_best: bool,
    ) -> None:
        state.average_updates = average.updates
        if is_best:
            state.best_step = state.step
        name = step_name(state.step)
        with atomic_folder(self.checkpoints / name) as temporary:
            write_checkpoint(temporary, info, average.model.state_dict())
            save_tensors(_training_tensors(model, optimizer), temporary / TENSORS_FILE)
            (temporary / STATE_FILE).write_text(json.dumps(asdict(state)), encoding="utf-8")
        self._link("last", name)
        best = step_name(state.best_step) if state.best_step is not None else None
        if best and (is_best or not (self.folder / "best").exists()):
            self._link("best", best)
        self._remove_all_but(name, best)

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage) -> TrainingState:
        """Restores everything from the last checkpoint, or the newest before it that is not damaged, and says so.

        Raises:
            UserError: all are damaged, or of another model.
        """
        reasons = []
        for folder in self._saved():
            try:
                state = TrainingState.read(folder / STATE_FILE)
                load_weights(folder, average.model)
                tensors = load_file(folder / TENSORS_FILE)
                model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k[:6] == "model."})
                _load_optimizer(optimizer, tensors)
            except DAMAGE as error:
                reasons.append(f"{folder} is damaged ({' '.join(str(error).split())[:200]})")
                continue
            average.updates = state.average_updates
            self.records = self._read_metrics(state.step)
            if reasons and PartialState().is_main_process:
                print(f"{'; '.join(reasons)}; going on from {folder}, step {state.step}", file=sys.stderr)
            return state
        raise UserError(f"{'; '.join(reasons)}; no other checkpoint is left: give another run= folder")

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Adds a validation; those of later steps than training went on from, and lines cut off by a kill, go."""
        self.records.append(record)
        atomic_write_text(self.metrics_file, "".join(json.dumps(each) + "\n" for each in self.records))

    def _read_metrics(self, until: int) -> list[dict[str, Any]]:
        """The validations up to a step."""
        records = []
        for line in self.metrics_file.read_bytes().splitlines() if self.metrics_file.exists() else []:
            with suppress(ValueError, TypeError, KeyError):
                record = json.loads(line)
                if record["step"] <= until:
                    records.append(record)
        return records

    def _saved(self) -> list[Path]:
        """Folders of checkpoints that training can go on from, latest first; `last` only where it is no link."""
        last = self.folder / "last"
        copied = [last] if last.is_dir() and not last.is_symlink() else []
        folders = [*copied, *sorted(self.checkpoints.glob("step-*"), reverse=True), self.folder / "best"]
        return [folder for folder in folders if (folder / TENSORS_FILE).is_file()]

    def _link(self, name: str, target: str) -> None:
        link = self.folder / name
        if link.is_dir() and not link.is_symlink():
            _remove_checkpoint(link)
        temporary = self.folder / f"{TEMPORARY}{name}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(Path("checkpoints") / target, target_is_directory=True)
        temporary.replace(link)

    def _remove_all_but(self, last: str, best: str | None) -> None:
        """Keeps the one before the last, too. What a kill left half-written goes, and what was damaged and is later."""
        folders = sorted(folder.name for folder in self.checkpoints.iterdir())
        steps = [name for name in folders if name.startswith("step-")]
        before = max((name for name in steps if name < last), default=None)
        for name in steps:
            if name not in {last, before, best}:
                _remove_checkpoint(self.checkpoints / name)
        for name in folders:
            if name.startswith(TEMPORARY):
                shutil.rmtree(self.checkpoints / name)


def _remove_checkpoint(folder: Path) -> None:
    """Removes our files, and the folder if nothing else is in it."""
    for name in CHECKPOINT_FILES:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _training_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Raw weights and optimiser moments under flat names, for safetensors."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            tensors[f"optimizer.{index}.{name}"] = value
    return tensors


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        kind, _, rest = key.partition(".")
        if kind == "optimizer":
            index, _, name = rest.partition(".")
            moments.setdefault(int(index), {})[name] = tensor
    if any(names.keys() not in (ADAM_MOMENTS, MUON_MOMENTS) for names in moments.values()):
        raise KeyError("moments of the optimiser are missing")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
