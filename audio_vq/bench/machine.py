"""What this machine can do at best: multiply-adds of one core, and how fast it reads memory."""

import time
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from audio_vq.bench.measurement import Measurement
from audio_vq.kernels.compiling import compiled

SUMS = 96  # fit into registers; twelve or six vectors, for two units each with a latency of four to six cycles
BURST = 50_000  # steps, under a millisecond: the best of many bursts is undisturbed by others on the machine
SIDE = 256  # of matrices that stay in the cache
BUFFERS = {"l2_read_gb_per_s": 2**19, "memory_read_gb_per_s": 2**28}  # bytes
NAMES = ("machine_gmacs", *BUFFERS)


def measure_machine(seconds: float) -> list[Measurement]:
    """Peaks of one core: the best burst within `seconds` each."""
    peak = best_rate(multiply_adds(), seconds)
    rows = [Measurement("machine_gmacs", peak / 1e9, "GMAC/s", context={"precision": "float32", "cores": 1})]
    for name, size in BUFFERS.items():
        rate = best_rate(_reader(size), seconds / 2)
        rows.append(Measurement(name, rate / 1e9, "GB/s", context={"cores": 1}))
    return rows


def best_rate(work: Callable[[], float], seconds: float) -> float:
    """Amount of work per second in the best of the calls that fit into `seconds`."""
    work()
    best, end = 0.0, time.perf_counter() + seconds
    while best == 0.0 or time.perf_counter() < end:
        begin = time.perf_counter()
        amount = work()
        best = max(best, amount / (time.perf_counter() - begin))
    return best


@cache
def multiply_adds() -> Callable[[], float]:
    """Multiply-adds of one core that memory has no part in; returns their number.

    The faster one of a plain loop and a matrix product, which may use wider vectors than the compiler of loops dares.
    """
    return max((burst, _product()), key=lambda work: best_rate(work, 0.02))


def burst() -> float:
    """A loop on numbers in registers."""
    sums = np.zeros(SUMS, np.float32)
    multiply_and_add(sums, BURST)
    return BURST * SUMS


@compiled(fastmath={"contract"})
def multiply_and_add(sums: npt.NDArray[np.float32], steps: int) -> None:
    """Sums `(SUMS,)` become sums / 2 + 1 / 2, so many times; allowed to contract, both are one instruction."""
    half = np.float32(0.5)
    for _ in range(steps):
        for i in range(SUMS):
            sums[i] = sums[i] * half + half


def _product() -> Callable[[], float]:
    matrix, out = torch.ones(SIDE, SIDE), torch.empty(SIDE, SIDE)

    def work() -> float:
        torch.mm(matrix, matrix, out=out)
        return SIDE**3

    return work


def _reader(size: int) -> Callable[[], float]:
    """Reads a buffer of so many bytes; returns the size."""
    words = np.ones(size // 8, np.int64)

    def work() -> float:
        _read(words)
        return words.nbytes

    return work


@compiled()
def _read(words: npt.NDArray[np.int64]) -> int:
    """Reads all of it; integers, because their sums may be reordered and so vectorise."""
    total = 0
    for i in range(len(words)):
        total ^= words[i]
    return total
