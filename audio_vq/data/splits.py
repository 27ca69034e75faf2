"""Train, valid and test: drawn by sentence text, so that no text is in two splits."""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from audio_vq.data.prepared import Utterance
from audio_vq.errors import UserError

UNASSIGNED = ""  # the split of an utterance whose corpus does not name one
TEST_SHARE = 0.10  # of the utterances
VALID_SHARE = 0.05

NOTHING_KNOWN: Mapping[str, str] = MappingProxyType({})

Groups = Mapping[str, Sequence[Utterance]]  # by sentence


@dataclass(frozen=True)
class Assigned:
    utterances: tuple[Utterance, ...]  # in the order given, each with its split
    left_out: tuple[Utterance, ...]  # of test speakers, whose text is trained on


def assign_splits(
    utterances: Sequence[Utterance],
    seed: int,
    test_speakers: Collection[str] = (),
    sentences: Mapping[str, str] = NOTHING_KNOWN,
) -> Assigned:
    """Give every utterance a split: a pure function of the seed, the texts and the splits already given.

    Utterances with the same sentence form a group. Where there is no text, `sentences` may tell by the
    utterance's id what is said, and otherwise it is alone. In the order of a hash, groups go to test until it
    holds 10 % of the utterances, then to valid until 5 %, the others to train; of three groups or more, each
    split gets one. A group without which a speaker would have nothing left to train on is drawn last. Splits that
    the corpus names are kept, and not drawn for.

    All utterances of `test_speakers` go to test, except those whose sentence others say in train or valid.

    Raises:
        UserError: unknown test speakers, nobody left to train on, or a sentence that the corpus itself puts
            into both train and test.
    """
    check_test_speakers({utterance.speaker for utterance in utterances}, test_speakers)
    groups: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        if utterance.speaker not in test_speakers:
            groups.setdefault(_sentence(utterance, sentences), []).append(utterance)
    splits = _draw(groups, seed)
    assigned, left_out = [], []
    for utterance in utterances:
        drawn = splits.get(_sentence(utterance, sentences), "test")  # absent: only test speakers say it
        if utterance.speaker not in test_speakers:
            assigned.append(replace(utterance, split=utterance.split or drawn))
        elif drawn == "test":
            assigned.append(replace(utterance, split="test"))
        else:
            left_out.append(utterance)
    return Assigned(tuple(assigned), tuple(left_out))


def normalise_text(text: str) -> str:
    """What makes two transcripts the same sentence: words alone, in lower case."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _sentence(utterance: Utterance, sentences: Mapping[str, str]) -> str:
    # the prefix keeps an id from being taken for a text
    text = normalise_text(utterance.text or sentences.get(utterance.id, ""))
    return f"text {text}" if text else f"id {utterance.id}"


def check_test_speakers(speakers: Collection[str], test_speakers: Collection[str]) -> None:
    """Raise UserError for a test speaker who is not there, or when nobody is left to train on."""
    known = ", ".join(sorted(speakers))
    if unknown := sorted(set(test_speakers) - set(speakers)):
        raise UserError(f"no speaker {', '.join(unknown)} to keep for testing; this corpus has {known}")
    if set(speakers) == set(test_speakers):
        raise UserError(f"all speakers are test speakers ({known}); leave at least one to train on")


def _draw(groups: Groups, seed: int) -> dict[str, str]:
    """The split of each sentence."""
    splits = {sentence: _given_split(group) for sentence, group in groups.items()}
    given = set(splits.values())
    free = [sentence for sentence, split in splits.items() if split == UNASSIGNED]
    free.sort(key=lambda sentence: hashlib.sha256(f"{seed}\n{sentence}".encode()).digest())
    total = sum(len(groups[sentence]) for sentence in free)
    voices = {sentence: {utterance.speaker for utterance in groups[sentence]} for sentence in groups}
    # sentences that each speaker has to train on
    left = Counter(
        voice for sentence in groups if splits[sentence] in ("train", UNASSIGNED) for voice in voices[sentence]
    )
    reserve = 2  # groups that must remain for the splits still to come
    for split, share in (("test", TEST_SHARE), ("valid", VALID_SHARE)):
        drawn: list[str] = []
        count = 0
        for sentence in free if split not in given else ():
            if count >= share * total or len(free) - len(drawn) <= reserve:
                break
            if all(left[voice] > 1 for voice in voices[sentence]):
                drawn.append(sentence)
                count += len(groups[sentence])
                left.subtract(voices[sentence])
        if not drawn and split not in given and len(free) > reserve:
            drawn = free[:1]
            left.subtract(voices[free[0]])
        splits |= dict.fromkeys(drawn, split)
        free = [sentence for sentence in free if splits[sentence] == UNASSIGNED]
        reserve -= 1
    return splits | dict.fromkeys(free, "train")


def _given_split(group: Sequence[Utterance]) -> str:
    given = {utterance.split for utterance in group} - {UNASSIGNED}
    if {"train", "test"} <= given:
        text = group[0].text or group[0].id
        raise UserError(f"the manifest has this text in train and in test: {text!r}; keep it in one of them")
    return min(given, default=UNASSIGNED)  # test before train before valid
