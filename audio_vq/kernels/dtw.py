"""Dynamic time warping of many short sequences, and the ABX triplets it is for."""

import numpy as np
import numpy.typing as npt

from audio_vq.kernels.compiling import compiled

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@compiled()
def warped_distance(table: Floats, rows: Ints, columns: Ints, cost: Floats) -> float:
    """Mean of `table[rows[i], columns[j]]` along the cheapest path from (0, 0) to the last pair of frames.

    A step goes one frame further in one sequence or in both; where ways are equally cheap, it is both, else columns.
    `cost` is room for at least (rows, columns) numbers.
    """
    height, width = len(rows), len(columns)
    cost[0, 0] = table[rows[0], columns[0]]
    for j in range(1, width):
        cost[0, j] = cost[0, j - 1] + table[rows[0], columns[j]]
    for i in range(1, height):
        row = rows[i]
        cost[i, 0] = cost[i - 1, 0] + table[row, columns[0]]
        for j in range(1, width):
            cost[i, j] = table[row, columns[j]] + min(cost[i - 1, j], cost[i - 1, j - 1], cost[i, j - 1])
    # the length of the path, found from its end
    i, j, steps = height - 1, width - 1, 1
    while i > 0 and j > 0:
        up, left, diagonal = cost[i - 1, j], cost[i, j - 1], cost[i - 1, j - 1]
        if diagonal <= left and diagonal <= up:
            i, j = i - 1, j - 1
        elif left <= up:
            j -= 1
        else:
            i -= 1
        steps += 1
    return cost[height - 1, width - 1] / (steps + i + j)


@compiled()
def warped_distances(
    table: Floats, row_frames: Ints, column_frames: Ints, starts: Ints, first: int, stop: int, out: Floats
) -> None:
    """Fills rows `first` to `stop` of `out` `(tokens, tokens)`; its diagonal stays as it is.

    Token t is frames `starts[t]` to `starts[t + 1]`; `table[row_frames[i], column_frames[j]]` is the distance of two
    frames. Row frames begin with those of token `first`.
    """
    tokens = len(starts) - 1
    longest = 0
    for token in range(tokens):
        longest = max(longest, starts[token + 1] - starts[token])
    cost = np.empty((longest, longest), np.float64)
    skipped = starts[first]
    for a in range(first, stop):
        rows = row_frames[starts[a] - skipped : starts[a + 1] - skipped]
        for b in range(tokens):
            if b != a:
                out[a, b] = warped_distance(table, rows, column_frames[starts[b] : starts[b + 1]], cost)


@compiled()
def triplet_errors(distances: Floats, bounds: Ints, cells: Ints, out: Floats) -> None:
    """ABX error of each cell `(A, B, X)` of groups: the share of triplets in which x is not nearer to a than to b.

    Group g is tokens `bounds[g]` to `bounds[g + 1]`. Where X is A itself, a and x are different tokens. A tie is half.
    """
    for cell in range(len(cells)):
        of_a, of_b, of_x = cells[cell]
        wrong, triplets = 0.0, 0
        for x in range(bounds[of_x], bounds[of_x + 1]):
            for a in range(bounds[of_a], bounds[of_a + 1]):
                if a == x:
                    continue
                for b in range(bounds[of_b], bounds[of_b + 1]):
                    if distances[a, x] > distances[b, x]:
                        wrong += 1
                    elif distances[a, x] == distances[b, x]:
                        wrong += 0.5
                    triplets += 1
        out[cell] = wrong / triplets
