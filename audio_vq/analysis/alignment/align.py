"""Forced alignment: where in a recording are the phones of its transcript? With PocketSphinx, English only.

Its wheel carries the acoustic model and the CMU dictionary; espeak-ng pronounces words the dictionary lacks.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from audio_vq.analysis.alignment.alignments import (
    SILENCE,
    Alignment,
    find_alignment,
    normalise_label,
    write_alignment,
)
from audio_vq.analysis.alignment.decoding import decode_utterance
from audio_vq.analysis.alignment.lexicon import dictionary_words, pronounce, spoken_words
from audio_vq.audio.resampling import resample
from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.errors import UserError
from audio_vq.extras import require_package
from audio_vq.parallel import in_order

SAMPLE_RATE = 16_000  # Hz, of the acoustic model
FRAME_SECONDS = 0.01
WINDOW_SECONDS = 0.025625
CHUNK = 24  # utterances per task: long enough to pay for loading the model


@dataclass(frozen=True)
class Outcome:
    """What became of one utterance: aligned, or why not."""

    id: str
    failure: str | None = None


@dataclass(frozen=True)
class Plan:
    """What there is to do, found before any work begins."""

    utterances: tuple[Utterance, ...]  # to align now
    kept: int  # aligned already
    without_text: int
    pronunciations: Mapping[str, str]  # of words the dictionary lacks, ARPAbet separated by blanks


def plan_alignment(corpus: PreparedCorpus, out: Path, *, force: bool) -> Plan:
    """Choose the utterances that have a text and, unless `force`, no alignment in `out` yet.

    Raises:
        UserError: no utterance has a text, or a package is missing.
    """
    require_package("pocketsphinx", "align")
    with_text = [utterance for utterance in corpus.utterances if utterance.text]
    if not with_text:
        raise UserError(f"{corpus.folder} has no transcripts to align; prepare a corpus that comes with texts")
    todo = [each for each in with_text if force or not find_alignment(out, each.speaker, each.id)]
    words = {word for utterance in todo for word in spoken_words(utterance.text or "")}
    unknown = sorted(words - dictionary_words())
    return Plan(
        utterances=tuple(todo),
        kept=len(with_text) - len(todo),
        without_text=len(corpus.utterances) - len(with_text),
        pronunciations=pronounce(unknown) if unknown else {},
    )


def align_corpus(corpus: PreparedCorpus, plan: Plan, out: Path, *, workers: int) -> Generator[Outcome, None, None]:
    """Carry out a plan in `workers` processes: write `<out>/<speaker>/<id>.lab`, yield outcomes as they come.

    Close the iterator (`contextlib.closing`) to stop early.
    """
    # each task gets a corpus of just its utterances: nothing else need cross to the other process
    chunks = [
        replace(corpus, utterances=plan.utterances[start : start + CHUNK])
        for start in range(0, len(plan.utterances), CHUNK)
    ]
    align_chunk = partial(_align_chunk, pronunciations=plan.pronunciations, out=out)
    for outcomes in in_order(align_chunk, chunks, max(1, min(workers, len(chunks)))):
        yield from outcomes


def _align_chunk(corpus: PreparedCorpus, *, pronunciations: Mapping[str, str], out: Path) -> list[Outcome]:
    aligner = ForcedAligner(pronunciations)
    outcomes = []
    for utterance in corpus.utterances:
        waveform = resample(corpus.waveform(utterance), corpus.sample_rate, SAMPLE_RATE)
        seconds = utterance.num_samples / corpus.sample_rate
        try:
            phones = aligner.align(waveform, spoken_words(utterance.text or ""))
        except AlignmentError as error:
            outcomes.append(Outcome(utterance.id, failure=str(error)))
            continue
        alignment = in_source_time(phones, seconds, utterance.offset_seconds)
        write_alignment(out / utterance.speaker / f"{utterance.id}.lab", alignment)
        outcomes.append(Outcome(utterance.id))
    return outcomes


class AlignmentError(Exception):
    """This text cannot be found in this recording."""


@dataclass(frozen=True)
class PhoneStart:
    seconds: float  # in the waveform
    label: str


class ForcedAligner:
    """PocketSphinx with its US English model; one per process."""

    def __init__(self, pronunciations: Mapping[str, str]) -> None:
        from pocketsphinx import Decoder

        # bestpath would cut filler words to one frame, which three-state phones then cannot fill
        # beams stay as they are: without any, 1 % more recordings align, but nearly every wrong text does too
        self._decoder = Decoder(lm=None, bestpath=False, cmn="batch", loglevel="FATAL")
        for word, phones in pronunciations.items():
            self._decoder.add_word(word, phones, update=False)

    def align(self, waveform: np.ndarray, words: Sequence[str]) -> list[PhoneStart]:
        """Phones of `words` in order, silences among them, for a 16 kHz waveform `(time,)`.

        Raises:
            AlignmentError: the words do not fit the recording.
        """
        if not words:
            raise AlignmentError("the text holds no word")
        for word in words:
            if self._decoder.lookup_word(word) is None:
                raise AlignmentError(f"no pronunciation is known of {word!r}")
        try:
            self._decoder.set_align_text(" ".join(words))
            decode_utterance(self._decoder, waveform)  # finds the words
            self._decoder.set_alignment()
            decode_utterance(self._decoder, waveform)  # finds the phones in them
        except RuntimeError as error:
            raise AlignmentError("the recording does not fit its text") from error
        return [
            PhoneStart(_seconds(phone.start), _label(word.name, phone.name))
            for word in self._decoder.get_alignment()
            for phone in word
        ]


def _label(word: str, phone: str) -> str:
    is_filler = word.startswith(("<", "[", "+"))  # <sil>, [NOISE] …
    return SILENCE if is_filler else normalise_label(phone)


def _seconds(frame: int) -> float:
    """Where a frame's label begins to hold.

    Frame n sees the window from n · 10 ms to 25.6 ms later; its label is that of the 10 ms in the middle.
    """
    return frame * FRAME_SECONDS + (WINDOW_SECONDS - FRAME_SECONDS) / 2 if frame else 0.0


def in_source_time(phones: Sequence[PhoneStart], seconds: float, offset_seconds: float) -> Alignment:
    """From 0 to the end of the prepared audio in source time; before `offset_seconds` there is SIL."""
    starts, labels = [0.0], [SILENCE]
    for phone in phones:
        start = offset_seconds + min(phone.seconds, seconds)
        if start <= starts[-1]:  # nothing is left of the interval before
            labels[-1] = phone.label
        elif phone.label != SILENCE or labels[-1] != SILENCE:
            starts.append(start)
            labels.append(phone.label)
    return Alignment(np.array([*starts, offset_seconds + seconds]), tuple(labels))
