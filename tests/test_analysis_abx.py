"""ABX: equal to plain loops, perfect for units that are phones, blind for units that are noise."""

from dataclasses import replace

import numpy as np
import pytest
from abx_reference import abx, distance

from audio_vq.analysis.alignment.alignments import Alignment
from audio_vq.analysis.measures.abx import (
    X_SPEAKERS,
    Cells,
    abx_of_nothing,
    abx_of_units,
    abx_of_vectors,
    angles,
    mean_error,
)
from audio_vq.analysis.measures.triphones import TOKENS_PER_GROUP, AlignedFrames, comparable, find_triphones
from audio_vq.kernels.dtw import warped_distance

STEP = 0.02  # seconds per frame
PHONES = ("SIL", "AA", "IY", "S", "T")


def speech(utterances, speakers, seed, phones=PHONES, words=14):
    """Random phones of 1 to 4 frames, in alignments that do not begin where frames do; with their frames' phones."""
    rng = np.random.default_rng(seed)
    spoken, labels = [], []
    for number in range(utterances):
        # no phone beside itself: warping makes one of two
        chosen = np.cumsum([0, *rng.integers(1, len(phones), size=words)]) % len(phones)
        frames = rng.integers(1, 5, size=len(chosen))
        offset = 0.3 + 0.001 * number
        boundaries = offset + STEP * np.cumsum([0, *frames])
        alignment = Alignment(boundaries, tuple(phones[phone] for phone in chosen))
        spoken.append(AlignedFrames(f"s{number % speakers}", alignment, offset, int(frames.sum())))
        labels.append(np.repeat(chosen, frames))
    return spoken, np.concatenate(labels)


def as_lists(spoken, vectors):
    """What the reference reads."""
    begins = np.cumsum([0, *(each.num_frames for each in spoken)])
    for each, begin in zip(spoken, begins, strict=False):
        times = (each.alignment.boundaries - each.offset_seconds + 1e-12).tolist()  # not below a frame's centre
        intervals = list(zip(times, times[1:], each.alignment.labels, strict=False))
        yield each.speaker, intervals, vectors[begin : begin + each.num_frames].tolist(), STEP


def few(spoken):
    """Tokens of all kinds, so few that none is left out."""
    tokens = comparable(find_triphones(spoken, STEP), seed=0)
    _, counts = np.unique(np.stack([tokens.context, tokens.phone, tokens.speaker]), axis=1, return_counts=True)
    assert counts.max() < TOKENS_PER_GROUP
    assert len(tokens.speakers) <= X_SPEAKERS + 1
    return tokens


@pytest.mark.parametrize("codebook_size", [3, 12])
def test_agrees_with_plain_loops(codebook_size):
    """Three vectors make many ties, twelve make few."""
    spoken, phones = speech(24, 3, seed=codebook_size)
    rng = np.random.default_rng(1)
    codebook = rng.normal(size=(codebook_size, 4)).astype(np.float32)
    noise = rng.integers(codebook_size, size=len(phones))
    units = np.where(rng.random(len(phones)) < 0.5, phones % codebook_size, noise)
    vectors = codebook[units]
    expected = [abx(list(as_lists(spoken, vectors)), across) for across in (False, True)]
    errors = abx_of_units(few(spoken), units, codebook, seed=0)
    assert [errors.within_speaker, errors.across_speaker] == pytest.approx(expected, abs=1e-6)
    assert min(expected) > 0.1  # something to get wrong
    # other seeds shuffle tokens and speakers, of which none is left out here
    assert abx_of_units(comparable(find_triphones(spoken, STEP), seed=5), units, codebook, seed=5).within_speaker == (
        pytest.approx(expected[0], abs=1e-12)
    )
    continuous = abx_of_vectors(few(spoken), vectors, seed=0)
    assert [continuous.within_speaker, continuous.across_speaker] == pytest.approx(expected, abs=1e-6)


def test_continuous_vectors_agree_with_plain_loops(monkeypatch):
    monkeypatch.setattr("audio_vq.analysis.measures.abx.BLOCK_VALUES", 100)  # tables of one token's frames
    spoken, phones = speech(20, 2, seed=3)
    rng = np.random.default_rng(2)
    vectors = (np.eye(5)[phones] + rng.normal(0, 0.7, (len(phones), 5))).astype(np.float32)
    expected = [abx(list(as_lists(spoken, vectors)), across) for across in (False, True)]
    errors = abx_of_vectors(few(spoken), vectors, seed=0)
    assert [errors.within_speaker, errors.across_speaker] == pytest.approx(expected, abs=1e-6)


def test_warping_by_hand():
    """Frames 0 0 1 against 0 1 1: a path of four pairs without cost. Against 1: three pairs, two of them 0.5."""
    table = 0.5 * (1 - np.eye(2))
    cost = np.empty((3, 3))
    assert warped_distance(table, np.array([0, 0, 1]), np.array([0, 1, 1]), cost) == 0
    assert warped_distance(table, np.array([0, 0, 1]), np.array([1]), cost) == pytest.approx(1 / 3)
    assert warped_distance(table, np.array([0]), np.array([1]), cost) == 0.5


