"""Bytes of a file or pipe that is still growing."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

READ_BYTES = 1 << 16
POLL_SECONDS = 0.02


@dataclass
class Ending:
    """Whether the user wants the input to end."""

    wanted: bool = False


@contextmanager
def ended_by_interrupt() -> Iterator[Ending]:
    """The first Ctrl-C ends the input, so that what was heard is finished; the second one interrupts as usual."""
    ending = Ending()
    before = signal.getsignal(signal.SIGINT)

    def end(*_: Any) -> None:
        ending.wanted = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, end)
    try:
        yield ending
    finally:
        signal.signal(signal.SIGINT, before)


def follow_file(path: Path, idle_seconds: float, ending: Ending) -> Iterator[bytes]:
    """A file's bytes, and those that come, until it has not grown for `idle_seconds`."""
    with path.open("rb") as file:
        grown = time.monotonic()
        while not ending.wanted and time.monotonic() - grown < idle_seconds:
            data = file.read(READ_BYTES)
            if data:
                yield data
                grown = time.monotonic()
            else:
                time.sleep(POLL_SECONDS)


def follow_pipe(pipe: BinaryIO, ending: Ending) -> Iterator[bytes]:
    """What a pipe holds, as soon as it holds something, until it is closed."""
    while not ending.wanted and (data := os.read(pipe.fileno(), READ_BYTES)):
        yield data
