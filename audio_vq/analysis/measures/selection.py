"""Which utterances teach the unit → phone map and which are scored: never the same ones."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from audio_vq.analysis.alignment.alignments import Alignment, find_alignment, mistaken_unit, read_alignment
from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.errors import UserError


@dataclass(frozen=True)
class AlignedCorpus:
    """A prepared corpus and the folder of its alignments, if it has any."""

    corpus: PreparedCorpus
    folder: Path | None
    _read: dict[Utterance, Alignment | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def alignment(self, utterance: Utterance) -> Alignment | None:
        """The utterance's alignment; None when it has none.

        Raises:
            UserError: the file is malformed, or its times are not in seconds.
        """
        if utterance not in self._read:
            path = find_alignment(self.folder, utterance.speaker, utterance.id) if self.folder else None
            self._read[utterance] = self._checked(path, utterance) if path else None
        return self._read[utterance]

    def _checked(self, path: Path, utterance: Utterance) -> Alignment:
        alignment = read_alignment(path)
        seconds = utterance.offset_seconds + utterance.num_samples / self.corpus.sample_rate
        if unit := mistaken_unit(alignment, seconds, self.corpus.sample_rate):
            raise UserError(
                f"{path} ends at {alignment.boundaries[-1]:g}, its recording after {seconds:.2f} s; "
                f"these times are {unit}, expected seconds of the source recording"
            )
        return alignment

    def aligned(self, utterances: Sequence[Utterance]) -> tuple[Utterance, ...]:
        """Those that have an alignment."""
        folder = self.folder
        return tuple(each for each in utterances if folder and find_alignment(folder, each.speaker, each.id))


def open_aligned(prepared: Path, alignments: Path | None, sample_rate: int) -> AlignedCorpus:
    """Open a prepared corpus of this sample rate in Hz, and its alignments.

    Raises:
        UserError: either folder is not what it should be.
    """
    if alignments and not alignments.is_dir():
        raise UserError(f"{alignments}: no such folder; expected <speaker>/<id>.lab in it (see audio-vq align)")
    return AlignedCorpus(PreparedCorpus.open(prepared, sample_rate), alignments)


@dataclass(frozen=True)
class Selection:
    mapping_corpus: AlignedCorpus
    mapping: tuple[Utterance, ...]  # of mapping_corpus, all with an alignment where `aligned`
    mapping_name: str  # for people
    scored_corpus: AlignedCorpus
    split: str
    chosen: tuple[Utterance, ...]  # of scored_corpus: the units' statistics are taken from these
    scored: tuple[Utterance, ...]  # those of `chosen` that have an alignment; all of them unless `aligned`

    @property
    def aligned(self) -> bool:
        """Whether there are alignments: without them nothing is said of phones."""
        return self.scored_corpus.folder is not None


def select_utterances(scored: AlignedCorpus, split: str, mapping: AlignedCorpus | None) -> Selection:
    """Score `split`; learn the map on all of `mapping` where given, else on the train split.

    Where training utterances are themselves to be scored and nothing else can teach the map, every other
    training sentence teaches it and the rest are scored: no sentence serves both.

    Raises:
        UserError: no such split, an empty one, or no alignments for the one or the other purpose.
    """
    chosen = scored.corpus.select(split)
    if not chosen:
        raise UserError(f"{scored.corpus.folder} has no {split} utterance; choose another --split")
    if mapping is None:
        teachers, name = scored.corpus.select("train"), "train split"
        if split in ("train", "all"):
            teachers, name = _every_other_sentence(teachers), "every other sentence of the train split"
            chosen = _without(chosen, teachers)
        mapping = scored
    else:
        teachers, name = _without(mapping.corpus.utterances, chosen), str(mapping.corpus.folder)
    return Selection(
        mapping_corpus=mapping,
        mapping=_some_aligned(mapping, teachers, f"to learn from ({name})"),
        mapping_name=name,
        scored_corpus=scored,
        split=split,
        chosen=chosen,
        scored=_some_aligned(scored, chosen, f"to score ({split})"),
    )


def at_most(selection: Selection, hours: float, *, seed: int) -> Selection:
    """The same with no more than about so many hours of mapping and of chosen utterances, drawn at random.

    Of the chosen ones those that can be scored come first.
    """
    most_samples = hours * 3600 * selection.scored_corpus.corpus.sample_rate
    chosen = _drawn(selection.chosen, most_samples, seed, first=set(selection.scored))
    kept = set(chosen)
    return replace(
        selection,
        mapping=_drawn(selection.mapping, hours * 3600 * selection.mapping_corpus.corpus.sample_rate, seed),
        chosen=chosen,
        scored=tuple(each for each in selection.scored if each in kept),
    )


def _drawn(
    utterances: tuple[Utterance, ...], most_samples: float, seed: int, first: Collection[Utterance] = ()
) -> tuple[Utterance, ...]:
    """In their order, so many of them in random order, `first` before others, as begin within `most_samples`."""
    order = np.random.default_rng(seed).permutation(len(utterances))
    if first:
        order = order[np.argsort([utterances[index] not in first for index in order], kind="stable")]
    lengths = np.array([utterances[index].num_samples for index in order])
    kept = order[np.cumsum(lengths) - lengths < most_samples]
    return tuple(utterances[index] for index in np.sort(kept))


def _some_aligned(source: AlignedCorpus, utterances: Sequence[Utterance], purpose: str) -> tuple[Utterance, ...]:
    """All, where there are no alignments."""
    if not utterances:
        remedy = "give --mapping and --mapping-alignments" if source.folder else "prepare more recordings"
        raise UserError(f"{source.corpus.folder} has no utterance {purpose}; {remedy}")
    if source.folder is None:
        return tuple(utterances)
    aligned = source.aligned(utterances)
    if aligned:
        return aligned
    first = utterances[0]
    raise UserError(
        f"none of {len(utterances)} utterances {purpose} has an alignment in {source.folder}; "
        f"expected for instance {source.folder / first.speaker / first.id}.lab (see audio-vq align)"
    )


def _every_other_sentence(utterances: Sequence[Utterance]) -> tuple[Utterance, ...]:
    sentences = sorted({sentence(utterance) for utterance in utterances})
    kept = set(sentences[::2])
    return tuple(utterance for utterance in utterances if sentence(utterance) in kept)


def sentence(utterance: Utterance) -> str:
    """What is said: utterances that share it must not both teach and be scored. Its name where no text is known."""
    return " ".join((utterance.text or utterance.id).lower().split())


def _without(utterances: Sequence[Utterance], others: Sequence[Utterance]) -> tuple[Utterance, ...]:
    names = {(other.speaker, other.id) for other in others}
    return tuple(each for each in utterances if (each.speaker, each.id) not in names)
