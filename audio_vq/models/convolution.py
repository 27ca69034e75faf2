"""Convolutions over `(batch, time, channels)` as matrix products over overlapping rows."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHARED_FROM = 512  # values in a row: from here on, a quarter fewer multiplications outweigh some additions (CPUs)


class Convolution(nn.Conv1d):
    """`nn.Conv1d` over `(batch, time, channels)`, padded with zeros so that time shrinks by exactly `stride`.

    The window is a multiple of the stride: with `stride` time steps to a row, it is `window / stride` rows.
    """

    def __init__(self, in_channels: int, out_channels: int, window: int, stride: int = 1) -> None:
        assert window % stride == 0
        super().__init__(in_channels, out_channels, window, stride)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name is nn.Conv1d's
        window, stride = self.kernel_size[0], self.stride[0]
        left = (window - stride) // 2
        right = window - stride - left
        matrix = self.weight.transpose(1, 2).flatten(1)  # (out, in, window) → (out, window · in)
        if window == 2 * stride and stride * self.in_channels >= SHARED_FROM and input.device.type == "cpu":
            return shared_products(padded_rows(input, stride, left, right), matrix, self.bias)
        return F.linear(overlapping_rows(input, window, stride, left, right), matrix, self.bias)


def overlapping_rows(x: Tensor, window: int, stride: int, left: int, right: int) -> Tensor:
    """What a convolution sees at each of its places: `(batch, time, C)` → `(batch, time / stride, window · C)`.

    `window` is a multiple of `stride`; `left` and `right` are the zeros beyond the ends, together `window − stride`.
    """
    if window == stride == 1:
        return x
    rows = padded_rows(x, stride, left, right)
    taps = window // stride
    places = rows.shape[1] - taps + 1
    return torch.cat([rows[:, tap : tap + places] for tap in range(taps)], 2)


def padded_rows(x: Tensor, stride: int, left: int, right: int) -> Tensor:
    """`stride` time steps side by side: `(batch, time, C)` → `(batch, (left + time + right) / stride, stride · C)`."""
    return F.pad(x, (0, 0, left, right)).reshape(len(x), -1, stride * x.shape[2])


def shared_products(rows: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """`linear` of every two neighbouring rows `(batch, places + 1, K)`, with three matrix products for four.

    For neighbours p, q, r and the matrix's halves A, B (Winograd 1980, F(2, 2)):
    Ap + Bq = A(p − q) + (A + B)q and Aq + Br = B(r − q) + (A + B)q.
    """
    places = rows.shape[1] - 1
    rows = F.pad(rows, (0, 0, 0, places % 2))  # an odd place has no neighbour to share with
    p, q, r = rows[:, 0:-2:2], rows[:, 1:-1:2], rows[:, 2::2]
    first, second = matrix.chunk(2, 1)
    shared = F.linear(q, first + second, bias)
    both = torch.stack([F.linear(p - q, first) + shared, F.linear(r - q, second) + shared], 2)
    return both.flatten(1, 2)[:, :places]


def silenced(x: Tensor, inside: Tensor | None) -> Tensor:
    """`x` `(batch, time, channels)` with zeros where `inside` `(batch, units)` is zero."""
    if inside is None:
        return x
    return (x.unflatten(1, (inside.shape[1], -1)) * inside[:, :, None, None]).flatten(1, 2)
