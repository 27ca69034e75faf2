"""Where the words of an utterance lie: read from a TextGrid, or found by their pronunciations in the phones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from audio_vq.analysis.alignment.alignments import SILENCE, Alignment, normalise_label, read_text
from audio_vq.analysis.alignment.textgrid import read_words
from audio_vq.extras import has_package

Pronunciation = tuple[str, ...]


@dataclass(frozen=True)
class Word:
    start: float  # seconds in the source recording
    end: float
    text: str


def find_words(path: Path, alignment: Alignment, text: str | None) -> tuple[Word, ...]:
    """Words in time; none where neither a tier of words nor the phones tell for certain.

    Without a TextGrid the words of `text` are laid over the phones by their pronunciations in the CMU dictionary
    (it comes with the extra `align`), and only an exact and unambiguous fit counts.
    """
    if path.suffix == ".TextGrid":
        tier = read_words(path, read_text(path))
        return tuple(Word(each.start, each.end, each.label) for each in tier if normalise_label(each.label) != SILENCE)
    if not text or not has_package("pocketsphinx"):
        return ()
    from audio_vq.analysis.alignment.lexicon import spoken_words

    return fit_words(alignment, spoken_words(text), cmu_pronunciations())


def fit_words(
    alignment: Alignment, words: Sequence[str], pronunciations: Mapping[str, Sequence[Pronunciation]]
) -> tuple[Word, ...]:
    """Words whose pronunciations, one after another, are exactly the aligned phones; none where two fits exist."""
    sounds = [index for index, label in enumerate(alignment.labels) if label != SILENCE]
    phones = tuple(alignment.labels[index] for index in sounds)
    # ends of the words so far → how many ways lead there, the first of them kept
    ways: dict[int, tuple[int, tuple[int, ...]]] = {0: (1, ())}
    for word in words:
        further: dict[int, tuple[int, tuple[int, ...]]] = {}
        variants = set(pronunciations.get(word, ()))
        for position, (count, ends) in ways.items():
            for end in {position + len(each) for each in variants if phones[position : position + len(each)] == each}:
                before, kept = further.get(end, (0, (*ends, end)))
                further[end] = (before + count, kept)
        ways = further
    count, ends = ways.get(len(phones), (0, ()))
    if count != 1 or not phones:
        return ()
    starts = (0, *ends[:-1])
    return tuple(
        Word(
            float(alignment.boundaries[sounds[start]]),
            float(alignment.boundaries[sounds[end - 1] + 1]),
            word,
        )
        for word, start, end in zip(words, starts, ends, strict=True)
    )


@cache
def cmu_pronunciations() -> Mapping[str, tuple[Pronunciation, ...]]:
    """All pronunciations of each word PocketSphinx knows."""
    from pocketsphinx import get_model_path

    lines = Path(get_model_path("en-us/cmudict-en-us.dict")).read_text(encoding="utf-8").splitlines()
    normalise = cache(normalise_label)  # of some forty phones
    known: dict[str, tuple[Pronunciation, ...]] = {}
    for line in lines:
        word, *phones = line.split() or [""]
        # variants follow their word: read(2)
        name = word.partition("(")[0]
        known[name] = (*known.get(name, ()), tuple(map(normalise, phones)))
    return known
