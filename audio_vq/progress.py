"""A progress bar and messages on stderr, where results do not go."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


@dataclass(frozen=True)
class ProgressBar:
    bar: Progress
    task: TaskID

    def advance(self) -> None:
        self.bar.advance(self.task)

    def say(self, message: str) -> None:
        """A line above the bar; file names are printed as they are."""
        self.bar.console.print(message, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(description: str, *, total: int, completed: int = 0) -> Iterator[ProgressBar]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield ProgressBar(bar, bar.add_task(description, total=total, completed=completed))
