"""Which recordings are converted into which voices: balanced over both, the same for the same seed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audio_vq.analysis.alignment.lexicon import spoken_words
from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.errors import UserError

MIN_ANCHORS = 4  # real recordings of a target; fewer would be heard too often
MIN_SECONDS = 1.0  # below it the judges hear too little


@dataclass(frozen=True)
class Pair:
    """A recording, the voice it is wanted in, and a real recording of that voice beside it."""

    source: Utterance
    target: str
    real_target: Utterance | None  # None where the target has no other usable recording


@dataclass(frozen=True)
class Pairs:
    """What `choose_pairs` found; recordings it could not use are counted."""

    pairs: tuple[Pair, ...]
    without_text: int
    too_short: int


def choose_pairs(corpus: PreparedCorpus, split: str, voices: Sequence[str], count: int, *, seed: int) -> Pairs:
    """Up to `count` pairs of a recording of the split and one of `voices` that is not its own.

    A pair occurs once. Each step takes the source and target speaker used least so far, then the speaker's
    recording used least, ties at random.

    Raises:
        UserError: the corpus knows none of the voices, or no recording can be judged.
    """
    targets = tuple(name for name in voices if name in corpus.speakers)
    if not targets:
        raise UserError(f"{corpus.folder} has no recordings of the speakers the model knows: {', '.join(voices)}")
    chosen = corpus.select(split)
    with_text = [each for each in chosen if spoken_words(each.text or "")]
    usable = [each for each in with_text if long_enough(corpus, each)]
    without_text, too_short = len(chosen) - len(with_text), len(with_text) - len(usable)
    if not usable:
        raise UserError(
            f"none of {len(chosen)} {split} utterances of {corpus.folder} can be judged: "
            f"{without_text} have no transcript, {too_short} last less than {MIN_SECONDS:g} s"
        )
    rng = np.random.default_rng(seed)
    sources = _draw_pairs([usable[index] for index in rng.permutation(len(usable))], targets, count, rng)
    if not sources:
        raise UserError(
            f"the only voice the model and {corpus.folder} share is that of the {split} recordings; "
            "a conversion needs recordings of somebody else"
        )
    anchors = _Anchors(corpus, split, rng)
    pairs = tuple(Pair(source, target, anchors.take(target)) for source, target in sources)
    return Pairs(pairs, without_text, too_short)


def _draw_pairs(
    utterances: Sequence[Utterance], targets: Sequence[str], count: int, rng: np.random.Generator
) -> list[tuple[Utterance, str]]:
    recordings: dict[str, list[int]] = {}
    for index, each in enumerate(utterances):
        recordings.setdefault(each.speaker, []).append(index)
    both = [(speaker, target) for speaker in recordings for target in targets if speaker != target]
    order = [both[index] for index in rng.permutation(len(both))]
    of_speaker, of_target, of_both, of_recording = (Counter[object]() for _ in range(4))
    drawn: list[tuple[int, str]] = []
    while len(drawn) < count:
        left = [each for each in order if of_both[each] < len(recordings[each[0]])]
        if not left:
            break
        speaker, target = min(left, key=lambda each: (of_speaker[each[0]] + of_target[each[1]], of_both[each]))
        unused = [index for index in recordings[speaker] if (index, target) not in drawn]
        index = min(unused, key=lambda index: of_recording[index])
        drawn.append((index, target))
        of_speaker[speaker] += 1
        of_target[target] += 1
        of_both[speaker, target] += 1
        of_recording[index] += 1
    return [(utterances[index], target) for index, target in drawn]


class _Anchors:
    """Real recordings of targets in turn: those of the split, or all where these are few."""

    def __init__(self, corpus: PreparedCorpus, split: str, rng: np.random.Generator) -> None:
        usable = [each for each in corpus.utterances if spoken_words(each.text or "") and long_enough(corpus, each)]
        self._recordings: dict[str, list[Utterance]] = {}
        for index in rng.permutation(len(usable)):
            self._recordings.setdefault(usable[index].speaker, []).append(usable[index])
        for speaker, recordings in self._recordings.items():
            own = [each for each in recordings if each.split == split]
            if len(own) >= MIN_ANCHORS:
                self._recordings[speaker] = own
        self._taken = Counter[str]()

    def take(self, speaker: str) -> Utterance | None:
        recordings = self._recordings.get(speaker)
        if not recordings:
            return None
        self._taken[speaker] += 1
        return recordings[(self._taken[speaker] - 1) % len(recordings)]


def long_enough(corpus: PreparedCorpus, utterance: Utterance) -> bool:
    """Whether the judges hear enough of it."""
    return utterance.num_samples >= MIN_SECONDS * corpus.sample_rate
