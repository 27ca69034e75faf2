"""Which recordings are converted into which voices: balanced over both, the same for the same seed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audio_vq.analysis.judges.sentences import Sentences
from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.errors import UserError

MIN_ANCHORS = 4  # real recordings of a target; fewer would be heard too often
MIN_SECONDS = 1.0  # below it the judges hear too little
SOURCES = ("known", "unknown", "all")


@dataclass(frozen=True)
class Pair:
    """A recording, the voice it is wanted in, and real recordings of that voice beside it."""

    source: Utterance
    target: str
    real_target: Utterance | None  # of another sentence; None where the target has no such usable recording
    parallel: Utterance | None = None  # of the same sentence; it may be one that the model was trained on


@dataclass(frozen=True)
class Pairs:
    """What `choose_pairs` found; recordings it could not use are counted."""

    pairs: tuple[Pair, ...]
    too_short: int


def choose_pairs(
    corpus: PreparedCorpus, split: str, voices: Sequence[str], count: int, *, sources: str = "all", seed: int
) -> Pairs:
    """Up to `count` pairs of a recording of the split and one of `voices` that is not its own.

    A pair occurs once. Each step takes the source and target speaker used least so far, of the sexes met least, then
    the speaker's recording used least; among these rather one whose sentence the target says too; ties at random.

    Args:
        voices: the speakers the model knows; those of the corpus are targets.
        sources: whose recordings are converted: those of `known` speakers, of `unknown` ones, or `all`.

    Raises:
        UserError: the corpus knows none of the voices, or no recording can be judged.
    """
    targets = tuple(name for name in voices if name in corpus.speakers)
    if not targets:
        raise UserError(f"{corpus.folder} has no recordings of the speakers the model knows: {', '.join(voices)}")
    chosen = _of_sources(corpus, split, voices, sources)
    usable = [each for each in chosen if long_enough(corpus, each)]
    if not usable:
        raise UserError(
            f"none of {len(chosen)} {split} utterances of {corpus.folder} can be judged: "
            f"all last less than {MIN_SECONDS:g} s"
        )
    rng = np.random.default_rng(seed)
    sentences = Sentences(corpus, (each for each in corpus.utterances if long_enough(corpus, each)))
    draw = _Draw([usable[index] for index in rng.permutation(len(usable))], targets, corpus, sentences, rng)
    drawn = draw.pairs(count)
    if not drawn:
        raise UserError(
            f"the only voice the model and {corpus.folder} share is that of the {split} recordings; "
            "a conversion needs recordings of somebody else"
        )
    anchors = _Anchors(corpus, split, sentences, rng)
    pairs = tuple(
        Pair(source, target, anchors.take(target, source), sentences.by(target, source)) for source, target in drawn
    )
    return Pairs(pairs, too_short=len(chosen) - len(usable))


def _of_sources(corpus: PreparedCorpus, split: str, voices: Sequence[str], sources: str) -> list[Utterance]:
    if sources not in SOURCES:
        raise UserError(f"no sources {sources!r}; expected one of {', '.join(SOURCES)}")
    chosen = corpus.select(split)
    wanted = [each for each in chosen if sources == "all" or (each.speaker in voices) == (sources == "known")]
    if not wanted:
        raise UserError(
            f"none of {len(chosen)} {split} utterances of {corpus.folder} is by a speaker {sources} to the model; "
            "give another --sources or --split"
        )
    return wanted


class _Draw:
    """Takes pairs one after another, each time of what was used least."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        targets: Sequence[str],
        corpus: PreparedCorpus,
        sentences: Sentences,
        rng: np.random.Generator,
    ) -> None:
        self._sentences = sentences
        self._info = corpus.header.speaker_info
        self._recordings: dict[str, list[Utterance]] = {}
        for each in utterances:
            self._recordings.setdefault(each.speaker, []).append(each)
        both = [(speaker, target) for speaker in self._recordings for target in targets if speaker != target]
        self._order = [both[index] for index in rng.permutation(len(both))]
        self._parallel = {each for each in both if sentences.shared(each[1], self._recordings[each[0]])}
        self._used = Counter[object]()  # speakers as source and as target, both, their sexes, recordings

    def pairs(self, count: int) -> list[tuple[Utterance, str]]:
        drawn: dict[tuple[Utterance, str], None] = {}
        while len(drawn) < count:
            left = [each for each in self._order if self._used["both", *each] < len(self._recordings[each[0]])]
            if not left:
                break
            pair = speaker, target = min(left, key=self._speakers_used)
            unused = [each for each in self._recordings[speaker] if (each, target) not in drawn]
            source = min(unused, key=lambda each: (self._used[each], self._sentences.by(target, each) is None))
            drawn[source, target] = None
            self._used.update([("source", speaker), ("target", target), ("both", *pair), self._sexes(*pair), source])
        return list(drawn)

    def _speakers_used(self, pair: tuple[str, str]) -> tuple[int, int, int, bool]:
        speaker, target = pair
        of_speakers = self._used["source", speaker] + self._used["target", target]
        return of_speakers, self._used[self._sexes(*pair)], self._used["both", *pair], pair not in self._parallel

    def _sexes(self, speaker: str, target: str) -> tuple[str, str, str]:
        """As far as the corpus tells them."""
        gender, other = (self._info.get(name, {}).get("gender", "") for name in (speaker, target))
        return "sexes", gender, other


class _Anchors:
    """Real recordings of targets in turn: those of the split, or all where these are few."""

    def __init__(self, corpus: PreparedCorpus, split: str, sentences: Sentences, rng: np.random.Generator) -> None:
        usable = [each for each in corpus.utterances if long_enough(corpus, each)]
        self._sentences = sentences
        self._recordings: dict[str, list[Utterance]] = {}
        for index in rng.permutation(len(usable)):
            self._recordings.setdefault(usable[index].speaker, []).append(usable[index])
        for speaker, recordings in self._recordings.items():
            own = [each for each in recordings if each.split == split]
            if len(own) >= MIN_ANCHORS:
                self._recordings[speaker] = own

    def take(self, speaker: str, source: Utterance) -> Utterance | None:
        """The speaker's next recording that says something else than the source; it then waits longest."""
        recordings = self._recordings.get(speaker, [])
        said = self._sentences.sentence(source)
        for place, each in enumerate(recordings):
            if said is None or self._sentences.sentence(each) != said:
                recordings.append(recordings.pop(place))
                return each
        return None


def long_enough(corpus: PreparedCorpus, utterance: Utterance) -> bool:
    """Whether the judges hear enough of it."""
    return utterance.num_samples >= MIN_SECONDS * corpus.sample_rate
