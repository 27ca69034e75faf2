"""What the processes of one training agree on: how long it has taken, and when it has to stop."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from accelerate import Accelerator
from torch import distributed

ECHO_SECONDS = 1.0  # a launcher passes on a Ctrl-C that its processes have already had from the terminal


class Agreement:
    """Flags and a clock that all processes see alike: those of one are those of all.

    They are compared through the memory of the hosts, so that no GPU has to finish first, and in every step: a
    process that stopped alone would leave the others waiting for ever.
    """

    def __init__(self, accelerator: Accelerator, seconds: float) -> None:
        """`seconds` of training lie behind. Has to be made by all processes together."""
        self.seconds = seconds  # of training, by the first process's clock when they last agreed
        self._start = time.perf_counter() - seconds
        self._is_first = accelerator.is_main_process
        self._hosts = distributed.new_group(backend="gloo") if accelerator.num_processes > 1 else None

    def any(self, *flags: bool) -> list[bool]:
        """Of each flag whether any process has raised it. To be called by all processes at the same place."""
        seconds = time.perf_counter() - self._start
        values = torch.tensor([seconds if self._is_first else 0.0, *flags], dtype=torch.float64)
        if self._hosts is not None:
            distributed.all_reduce(values, distributed.ReduceOp.MAX, group=self._hosts)
        self.seconds = float(values[0])
        return [bool(value) for value in values[1:]]


class Interruptions:
    """Whether Ctrl-C or SIGTERM has come."""

    def __init__(self) -> None:
        self.at: float | None = None  # monotonic seconds

    def note(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.at is not None and now - self.at > ECHO_SECONDS:
            raise KeyboardInterrupt
        self.at = self.at or now

    def __bool__(self) -> bool:
        return self.at is not None


@contextmanager
def interruptions() -> Iterator[Interruptions]:
    """Signals end the step, not the process: the caller asks, saves, leaves. A second one is immediate."""
    received = Interruptions()
    before = {number: signal.signal(number, received.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
