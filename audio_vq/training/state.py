"""Run folders: checkpoints with the training state beside them, `last` and `best`, `metrics.jsonl`."""

import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from audio_vq.checkpoint import CheckpointInfo, load_weights, save_tensors, write_checkpoint
from audio_vq.errors import UserError
from audio_vq.files import TEMPORARY, atomic_folder, atomic_write_text
from audio_vq.training.average import WeightAverage


@dataclass
class TrainingState:
    """Where training stands, besides tensors."""

    step: int = 0
    seconds: float = 0.0  # of training, summed over all sessions
    audio_seconds: float = 0.0
    best_value: float | None = None
    average_updates: int = 0


class RunFolder:
    """`checkpoints/step-…`, the links `last` and `best`, and `metrics.jsonl`.

    A checkpoint folder is complete or absent, and the links move only to complete ones: a kill or a full disk at any
    moment leaves the run as it was at the save before.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics_file = folder / "metrics.jsonl"

    def has_checkpoint(self) -> bool:
        return (self.folder / "last" / "training.safetensors").is_file()

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
        name = f"step-{state.step:08d}"
        with atomic_folder(self.folder / "checkpoints" / name) as temporary:
            write_checkpoint(temporary, info, average.model.state_dict())
            save_tensors(_training_tensors(model, optimizer), temporary / "training.safetensors")
            (temporary / "training.json").write_text(json.dumps(asdict(state)), encoding="utf-8")
        self._link("last", name)
        if is_best:
            self._link("best", name)
        self._remove_old()

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage) -> TrainingState:
        """Restores everything from `last`.

        Raises:
            UserError: the run belongs to another configuration.
        """
        last = self.folder / "last"
        load_weights(last, average.model)
        tensors = load_file(last / "training.safetensors")
        try:
            weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(f"{self.folder} holds a run of another model: {str(error).splitlines()[0]}") from None
        _load_optimizer(optimizer, tensors)
        state = TrainingState(**json.loads((last / "training.json").read_text(encoding="utf-8")))
        average.updates = state.average_updates
        self._forget_metrics_after(state.step)
        return state

    def append_metrics(self, record: dict[str, Any]) -> None:
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _forget_metrics_after(self, step: int) -> None:
        """Drops validations that a kill left without their checkpoint: they will be made again."""
        if self.metrics_file.exists():
            lines = self.metrics_file.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
            atomic_write_text(self.metrics_file, "".join(line + "\n" for line in kept))

    def _link(self, name: str, target: str) -> None:
        temporary = self.folder / f".{name}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(Path("checkpoints") / target, target_is_directory=True)
        temporary.replace(self.folder / name)

    def _remove_old(self) -> None:
        """Keeps what `last` and `best` point to; what a kill left half-written goes too."""
        kept = {(self.folder / n).readlink() for n in ("last", "best") if (self.folder / n).is_symlink()}
        for folder in (self.folder / "checkpoints").iterdir():
            if (
                re.match(rf"{re.escape(TEMPORARY)}|step-\d+", folder.name)
                and Path("checkpoints", folder.name) not in kept
            ):
                shutil.rmtree(folder)


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
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
