"""Training examples prepared in the background, one step ahead, so that a GPU never waits for them."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    waveform: Tensor  # (batch, time)
    speaker: Tensor  # (batch,)

    def pinned(self) -> "Batch":
        """In memory that a GPU can read by itself, while the program goes on."""
        return Batch(self.waveform.pin_memory(), self.speaker.pin_memory())

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.waveform.to(device, non_blocking=True), self.speaker.to(device, non_blocking=True))

    def split(self, size: int) -> Iterator["Batch"]:
        """Parts of `size` examples each."""
        for waveform, speaker in zip(self.waveform.split(size), self.speaker.split(size), strict=True):
            yield Batch(waveform, speaker)


class Prefetch:
    """While one batch is used, the next step's is being made.

    What comes is always what `make(step, rank)` gives: asking in another order costs time, nothing else.
    """

    def __init__(self, make: Callable[[int, int], Batch]) -> None:
        self.make = make
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._ahead: tuple[tuple[int, int], Future[Batch]] | None = None

    def batch(self, step: int, rank: int, device: torch.device) -> Batch:
        """The batch of (step, rank) on a device."""
        on_gpu = device.type == "cuda"
        if self._ahead is not None and self._ahead[0] == (step, rank):
            batch = self._ahead[1].result()
        else:
            batch = self._prepare(step, rank, on_gpu)
        self._ahead = (step + 1, rank), self._worker.submit(self._prepare, step + 1, rank, on_gpu)
        return batch.to(device)

    def _prepare(self, step: int, rank: int, pinned: bool) -> Batch:
        batch = self.make(step, rank)
        return batch.pinned() if pinned else batch
