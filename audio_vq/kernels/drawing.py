"""Drawing a class from logits, and the exponential it needs: compiled by numba for every sampling kernel."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from audio_vq.kernels.compiling import REORDERED, compiled

Floats = npt.NDArray[np.float32]

BLOCK = 16  # classes added up at a time
_F = np.float32


class Draw(NamedTuple):
    """Working memory of one draw."""

    weight: Floats  # (classes,)
    exponents: npt.NDArray[np.int32]  # (classes,)
    candidates: Floats  # (classes,)


def empty_draw(classes: int) -> Draw:
    return Draw(np.empty(classes, _F), np.empty(classes, np.int32), np.empty(classes, _F))


@compiled(fastmath=REORDERED)
def draw_class(logits: Floats, uniform: float, temperature: float, top_p: float, memory: Draw) -> int:
    """A class by the inverse of the cumulative distribution; logits beyond the classes of `memory` are padding."""
    weight = memory.weight
    classes = len(weight)
    highest = logits[:classes].max()
    inverse = _F(1 / temperature)
    for o in range(classes):
        weight[o] = max((logits[o] - highest) * inverse, _F(-87))
    exp(weight, memory.exponents)
    if top_p < 1:
        threshold = _nucleus(weight, memory.candidates, top_p)
        for o in range(classes):
            weight[o] = weight[o] if weight[o] >= threshold else _F(0)
    total = 0.0
    for first in range(0, classes, BLOCK):
        total += _sum(weight[first : first + BLOCK])
    return _find(weight, uniform * total)


@compiled(fastmath=REORDERED)
def _find(weight: Floats, place: float) -> int:
    """The class at whose weight the cumulative sum passes `place`; blocks first: sixteen sums, not a chain of 256."""
    below, last = 0.0, 0
    for first in range(0, len(weight), BLOCK):
        more = _sum(weight[first : first + BLOCK])
        if more > 0:
            last = first
            if below + more > place:
                break
            below += more
    chosen = last
    for o in range(last, min(last + BLOCK, len(weight))):
        if weight[o] > 0:
            chosen = o
            below += weight[o]
            if below > place:
                break
    return chosen


@compiled(fastmath=REORDERED)
def _sum(x: Floats) -> float:
    total = _F(0)
    for i in range(len(x)):
        total += x[i]
    return float(total)


@compiled(fastmath=REORDERED)
def exp(x: Floats, exponents: npt.NDArray[np.int32]) -> None:
    """Replaces numbers of size up to 87 by their exponentials, to a relative 2e-7.

    It has neither branches nor calls, hence vectorises; np.exp does not.
    """
    powers = exponents.view(np.float32)
    for i in range(len(x)):
        n = np.floor(x[i] * _F(1.4426950408889634) + _F(0.5))
        exponents[i] = (np.int32(n) + np.int32(127)) << np.int32(23)  # the bits of the float 2^n
        # ln 2 in two parts, the first short: n times it is exact
        r = (x[i] - n * _F(0.693359375)) + n * _F(2.12194440e-4)  # |r| ≤ ln 2 / 2
        p = _F(1 / 5040) * r + _F(1 / 720)
        p = p * r + _F(1 / 120)
        p = p * r + _F(1 / 24)
        p = p * r + _F(1 / 6)
        p = p * r + _F(0.5)
        x[i] = (p * r + _F(1)) * r + _F(1)
    for i in range(len(x)):
        x[i] *= powers[i]


@compiled(fastmath=REORDERED)
def _nucleus(weight: Floats, candidates: Floats, top_p: float) -> float:
    """The least weight in the smallest set that holds `top_p` of all (Holtzman et al. 2020, eq. 2)."""
    total = 0.0
    for o in range(len(weight)):
        total += weight[o]
    # classes below this have less than 1 − top_p together: none of them is in the set, and sorting is dear
    floor = (1 - top_p) * total / len(weight)
    count = 0
    for o in range(len(weight)):
        if weight[o] >= floor:
            candidates[count] = weight[o]
            count += 1
    likely = candidates[:count]
    likely.sort()
    held = 0.0
    for i in range(count - 1, -1, -1):
        held += likely[i]
        if held >= top_p * total:
            return likely[i]
    return likely[0]
