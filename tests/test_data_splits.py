"""Splits: no sentence on two sides, shares as promised, nothing but seed and texts decides."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_vq.data.prepared import Utterance
from audio_vq.data.splits import UNASSIGNED, assign_splits, normalise_text
from audio_vq.errors import UserError


def utterance(number, text=None, speaker="ann", split=UNASSIGNED):
    return Utterance(f"u{number}", speaker, split, 0, 0, text, "", 0.0)


corpora = st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcd")), min_size=1, max_size=200).map(
    lambda pairs: [utterance(i, f"Text {text}", speaker) for i, (text, speaker) in enumerate(pairs)]
)


def splits_by_text(utterances):
    found = {}
    for entry in utterances:
        found.setdefault(normalise_text(entry.text), set()).add(entry.split)
    return found


@given(corpora, st.integers(0, 5))
def test_a_sentence_is_in_one_split(utterances, seed):
    assigned = assign_splits(utterances, seed).utterances
    assert [entry.id for entry in assigned] == [entry.id for entry in utterances]
    assert all(len(splits) == 1 for splits in splits_by_text(assigned).values())


@given(corpora, st.integers(0, 5))
def test_shares_reach_their_size_and_pass_it_by_less_than_a_sentence(utterances, seed):
    sizes = Counter(entry.text for entry in utterances)
    counts = Counter(entry.split for entry in assign_splits(utterances, seed).utterances)
    largest, total = max(sizes.values()), len(utterances)
    assert counts["test"] < 0.10 * total + largest
    assert counts["valid"] < 0.05 * total + largest
    assert counts["train"] > 0
    if len(sizes) >= 3:
        assert counts["valid"] > 0
        assert counts["test"] > 0


@pytest.mark.parametrize("total", [20, 100, 1000])
def test_shares_of_different_sentences_are_exact(total):
    assigned = assign_splits([utterance(i, f"text {i}") for i in range(total)], 0).utterances
    counts = Counter(entry.split for entry in assigned)
    assert counts == {"train": 0.85 * total, "valid": 0.05 * total, "test": 0.10 * total}


@given(corpora, st.randoms())
def test_the_order_of_utterances_does_not_matter(utterances, random):
    shuffled = random.sample(utterances, len(utterances))
    first, second = (assign_splits(order, 0).utterances for order in (utterances, shuffled))
    assert set(first) == set(second)


def test_the_seed_decides():
    utterances = [utterance(i, f"text {i}") for i in range(100)]
    draws = {tuple(entry.split for entry in assign_splits(utterances, seed).utterances) for seed in range(5)}
    assert len(draws) == 5


def test_utterances_without_text_are_drawn_alone():
    counts = Counter(entry.split for entry in assign_splits([utterance(i) for i in range(100)], 0).utterances)
    assert counts == {"train": 85, "valid": 5, "test": 10}


def test_case_and_punctuation_do_not_make_another_sentence():
    assert normalise_text("Ask her, to bring — these THINGS!") == normalise_text("ask her to bring these things")
    assert normalise_text("Don\N{RIGHT SINGLE QUOTATION MARK}t") == normalise_text("don't")
    assert normalise_text("Æsop's 3rd") != normalise_text("Æsop's 4th")


@given(corpora, st.sets(st.sampled_from("abcd"), min_size=1, max_size=3))
def test_test_speakers_and_their_sentences_stay_out_of_training(utterances, test_speakers):
    speakers = {entry.speaker for entry in utterances}
    test_speakers &= speakers
    if not test_speakers or test_speakers == speakers:
        return
    assigned = assign_splits(utterances, 0, test_speakers)
    assert all(entry.split == "test" for entry in assigned.utterances if entry.speaker in test_speakers)
    assert all(entry.speaker in test_speakers for entry in assigned.left_out)
    assert all(len(splits) == 1 for splits in splits_by_text(assigned.utterances).values())
    assert {entry.id for entry in (*assigned.utterances, *assigned.left_out)} == {e.id for e in utterances}
    said = splits_by_text(assigned.utterances)
    # nothing is left out but what others say in train or valid
    assert all(said[normalise_text(entry.text)] <= {"train", "valid"} for entry in assigned.left_out)


def test_unknown_or_only_test_speakers_are_refused():
    utterances = [utterance(0, speaker="ann"), utterance(1, speaker="bob")]
    with pytest.raises(UserError, match=r"no speaker cid .* has ann, bob"):
        assign_splits(utterances, 0, ["cid"])
    with pytest.raises(UserError, match="at least one to train on"):
        assign_splits(utterances, 0, ["ann", "bob"])


def test_given_splits_are_kept_and_not_drawn_for():
    given_test = [utterance(i, f"text {i}", split="test") for i in range(2)]
    free = [utterance(i, f"text {i}") for i in range(1, 41)]  # text 1 is among the given
    assigned = assign_splits(given_test + free[1:], 0).utterances
    counts = Counter(entry.split for entry in assigned)
    assert [entry.split for entry in assigned[:2]] == ["test", "test"]
    assert counts["test"] == 2
    assert counts["valid"] == 2  # 5 % of the 39 that are free, rounded up
    assert assign_splits([*given_test, free[0], *free[1:]], 0).utterances[2].split == "test"


def test_a_sentence_given_to_train_and_test_is_refused():
    pair = [utterance(0, "Say it.", split="train"), utterance(1, "say it", split="test")]
    with pytest.raises(UserError, match=r"'Say it\.'"):
        assign_splits(pair, 0)


def test_what_is_known_to_be_said_stands_for_a_missing_text():
    texts = [utterance(i, f"text {i}") for i in range(60)]
    without = [utterance(f"x{i}", speaker="bob") for i in range(60)]
    sentences = {f"ux{i}": f"Text {i}!" for i in range(60)}
    splits = {entry.id: entry.split for entry in assign_splits(texts + without, 0, (), sentences).utterances}
    assert all(splits[f"u{i}"] == splits[f"ux{i}"] for i in range(60))
    assert len(set(splits.values())) == 3


@pytest.mark.parametrize("seed", range(20))
def test_a_speaker_of_few_recordings_keeps_one_to_train_on(seed):
    few = [utterance(f"{name}{i}", speaker=name) for name in ("ann", "bob", "cid") for i in range(2)]
    many = [utterance(f"eve{i}", speaker="eve") for i in range(20)]
    assigned = assign_splits(few + many, seed).utterances
    counts = Counter(entry.split for entry in assigned)
    assert counts == {"train": 21, "test": 3, "valid": 2}
    assert {entry.speaker for entry in assigned if entry.split == "train"} == {"ann", "bob", "cid", "eve"}


def test_test_and_valid_are_there_even_where_a_voice_is_lost_by_it():
    lone = [utterance(name, speaker=name) for name in ("ann", "bob", "cid", "dan", "eve")]
    assert Counter(entry.split for entry in assign_splits(lone, 0).utterances) == {"train": 3, "test": 1, "valid": 1}
