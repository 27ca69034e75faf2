"""What a benchmark measures, and how: in turns, so that a machine that slows down slows everybody."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

ROUNDS = 5


@dataclass(frozen=True)
class Measurement:
    """One measured thing.

    Attributes:
        name: as in `audio-vq bench --json`.
        value: in `unit`.
        unit: for instance "samples/s".
        ratio: how many times the value of `baseline`, both measured in turns in one run; None without a baseline.
        baseline: name of the measurement it is compared with.
        context: the configuration it holds for.
    """

    name: str
    value: float
    unit: str
    ratio: float | None = None
    baseline: str | None = None
    context: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """What the measuring may use.

    Attributes:
        seconds: per measured thing, warm-up not counted.
        threads: of the things measured.
    """

    seconds: float = 2.0
    threads: int = 1


@dataclass(frozen=True)
class Rates:
    """Work per second of contenders that took turns: one entry per round."""

    rounds: dict[str, list[float]]

    def best(self, name: str) -> float:
        return max(self.rounds[name])

    def median(self, name: str) -> float:
        return statistics.median(self.rounds[name])

    def ratio(self, name: str, baseline: str) -> float:
        """Median over rounds of the ratio within the round: what changes between rounds cancels."""
        pairs = zip(self.rounds[name], self.rounds[baseline], strict=True)
        return statistics.median(fast / plain for fast, plain in pairs)


def take_turns(contenders: Mapping[str, Callable[[], float]], seconds: float) -> Rates:
    """Lets the contenders work in turns, for about `seconds` each, in five rounds.

    Each call does some work and returns how much. A call beforehand, in which things are compiled and caches fill, does
    not count.
    """
    for work in contenders.values():
        work()
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, work in contenders.items():
            rounds[name].append(_rate(work, seconds / ROUNDS))
    return Rates(rounds)


def _rate(work: Callable[[], float], seconds: float) -> float:
    """Amount of work per second, from one call or as many as `seconds` hold."""
    amount, begin = 0.0, time.perf_counter()
    while True:
        amount += work()
        elapsed = time.perf_counter() - begin
        if elapsed >= seconds:
            return amount / elapsed
