"""The phone protocol: perfect units, random units, independent oracles, hand-computed cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from audio_vq.analysis.measures.phones import (
    LabelledUnits,
    bootstrap_ci95,
    frame_centres,
    joint_counts,
    learn_map,
    pnmi,
    score_phones,
)

PHONES = np.array(["AH", "IY", "S", "SIL", "T"])


def utterances(count: int, seed: int, units_of=lambda phones, _: phones) -> list[LabelledUnits]:
    """Random phones of unequal frequency; units made from phone indices."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        phones = rng.choice(5, p=[0.3, 0.25, 0.2, 0.15, 0.1], size=rng.integers(40, 90))
        made.append(LabelledUnits(str(number), units_of(phones, rng), PHONES[phones]))
    return made


def test_units_that_are_phones_are_perfect():
    scores = score_phones(utterances(8, 0), utterances(6, 1), codebook_size=8, seed=0)
    assert scores.accuracy == scores.pnmi == scores.phone_purity == scores.unit_purity == 1
    assert scores.ci95 == (1, 1)
    assert scores.classes == 5
    assert set(scores.recall.values()) == {1}
    assert scores.unit_phones[:5] == tuple(PHONES)
    assert scores.shuffled_units == pytest.approx(scores.majority, abs=0.05)


def test_random_units_are_no_better_than_the_majority():
    def random(phones, rng):
        return rng.integers(4, size=len(phones))

    scores = score_phones(utterances(60, 0, random), utterances(60, 1, random), codebook_size=4, seed=0)
    assert scores.accuracy == pytest.approx(scores.majority, abs=0.02)
    assert scores.shuffled_units == pytest.approx(scores.majority, abs=0.02)
    assert scores.pnmi < 0.01


def test_noisy_units_lie_between_and_the_interval_covers_the_point():
    def noisy(phones, rng):
        return np.where(rng.random(len(phones)) < 0.6, phones, rng.integers(5, size=len(phones)))

    scores = score_phones(utterances(40, 0, noisy), utterances(40, 1, noisy), codebook_size=5, seed=0)
    assert scores.majority < scores.accuracy < 1
    assert scores.ci95[0] < scores.accuracy < scores.ci95[1]
    assert scores.accuracy == pytest.approx(0.6 + 0.4 / 5, abs=0.03)
    again = score_phones(utterances(40, 0, noisy), utterances(40, 1, noisy), codebook_size=5, seed=0)
    assert again.figures() == scores.figures()


def test_by_hand():
    mapping = [LabelledUnits("m", np.array([0, 0, 0, 1, 1]), np.array(["AH", "AH", "S", "S", "S"]))]
    scored = [LabelledUnits("s", np.array([0, 0, 1, 2]), np.array(["AH", "S", "S", "IY"]))]
    scores = score_phones(mapping, scored, codebook_size=4, seed=0)
    assert scores.unit_phones == ("AH", "S", "S", "S")  # 2 and 3 were never seen: the majority
    assert scores.accuracy == 2 / 4
    assert scores.majority == 2 / 4  # S
    assert scores.recall == {"AH": 1, "IY": 0, "S": 0.5}
    assert scores.phone_purity == 3 / 4
    assert scores.unit_purity == 3 / 4
    assert scores.num_frames == 4
    assert scores.classes == 3


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=2, max_size=200).filter(
        lambda pairs: len({phone for _, phone in pairs}) > 1
    )
)
def test_pnmi_agrees_with_scikit_learn(pairs):
    units, phones = np.array(pairs).T
    entropy = mutual_info_score(phones, phones)
    expected = mutual_info_score(phones, units) / entropy
    assert pnmi(joint_counts(units, phones, 10, 5)) == pytest.approx(expected, abs=1e-9)


def test_joint_counts_and_map_by_brute_force():
    rng = np.random.default_rng(3)
    units, phones = rng.integers(6, size=300), rng.integers(4, size=300)
    joint = joint_counts(units, phones, 7, 4)
    for unit in range(7):
        for phone in range(4):
            assert joint[unit, phone] == sum((units == unit) & (phones == phone))
    assert learn_map(joint)[6] == np.bincount(phones).argmax()


def test_bootstrap_follows_utterances_not_frames():
    """Frames of one utterance stand and fall together: with few utterances the interval is wide."""
    correct = np.repeat([True, False, True, False], 1000)
    low, high = bootstrap_ci95(correct, [1000] * 4, seed=0)
    assert low <= 0.01
    assert high >= 0.99
    low, high = bootstrap_ci95(correct, [1] * 4000, seed=0)
    # binomial: 1.96 · sqrt(0.25 / 4000) = 0.0155
    assert (low, high) == (pytest.approx(0.4845, abs=0.003), pytest.approx(0.5155, abs=0.003))


def test_frame_centres():
    assert frame_centres(3, 640, 1900, 16000).tolist() == [0.02, 0.06, 0.1]
    # 1300 samples: the third frame has 20 of them, its centre would lie after the end
    assert frame_centres(3, 640, 1300, 16000)[-1] == 1299.5 / 16000
