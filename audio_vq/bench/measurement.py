"""What a benchmark measures, and how: in turns, so that a machine that slows down slows everybody."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MIN_ROUNDS = 3


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

    def median(self, name: str) -> float:
        return statistics.median(self.rounds[name])

    def ratio(self, name: str, baseline: str) -> float:
        """Median over rounds of the ratio within the round: what changes between rounds cancels."""
        pairs = zip(self.rounds[name], self.rounds[baseline], strict=True)
        return statistics.median(fast / plain for fast, plain in pairs)


def take_turns(contenders: Mapping[str, Callable[[], float]], seconds: float) -> Rates:
    """Calls the contenders in turns, for about `seconds` each, at least three times.

    Each call does some work and returns how much; the first round, in which things are compiled and caches fill, does
    not count.
    """
    for work in contenders.values():
        work()
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    end = time.perf_counter() + seconds * len(contenders)
    while len(next(iter(rounds.values()))) < MIN_ROUNDS or time.perf_counter() < end:
        for name, work in contenders.items():
            begin = time.perf_counter()
            amount = work()
            rounds[name].append(amount / (time.perf_counter() - begin))
    return Rates(rounds)
