"""Arithmetic coding of integers: as many bits as a model of them promises, and two at most beyond.

Witten, Neal and Cleary, "Arithmetic coding for data compression" (1987), on whole numbers throughout, so that encoder
and decoder agree on any machine. A model is a table of cumulative frequencies, `(symbols + 1,)` from 0 to their total:
symbol k has the interval from `table[k]` to `table[k + 1]`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat

import numpy as np

PRECISION = 60  # bits of the interval's ends
TOTAL = 1 << 24  # about what the frequencies of `frequency_tables` add up to: small against the interval

_WHOLE = 1 << PRECISION
_HALF, _QUARTER = _WHOLE // 2, _WHOLE // 4


def frequency_tables(probabilities: np.ndarray) -> np.ndarray:
    """Cumulative frequencies `(…, symbols + 1)` int64 of probabilities `(…, symbols)`; no symbol has none."""
    frequencies = np.floor(probabilities * TOTAL).astype(np.int64) + 1
    return np.concatenate([np.zeros_like(frequencies[..., :1]), np.cumsum(frequencies, axis=-1)], axis=-1)


def ideal_bits(symbols: np.ndarray, tables: np.ndarray) -> float:
    """−Σ log2 of the frequencies of `symbols` `(time,)` under one table or one for each, `(time, symbols + 1)`."""
    tables = np.broadcast_to(tables, (len(symbols), tables.shape[-1]))
    at = np.arange(len(symbols))
    shares = (tables[at, symbols + 1] - tables[at, symbols]) / tables[:, -1]
    return float(-np.log2(shares).sum())


def encode(symbols: Iterable[int], tables: Iterable[Sequence[int]]) -> bytearray:
    """The code as one bit (0 or 1) per entry; `tables` has one table for each symbol."""
    bits = bytearray()
    low, high, pending = 0, _WHOLE - 1, 0

    def put(bit: int) -> None:
        nonlocal pending
        bits.append(bit)
        bits.extend(repeat(1 - bit, pending))
        pending = 0

    for symbol, table in zip(symbols, tables, strict=False):
        low, high = _narrowed(low, high, int(table[symbol]), int(table[symbol + 1]), int(table[-1]))
        while True:
            if high < _HALF:
                put(0)
            elif low >= _HALF:
                put(1)
                low, high = low - _HALF, high - _HALF
            elif low >= _QUARTER and high < _HALF + _QUARTER:  # the ends come together around the middle
                pending += 1
                low, high = low - _QUARTER, high - _QUARTER
            else:
                break
            low, high = 2 * low, 2 * high + 1
    pending += 1
    put(int(low >= _QUARTER))  # a quarter that lies inside, whatever follows
    return bits


def decode(bits: Iterable[int], tables: Iterable[Sequence[int]]) -> Iterator[int]:
    """The symbols that `encode` was given, one for each table. A table may depend on the symbols before."""
    following = chain(bits, repeat(0))
    low, high, value = 0, _WHOLE - 1, 0
    for _ in range(PRECISION):
        value = 2 * value + next(following)
    for table in tables:
        total = int(table[-1])
        symbol = bisect_right(table, ((value - low + 1) * total - 1) // (high - low + 1)) - 1
        yield symbol
        low, high = _narrowed(low, high, int(table[symbol]), int(table[symbol + 1]), total)
        while True:
            if low >= _HALF:
                low, high, value = low - _HALF, high - _HALF, value - _HALF
            elif low >= _QUARTER and high < _HALF + _QUARTER:
                low, high, value = low - _QUARTER, high - _QUARTER, value - _QUARTER
            elif high >= _HALF:
                break
            low, high, value = 2 * low, 2 * high + 1, 2 * value + next(following)


def _narrowed(low: int, high: int, start: int, end: int, total: int) -> tuple[int, int]:
    """The part of an interval (both ends included) that belongs to frequencies from `start` to `end`."""
    size = high - low + 1
    return low + size * start // total, low + size * end // total - 1
