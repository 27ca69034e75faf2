"""Boundary scores by hand and by brute force."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_vq.analysis.alignment.alignments import Alignment
from audio_vq.analysis.measures.segments import (
    Boundaries,
    count_matches,
    r_value,
    score_boundaries,
    utterance_boundaries,
)

times = st.lists(st.integers(0, 30), max_size=6, unique=True).map(lambda t: np.array(sorted(t)) / 100)


def test_r_value_by_hand():
    assert r_value(1.0, 0.0) == 1
    # Räsänen et al.: r1 = sqrt((1 − HR)² + OS²), r2 = (−OS + HR − 1) / √2, R = 1 − (|r1| + |r2|) / 2
    assert r_value(0.8, 0.5) == pytest.approx(1 - (math.sqrt(0.04 + 0.25) + 0.7 / math.sqrt(2)) / 2)
    assert r_value(1.0, 1.0) < 0.2  # every boundary found, at the price of as many false ones


@given(times, times)
def test_matching_is_the_largest_one_to_one(found, wanted):
    short, long = sorted((found, wanted), key=len)
    best = max(
        sum(abs(a - b) <= 0.02 + 1e-9 for a, b in zip(short, chosen, strict=True))
        for chosen in permutations(long, len(short))
    )
    assert count_matches(found, wanted, 0.02) == best


def test_two_boundaries_cannot_share_a_match():
    assert count_matches(np.array([0.49, 0.51]), np.array([0.5]), 0.02) == 1


def test_scores_by_hand():
    utterance = Boundaries(units=np.array([0.1, 0.2, 0.3, 0.9]), phones=np.array([0.12, 0.5]))
    scores = score_boundaries([utterance])
    assert scores.boundary_precision == 1 / 4
    assert scores.boundary_recall == 1 / 2
    assert scores.f1 == pytest.approx(1 / 3)
    assert scores.r_value == pytest.approx(r_value(0.5, 1.0))


def test_boundaries_count_in_prepared_time_and_only_inside():
    alignment = Alignment(np.array([0.0, 0.5, 0.58, 0.7, 0.9]), ("SIL", "S", "S", "IY"))
    boundaries = utterance_boundaries(
        np.array([4, 4, 7, 7, 1]),
        alignment,
        hop_length=640,
        num_samples=3200,
        sample_rate=16000,
        offset_seconds=0.62,
    )
    assert boundaries.units.tolist() == [0.08, 0.16]
    assert boundaries.phones == pytest.approx([0.08])  # S to IY; S to S is no change, SIL to S lies before


def test_perfect_units():
    alignment = Alignment(np.array([0.0, 0.08, 0.2, 0.4]), ("SIL", "S", "IY"))
    units = np.array([0, 0, 1, 1, 1, 2, 2, 2, 2, 2])
    scores = score_boundaries(
        [utterance_boundaries(units, alignment, hop_length=640, num_samples=6400, sample_rate=16000, offset_seconds=0)]
    )
    assert scores.figures() == {"boundary_precision": 1, "boundary_recall": 1, "f1": 1, "r_value": 1}


def test_no_boundaries_at_all():
    scores = score_boundaries([Boundaries(np.zeros(0), np.zeros(0))])
    assert scores.f1 == 0