def test_warping_agrees_with_the_reference():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(6, 3))
    table, cost = angles(vectors, vectors), np.empty((9, 9))
    for _ in range(50):
        rows, columns = rng.integers(6, size=rng.integers(1, 9)), rng.integers(6, size=rng.integers(1, 9))
        expected = distance(vectors[rows].tolist(), vectors[columns].tolist())
        assert warped_distance(table, rows, columns, cost) == pytest.approx(expected, abs=1e-6)


def test_units_that_are_phones_make_no_error():
    spoken, phones = speech(60, 3, seed=0)
    errors = abx_of_units(comparable(find_triphones(spoken, STEP), seed=0), phones, np.eye(5), seed=0)
    assert errors.within_speaker == errors.across_speaker == 0
    assert errors.within_ci95 == errors.across_ci95 == (0, 0)


def test_random_units_are_at_chance():
    """Phones' durations do not depend on phones here, so that nothing but the units could tell them apart."""
    spoken, phones = speech(300, 3, seed=0)
    rng = np.random.default_rng(0)
    tokens = comparable(find_triphones(spoken, STEP), seed=0)
    errors = abx_of_units(tokens, rng.integers(16, size=len(phones)), rng.normal(size=(16, 8)), seed=0)
    for low, high in (errors.within_ci95, errors.across_ci95):
        assert low < 0.5 < high
        assert high - low < 0.05


def test_nothing_is_at_chance_whatever_durations_say():
    """Phones of unlike durations: random units are told apart by them, what has random durations too is not."""
    spoken, phones = speech(300, 3, seed=0)
    tokens = comparable(find_triphones(spoken, STEP), seed=0)
    tokens = replace(tokens, frames=3 + 4 * tokens.phone)
    rng = np.random.default_rng(0)
    codebook, units = rng.normal(size=(256, 64)), rng.integers(256, size=len(phones) + 20)
    assert abx_of_units(tokens, units, codebook, seed=0).within_speaker > 0.55
    errors = abx_of_nothing(tokens, codebook, seed=0)
    for low, high in (errors.within_ci95, errors.across_ci95):
        assert low - 0.01 < 0.5 < high + 0.01  # of 16 contexts only, a bootstrap's interval is too short


def test_one_unit_for_everything_is_a_tie():
    spoken, phones = speech(40, 2, seed=0)
    tokens = comparable(find_triphones(spoken, STEP), seed=0)
    errors = abx_of_units(tokens, np.zeros(len(phones), np.int64), np.ones((1, 3)), seed=0)
    assert errors.within_speaker == errors.across_speaker == 0.5


def test_nothing_to_compare_is_no_figure():
    spoken, phones = speech(1, 1, seed=0, words=3)
    errors = abx_of_units(comparable(find_triphones(spoken, STEP), seed=0), phones, np.eye(5), seed=0)
    assert set(errors.figures().values()) == {None}
    one_speaker, phones = speech(30, 1, seed=0)
    errors = abx_of_units(comparable(find_triphones(one_speaker, STEP), seed=0), phones, np.eye(5), seed=0)
    assert errors.within_speaker == 0
    assert errors.across_speaker is None


def test_triphones_are_what_lies_between_their_boundaries():
    times = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    alignment = Alignment(times, ("SIL", "AA", "S", "AA", "T"))
    tokens = find_triphones([AlignedFrames("s", alignment, 0.0, 25), AlignedFrames("s", alignment, 0.1, 20)], STEP)
    # SIL AA S touches silence; AA S AA, S AA T remain: 0.1 to 0.4 s and 0.2 to 0.5 s
    assert tokens.first.tolist() == [5, 10, 25 + 0, 25 + 5]
    assert tokens.frames.tolist() == [15, 15, 15, 15]


def test_what_is_too_much_is_left_out_by_seed():
    spoken, _ = speech(400, 2, seed=0, phones=("SIL", "AA", "S", "T"))
    every = find_triphones(spoken, STEP)
    tokens = comparable(every, seed=0)
    _, counts = np.unique(np.stack([tokens.context, tokens.phone, tokens.speaker]), axis=1, return_counts=True)
    assert counts.max() == TOKENS_PER_GROUP
    assert set(tokens.first) < set(every.first)
    assert comparable(every, seed=0).first.tolist() == tokens.first.tolist()
    assert comparable(every, seed=1).first.tolist() != tokens.first.tolist()


def test_order_of_means_by_hand():
    """Contexts are averaged first, then speakers, then pairs: every pair counts the same, however often it occurs."""
    cells = Cells(
        context=np.array([0, 1, 0, 2]),
        speaker=np.array([0, 0, 1, 0]),
        phone_a=np.array([0, 0, 0, 1]),
        phone_b=np.array([1, 1, 1, 0]),
        error=np.array([0.0, 0.2, 0.5, 0.9]),
    )
    assert mean_error(cells) == pytest.approx((((0.0 + 0.2) / 2 + 0.5) / 2 + 0.9) / 2)
