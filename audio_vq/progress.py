"""How far long work is, and messages, on stderr, where results do not go.

On a terminal a bar moves; elsewhere a line is written now and then, without control codes.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

LOG_SECONDS = 20.0  # between lines where there is no terminal
ITEMS, AUDIO = "", "s"  # what is counted: things, or seconds of audio

Told = Callable[[float], None]  # is told of amounts that were done


@dataclass(eq=False)
class ProgressBar:
    """One kind of work: so much of a total is done. Any thread may say so."""

    display: "ProgressDisplay"
    description: str
    total: float
    completed: float
    unit: str
    begin: float = field(init=False)  # seconds of a clock
    _first: tuple[float, float] | None = None  # when something was first done, and how much was done by then
    _latest: float = 0.0  # when something was last done

    def __post_init__(self) -> None:
        self.begin = time.perf_counter()

    def advance(self, amount: float = 1.0) -> None:
        self.display.advance(self, amount)

    def add(self, amount: float) -> None:
        self.completed += amount
        self._latest = time.perf_counter()
        if self._first is None:
            self._first = (self._latest, self.completed)

    def say(self, message: str) -> None:
        """A line above the bars; file names are printed as they are."""
        self.display.say(message)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.begin

    @property
    def rate(self) -> float:
        """Amount a second since something was first done: what waited for other work before is not slow. 0: unknown."""
        if self._first is None:
            return 0.0
        since, before = self._first
        return (self.completed - before) / max(self._latest - since, 1e-9)

    def amount_text(self) -> str:
        most = max(self.total, self.completed)  # lengths of recordings may be known roughly only
        return f"{self.completed:.0f}/{most:.0f}{f' {self.unit}' if self.unit else ''}"

    def rate_text(self) -> str:
        if not self.rate:
            return ""
        return f"{self.rate:.1f} × real time" if self.unit == AUDIO else f"{self.rate:.3g}/s"

    def line(self) -> str:
        left = f"{clock((self.total - self.completed) / self.rate)} left" if self.rate else ""
        return "  ".join(part for part in (self.description, self.amount_text(), self.rate_text(), left) if part)


class ProgressDisplay:
    """Bars below each other. Use `progress_display`."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._lock = threading.Lock()
        self._tasks: dict[ProgressBar, TaskID] = {}  # on a terminal
        self._written: dict[ProgressBar, float] = {}  # elsewhere: when a line was last, or the bar's beginning
        self._live: Progress | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), _Amount(), _Rate())
            self._live = Progress(
                *columns,
                TimeRemainingColumn(),
                console=self._console,
                redirect_stdout=sys.stdout.isatty(),  # else what is piped on would come out on stderr
            )

    def add(self, description: str, total: float, completed: float = 0.0, unit: str = ITEMS) -> ProgressBar:
        bar = ProgressBar(self, description, total, completed, unit)
        if self._live:
            self._tasks[bar] = self._live.add_task(description, total=total, ours=bar)
            self._live.update(self._tasks[bar], completed=completed)
        else:
            self._written[bar] = bar.begin
        return bar

    def say(self, message: str) -> None:
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def start(self) -> None:
        if self._live:
            self._live.start()

    def stop(self) -> None:
        if self._live:
            self._live.stop()
        for bar, written in self._written.items():
            if written > bar.begin:
                self.say(f"{bar.description}  {bar.amount_text()}  in {clock(bar.seconds)}")

    def advance(self, bar: ProgressBar, amount: float) -> None:
        with self._lock:
            bar.add(amount)
            if self._live:
                self._live.update(self._tasks[bar], completed=bar.completed, total=max(bar.total, bar.completed))
                return
            now = time.perf_counter()
            if now - self._written[bar] < LOG_SECONDS or bar.completed >= bar.total:
                return
            self._written[bar] = now
        self.say(bar.line())


class _Amount(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(task.fields["ours"].amount_text())


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(task.fields["ours"].rate_text())


@contextmanager
def progress_display() -> Iterator[ProgressDisplay]:
    display = ProgressDisplay()
    display.start()
    try:
        yield display
    finally:
        display.stop()


@contextmanager
def progress_bar(description: str, *, total: float, completed: float = 0.0, unit: str = ITEMS) -> Iterator[ProgressBar]:
    """One bar alone."""
    with progress_display() as display:
        yield display.add(description, total, completed, unit)


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are some."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
