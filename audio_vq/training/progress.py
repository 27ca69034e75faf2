"""The live line of a training: a bar on a terminal, a line now and then in a log. Always on stderr."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from torch import Tensor

from audio_vq.training.state import TrainingState

LOG_SECONDS = 20.0  # between lines where there is no terminal
REFRESH_SECONDS = 0.5


class ProgressLine:
    """Bits, the task's status, speed and time left; also keeps the mean of the training bits between validations."""

    def __init__(self, enabled: bool) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.enabled = enabled
        self.bar: Progress | None = None
        if enabled and self.console.is_terminal:
            columns = (TaskProgressColumn(), BarColumn(bar_width=20), TextColumn("{task.description}"))
            self.bar = Progress(*columns, console=self.console, transient=True)
        self.task_id = TaskID(0)
        self.audio_seconds_per_second = 0.0
        self._bits: list[Tensor] = []
        self._mean_bits = float("nan")
        self._shown = 0.0
        self._mark = (0.0, 0.0)  # training seconds and audio seconds at the last look

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
            self.task_id = self.bar.add_task("starting", total=1.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()

    def update(
        self, state: TrainingState, seconds: float, progress: float, bits: Tensor, status: Callable[[], str]
    ) -> None:
        """`status` is asked only when there is something to show: it may have to wait for a GPU."""
        self._bits.append(bits.detach())  # read later: reading now would make a GPU wait
        now = time.perf_counter()
        if now - self._shown < (REFRESH_SECONDS if self.bar else LOG_SECONDS):
            return
        self._shown = now
        if state.audio_seconds > self._mark[1] and seconds > self._mark[0]:
            speed = (state.audio_seconds - self._mark[1]) / (seconds - self._mark[0])
            # the first look includes start-up
            self.audio_seconds_per_second = speed
        self._mark = (seconds, state.audio_seconds)
        recent = float(sum(self._bits[-20:]) / len(self._bits[-20:]))
        left = _clock(seconds * (1 / max(progress, 1e-6) - 1)) if progress < 1 else "0:00"
        text = f"step {state.step}  {recent:.3f} bits  {status()}  {self.audio_seconds_per_second:.1f} s/s  {left} left"
        if self.bar:
            self.bar.update(self.task_id, completed=min(progress, 1.0), description=text)
        elif self.enabled:
            self.console.print(f"{min(progress, 1.0):4.0%}  {text}", markup=False)

    def take_mean_bits(self) -> float:
        """Mean training bits since the last call."""
        if self._bits:
            self._mean_bits = round(float(sum(self._bits)) / len(self._bits), 5)
            self._bits.clear()
        return self._mean_bits

    def validated(self, record: dict[str, Any]) -> None:
        if self.enabled:
            figures = "  ".join(f"{k} {v:.3f}" for k, v in record["valid"].items() if isinstance(v, float))
            codes = f"  used {record['used_units']}/{record['codebook_size']}" if "used_units" in record else ""
            heard = f"  log-mel {record['log_mel_db']:.1f} dB" if "log_mel_db" in record else ""
            self.console.print(f"validation at step {record['step']}: {figures}{codes}{heard}", markup=False)

    def interrupted(self, state: TrainingState, folder: Path) -> None:
        if self.enabled:
            kept = f"{folder} keeps step {state.step}"
            self.console.print(f"audio-vq: interrupted; {kept}, and the same command goes on from there", markup=False)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
