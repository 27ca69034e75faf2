"""What this machine can do at best: multiply-adds of one core, and how fast it reads memory."""

import os
import platform
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from audio_vq.bench.measurement import Measurement

WIDTHS = (8, 16)  # floats per vector: which one a CPU likes better is measured
ACCUMULATORS = 12  # independent sums: two units, each with a latency of four to six cycles
BURST = 50_000  # steps, under a millisecond: the best of many bursts is undisturbed by others on the machine
BUFFERS = {"l2_read_gb_per_s": 2**19, "memory_read_gb_per_s": 2**28}  # bytes
NAMES = ("machine_gmacs", *BUFFERS)


def measure_machine(seconds: float) -> list[Measurement]:
    """Peaks of one core: the best burst within `seconds` each."""
    peak = best_rate(multiply_adds(best_width()), seconds)
    rows = [Measurement("machine_gmacs", peak / 1e9, "GMAC/s", context={"precision": "float32", "cores": 1})]
    for name, size in BUFFERS.items():
        rate = best_rate(_reader(size), seconds / 2)
        rows.append(Measurement(name, rate / 1e9, "GB/s", context={"cores": 1}))
    return rows


def describe_machine() -> dict[str, Any]:
    """CPU and GPU models and what they run on, for the context of figures."""
    return {
        "cpu": _cpu_model(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def available_cpus() -> int:
    """Cores that this process may use, as far as the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    names = []
    if info.is_file():
        lines = (line.partition(":") for line in info.read_text(encoding="utf-8").splitlines())
        names = [value.strip() for key, _, value in lines if key.strip() == "model name"]
    return names[0] if names else platform.processor() or "unknown"


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
def best_width() -> int:
    """Floats per vector with which this CPU multiplies and adds most."""
    return max(WIDTHS, key=lambda width: best_rate(multiply_adds(width), 0.02))


def multiply_adds(width: int) -> Callable[[], float]:
    """A burst of multiply-adds on vectors in registers, where memory plays no part; returns their number."""
    kernel = burst_kernel(width)

    def work() -> float:
        kernel(BURST)
        return BURST * width * ACCUMULATORS

    return work


@cache
def burst_kernel(width: int) -> Callable[[int], float]:
    """A compiled loop of so many steps; what it returns needs all of them."""

    @intrinsic
    def burst(_context: Any, _steps: Any) -> Any:
        return types.float32(types.int64), lambda _c, builder, _s, arguments: _emit_burst(builder, arguments[0], width)

    @njit
    def run(steps: int) -> float:
        return burst(steps)

    return run


def _reader(size: int) -> Callable[[], float]:
    """Reads a buffer of so many bytes; returns the size."""
    words = np.ones(size // 8, np.int64)

    def work() -> float:
        _read(words)
        return words.nbytes

    return work


def _emit_burst(builder: ir.IRBuilder, steps: ir.Value, width: int) -> ir.Value:
    """A loop of acc ← acc · ½ + ½ for every accumulator; returns a number that needs them all."""
    integer, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), width)
    half = ir.Constant(vector, [ir.Constant(ir.FloatType(), 0.5)] * width)
    entry = builder.block
    body, done = builder.append_basic_block("body"), builder.append_basic_block("done")
    builder.branch(body)
    builder.position_at_end(body)
    count = builder.phi(integer)
    sums = [builder.phi(vector) for _ in range(ACCUMULATORS)]
    # allowed to contract, product and sum become one instruction
    added = [builder.fadd(builder.fmul(s, half, flags=("contract",)), half, flags=("contract",)) for s in sums]
    following = builder.add(count, ir.Constant(integer, 1))
    count.add_incoming(ir.Constant(integer, 0), entry)
    count.add_incoming(following, body)
    for number, (before, after) in enumerate(zip(sums, added, strict=True)):
        # different beginnings: else the compiler would see that all sums are one
        before.add_incoming(ir.Constant(vector, [ir.Constant(ir.FloatType(), float(number))] * width), entry)
        before.add_incoming(after, body)
    builder.cbranch(builder.icmp_signed("<", following, steps), body, done)
    builder.position_at_end(done)
    total = added[0]
    for each in added[1:]:
        total = builder.fadd(total, each)
    return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))


@njit(cache=True, nogil=True)
def _read(words: npt.NDArray[np.int64]) -> int:
    """Reads all of it; integers, because their sums may be reordered and so vectorise."""
    total = 0
    for i in range(len(words)):
        total ^= words[i]
    return total
