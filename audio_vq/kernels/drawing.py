"""Drawing a class from logits."""

import numpy as np

from audio_vq.kernels.arithmetic import LOG2_E, exp2
from audio_vq.kernels.compiling import REORDERED, UNCOUNTED, compiled
from audio_vq.kernels.weights import Floats

BLOCK = 16  # classes added up at a time
_F = np.float32


@compiled(**UNCOUNTED, fastmath=REORDERED)
def draw_class(
    logits: Floats, uniform: float, temperature: float, top_p: float, weights: Floats, candidates: Floats
) -> int:
    """A class by the inverse of the cumulative distribution.

    Weights and candidates are working memory `(classes,)`; logits beyond the classes are padding.
    """
    classes = len(weights)
    highest = logits[0]
    for o in range(classes):
        highest = max(highest, logits[o])
    factor = LOG2_E / _F(temperature)
    for o in range(classes):
        weights[o] = exp2(max((logits[o] - highest) * factor, _F(-120)))
    if top_p < 1:
        least = _nucleus(weights, candidates, top_p)
        for o in range(classes):
            weights[o] = weights[o] if weights[o] >= least else _F(0)
    total = 0.0
    for first in range(0, classes, BLOCK):
        total += _sum(weights[first : first + BLOCK])
    return _find(weights, uniform * total)


@compiled(**UNCOUNTED, fastmath=REORDERED)
def _find(weights: Floats, place: float) -> int:
    """The class at whose weight the cumulative sum passes `place`; blocks first: sixteen sums, not a chain of 256."""
    below, last = 0.0, 0
    for first in range(0, len(weights), BLOCK):
        more = _sum(weights[first : first + BLOCK])
        if more > 0:
            last = first
            if below + more > place:
                break
            below += more
    chosen = last
    for o in range(last, min(last + BLOCK, len(weights))):
        if weights[o] > 0:
            chosen = o
            below += weights[o]
            if below > place:
                break
    return chosen


@compiled(**UNCOUNTED, fastmath=REORDERED)
def _sum(x: Floats) -> float:
    total = _F(0)
    for i in range(len(x)):
        total += x[i]
    return float(total)


@compiled(fastmath=REORDERED, _nrt=True)
def _nucleus(weights: Floats, candidates: Floats, top_p: float) -> float:
    """The least weight in the smallest set that holds `top_p` of all (Holtzman et al. 2020, eq. 2)."""
    total = 0.0
    for o in range(len(weights)):
        total += weights[o]
    # classes below this have less than 1 − top_p together: none of them is in the set, and sorting is dear
    floor = (1 - top_p) * total / len(weights)
    count = 0
    for o in range(len(weights)):
        if weights[o] >= floor:
            candidates[count] = weights[o]
            count += 1
    likely = candidates[:count]
    likely.sort()
    held = 0.0
    for i in range(count - 1, -1, -1):
        held += likely[i]
        if held >= top_p * total:
            return likely[i]
    return likely[0]
