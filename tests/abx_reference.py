"""ABX in plain loops over lists, written from its definition: slow, and independent of the project's own."""

import math
from collections import defaultdict

STEPS = 2**24  # to which angles are rounded, so that ties are ties


def abx(utterances, across):
    """Error rate of utterances `(speaker, intervals, frames, seconds per frame)`, without subsampling.

    Intervals are (start, end, label) in seconds, frames are vectors. None where nothing can be compared.
    """
    groups = tokens_of(utterances)
    errors = defaultdict(lambda: defaultdict(list))  # (phone of a, phone of b) → speaker → errors
    for (context, phone_a, speaker), tokens_a in groups.items():
        for (context_b, phone_b, speaker_b), tokens_b in groups.items():
            if context_b != context or phone_b == phone_a or speaker_b != speaker:
                continue
            for (context_x, phone_x, speaker_x), tokens_x in groups.items():
                if context_x == context and phone_x == phone_a and (speaker_x != speaker) == across:
                    error = triplets(tokens_a, tokens_b, tokens_x)
                    if error is not None:
                        errors[phone_a, phone_b][speaker].append(error)
    pairs = [mean(mean(cells) for cells in speakers.values()) for speakers in errors.values()]
    return mean(pairs) if pairs else None


def tokens_of(utterances):
    """(context, phone, speaker) → list of (serial number, frames)."""
    groups, serial = defaultdict(list), 0
    for speaker, intervals, frames, step in utterances:
        for i in range(1, len(intervals) - 1):
            before, middle, after = intervals[i - 1], intervals[i], intervals[i + 1]
            if "SIL" in (before[2], middle[2], after[2]):
                continue
            inside = [frame for n, frame in enumerate(frames) if before[0] <= (n + 0.5) * step < after[1]]
            if inside:
                groups[(before[2], after[2]), middle[2], speaker].append((serial, inside))
                serial += 1
    return groups


def triplets(tokens_a, tokens_b, tokens_x):
    scores = []
    for x in tokens_x:
        for a in tokens_a:
            if a[0] == x[0]:
                continue
            for b in tokens_b:
                to_a, to_b = distance(a[1], x[1]), distance(b[1], x[1])
                scores.append(0.5 if to_a == to_b else 1.0 if to_a > to_b else 0.0)
    return mean(scores) if scores else None


def distance(rows, columns):
    """Mean angle along the cheapest alignment."""
    cost = {}
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            ways = [cost[way] for way in ((i - 1, j), (i - 1, j - 1), (i, j - 1)) if way in cost]
            cost[i, j] = angle(row, column) + (min(ways) if ways else 0.0)
    i, j = len(rows) - 1, len(columns) - 1
    total, steps = cost[i, j], 1
    while (i, j) != (0, 0):
        if i == 0:
            j -= 1
        elif j == 0:
            i -= 1
        elif cost[i - 1, j - 1] <= cost[i, j - 1] and cost[i - 1, j - 1] <= cost[i - 1, j]:
            i, j = i - 1, j - 1
        elif cost[i, j - 1] <= cost[i - 1, j]:
            j -= 1
        else:
            i -= 1
        steps += 1
    return total / steps


def angle(u, v):
    """As a share of π."""
    lengths = math.sqrt(sum(a * a for a in u)) * math.sqrt(sum(b * b for b in v))
    cosine = sum(a * b for a, b in zip(u, v, strict=True)) / lengths if lengths else 0.0
    return round(math.acos(max(-1.0, min(1.0, cosine))) / math.pi * STEPS) / STEPS


def mean(values):
    values = list(values)
    return sum(values) / len(values)
