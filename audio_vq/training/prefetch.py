"""Training examples prepared in the background, one step ahead, so that a GPU never waits for them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from audio_vq.models.vqvae import Heard


class Prefetch:
    """While one batch is used, the next step's is being made.

    What comes is always what `make(step, rank)` gives: asking in another order costs time, nothing else.
    """

    def __init__(self, make: Callable[[int, int], Heard]) -> None:
        self.make = make
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._ahead: tuple[tuple[int, int], Future[Heard]] | None = None

    def batch(self, step: int, rank: int, device: torch.device) -> Heard:
        """The batch of (step, rank) on a device."""
        on_gpu = device.type == "cuda"
        if self._ahead is not None and self._ahead[0] == (step, rank):
            batch = self._ahead[1].result()
        else:
            batch = self._prepare(step, rank, on_gpu)
        self._ahead = (step + 1, rank), self._worker.submit(self._prepare, step + 1, rank, on_gpu)
        return batch.to(device)

    def _prepare(self, step: int, rank: int, pinned: bool) -> Heard:
        batch = self.make(step, rank)
        return batch.pinned() if pinned else batch
