"""Triphones: a phone between two others, the tokens that ABX compares."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audio_vq.analysis.alignment.alignments import SILENCE, Alignment

TOKENS_PER_GROUP = 10  # of one triphone by one speaker; as in ZeroSpeech


@dataclass(frozen=True, eq=False)
class AlignedFrames:
    """One utterance whose triphones are to be found."""

    speaker: str
    alignment: Alignment
    offset_seconds: float  # of the frames' beginning, in the alignment's time
    num_frames: int


@dataclass(frozen=True, eq=False)
class Triphones:
    """Tokens of all utterances, whose frames are counted on from utterance to utterance."""

    first: np.ndarray  # (tokens,) int64, frame
    frames: np.ndarray  # (tokens,) int64, at least 1
    speaker: np.ndarray  # (tokens,) int64 index into `speakers`
    context: np.ndarray  # (tokens,) int64, one number per (phone before, phone after)
    phone: np.ndarray  # (tokens,) int64
    speakers: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.first)

    def taken(self, which: np.ndarray) -> "Triphones":
        return Triphones(
            first=self.first[which],
            frames=self.frames[which],
            speaker=self.speaker[which],
            context=self.context[which],
            phone=self.phone[which],
            speakers=self.speakers,
        )


def find_triphones(utterances: Sequence[AlignedFrames], seconds_per_frame: float) -> Triphones:
    """Every phone with its neighbours, from the beginning of the one to the end of the other, in order of time.

    A frame belongs to the triphone in which its centre lies. Silence is neither in the middle nor beside it.
    """
    speakers = sorted({each.speaker for each in utterances})
    phones = sorted({label for each in utterances for label in each.alignment.labels})
    number = {phone: index for index, phone in enumerate(phones)}
    rows: list[tuple[int, int, int, int, int]] = []
    begin = 0
    for each in utterances:
        labels = each.alignment.labels
        # the first frame whose centre is at or after each boundary
        at = np.ceil((each.alignment.boundaries - each.offset_seconds) / seconds_per_frame - 0.5).astype(np.int64)
        at = np.clip(at, 0, each.num_frames)
        for i in range(1, len(labels) - 1):
            before, phone, after = labels[i - 1 : i + 2]
            start, end = int(at[i - 1]), int(at[i + 2])
            if SILENCE not in (before, phone, after) and end > start:
                context = number[before] * len(phones) + number[after]
                rows.append((begin + start, end - start, speakers.index(each.speaker), context, number[phone]))
        begin += each.num_frames
    table = np.array(rows, np.int64).reshape(-1, 5)
    return Triphones(table[:, 0], table[:, 1], table[:, 2], table[:, 3], table[:, 4], tuple(speakers))


def comparable(tokens: Triphones, *, seed: int) -> Triphones:
    """Those of contexts in which two phones occur, at most `TOKENS_PER_GROUP` of one triphone by one speaker.

    Ordered by context, then phone and speaker. The choice depends on the seed alone.
    """
    kinds = tokens.phone.max(initial=0) + 1
    pairs = np.unique(tokens.context * kinds + tokens.phone) // kinds
    contexts, phones = np.unique(pairs, return_counts=True)
    kept = np.flatnonzero(np.isin(tokens.context, contexts[phones > 1]))
    shuffled = kept[np.random.default_rng(seed).permutation(len(kept))]
    # stable: tokens of a group stay in random order
    order = shuffled[np.lexsort((tokens.speaker[shuffled], tokens.phone[shuffled], tokens.context[shuffled]))]
    return tokens.taken(order[_place_in_group(tokens.taken(order)) < TOKENS_PER_GROUP])


def group_starts(tokens: Triphones) -> np.ndarray:
    """First token of each group of one context, phone and speaker, of ordered tokens."""
    keys = np.stack([tokens.context, tokens.phone, tokens.speaker])
    changed = (np.diff(keys, axis=1) != 0).any(axis=0)
    return np.flatnonzero(np.concatenate([[len(tokens) > 0], changed])[: len(tokens)])


def _place_in_group(tokens: Triphones) -> np.ndarray:
    starts = group_starts(tokens)
    return np.arange(len(tokens)) - np.repeat(starts, np.diff(starts, append=len(tokens)))
