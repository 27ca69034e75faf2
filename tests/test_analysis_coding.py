"""The arithmetic coder: what comes out went in, and it takes the bits the model promises."""

from itertools import repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_vq.analysis.measures.coding import TOTAL, decode, encode, frequency_tables, ideal_bits


@given(
    symbols=st.lists(st.integers(0, 5), max_size=300),
    weights=st.lists(st.floats(0, 1e6), min_size=6, max_size=6).filter(lambda weights: sum(weights) > 0),
)
def test_round_trip_and_length(symbols, weights):
    table = frequency_tables(np.array(weights) / sum(weights))
    bits = encode(symbols, repeat(table))
    assert list(decode(bits, repeat(table, len(symbols)))) == symbols
    # an interval of size s holds a dyadic one of at least s / 4; ends rounded to 60 bits cost less than 1e-6
    ideal = ideal_bits(np.array(symbols, np.int64), table)
    assert ideal - 1e-6 < len(bits) < ideal + 2 + 1e-6


def test_a_table_for_every_symbol():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(50, 0.1), size=4000)
    symbols = np.array([rng.choice(50, p=each) for each in probabilities])
    tables = frequency_tables(probabilities)
    bits = encode(symbols, tables)
    assert list(decode(bits, tables)) == symbols.tolist()
    promised = -np.log2(probabilities[np.arange(4000), symbols]).sum()
    # rounding adds at most 1 of TOTAL to each of 50 symbols: 50 / TOTAL / ln 2 bits for each of 4000
    assert abs(len(bits) - promised) < 2 + 4000 * 50 / TOTAL / np.log(2)


def test_what_the_model_does_not_expect_is_coded_too():
    table = frequency_tables(np.array([1.0, 0.0]))
    bits = encode([0] * 10000 + [1], repeat(table))
    assert list(decode(bits, repeat(table, 10001))) == [0] * 10000 + [1]
    assert len(bits) == pytest.approx(24 + 10000 / TOTAL / np.log(2), abs=2)


def test_the_decoder_may_learn_as_it_goes():
    """Adaptive counts: each table depends on the symbols before, which the decoder has by then."""

    def tables(seen, count):
        for _ in range(count):
            yield np.cumsum([0, *np.bincount(seen, minlength=4) + 1])

    rng = np.random.default_rng(0)
    symbols = rng.choice(4, p=[0.7, 0.2, 0.05, 0.05], size=500).tolist()
    before = [list(symbols[:t]) for t in range(len(symbols))]
    bits = encode(symbols, (next(tables(np.array(each, int), 1)) for each in before))
    decoded = []
    decoded.extend(decode(bits, (next(tables(np.array(decoded, int), 1)) for _ in symbols)))
    assert decoded == symbols
    entropy = 0.7 * np.log2(1 / 0.7) + 0.2 * np.log2(5) + 0.1 * np.log2(20)
    assert len(bits) / len(symbols) == pytest.approx(entropy, abs=0.15)
