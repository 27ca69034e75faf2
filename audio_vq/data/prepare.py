"""From recordings to a prepared corpus: read, resample, trim, level, cut, track the pitch, append."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from audio_vq.audio.features import Trimmed, trim_silence
from audio_vq.audio.files import read_audio
from audio_vq.audio.waveform import Waveform, from_pcm16, to_pcm16
from audio_vq.data.corpora.recordings import Recording, RecordingSet, distinct
from audio_vq.data.pauses import Piece, pieces
from audio_vq.data.prepared import SPLITS, CorpusHeader, Skipped, SplitSize, Utterance
from audio_vq.data.splits import UNASSIGNED, assign_splits
from audio_vq.data.writer import CorpusWriter, Spoken
from audio_vq.errors import UserError
from audio_vq.loudness import MAX_GAIN_DB, LoudnessMeter
from audio_vq.parallel import in_order
from audio_vq.pitch import track
from audio_vq.progress import progress_bar

SILENT_PEAK = 0.001  # -60 dB: some 30 steps of 16 bits, no speech can be heard in it
SHORTEST_SECONDS = 0.3
PAUSE_DB = 40.0  # below the loudest sample of a recording: a piece that stays there holds no speech


@dataclass(frozen=True)
class Processing:
    """What is done to every recording."""

    sample_rate: int = 16000  # Hz
    # On 466 aligned VCTK utterances 40 dB with this margin never cut into a phone; 35 dB did.
    trim_db: float | None = 40.0  # ends this far below the loudest frame are cut; None: nothing is
    trim_margin_seconds: float = 0.1
    # VCTK's peaks lie 14 to 23 dB above its active speech: few recordings meet the peak limit at this level.
    loudness_db: float | None = -23.0  # RMS of active speech relative to full scale; None: as recorded


@dataclass(frozen=True)
class SplitRule:
    """How utterances are shared out at the end, see `assign_splits`."""

    seed: int = 0
    test_speakers: tuple[str, ...] = ()
    sentences: Mapping[str, str] = field(default_factory=dict)  # by utterance id, see `RecordingSet`


def prepare(
    recordings: RecordingSet,
    out: Path,
    processing: Processing,
    rule: SplitRule,
    *,
    workers: int,
    force: bool = False,
) -> CorpusHeader:
    """Prepare a corpus in folder `out`; an interrupted run is gone on with, byte for byte.

    Unusable recordings are named on stderr, noted in the header and left out.

    Raises:
        UserError: nothing usable, splits that cannot be, `out` in use for something else, a full disk.
    """
    # a mistake about splits must come out before hours of reading, not after them
    assign_splits([_draft(entry) for entry in recordings.recordings], rule.seed, rule.test_speakers)
    rule = replace(rule, sentences=recordings.sentences)
    # an unfinished corpus among its own recordings is none of them
    folder = recordings.source.resolve()
    left_out = [each for each in recordings.left_out if out.resolve() not in (folder / each.source).parents]
    source = str(folder)
    settings = asdict(processing) | {"source": source, "list_of_recordings": recordings.fingerprint()}
    with CorpusWriter(out, settings, force=force) as writer:
        waiting = recordings.recordings[writer.done :]
        with closing(in_order(partial(process, processing=processing), waiting, workers)) as results:
            append_all(writer, results, total=len(recordings.recordings), left_out=left_out)
        return complete(
            writer,
            rule,
            corpus=recordings.corpus,
            source=source,
            settings=asdict(processing),
            speaker_info=recordings.speaker_info,
            left_out=left_out,
        )


def process(recording: Recording, processing: Processing) -> list[Spoken | Skipped]:
    """One recording as the samples that go into the corpus, or the reason why it cannot.

    A long one without a text becomes several utterances, cut at pauses; a text could not be shared out.
    """
    rate = processing.sample_rate
    try:
        waveform = read_audio(recording.path, rate).waveform
    except UserError as error:
        return [Skipped(recording.source, str(error))]
    if np.ptp(waveform) < 2 * SILENT_PEAK:
        return [Skipped(recording.source, "silent")]
    whole = _trimmed(waveform, processing)
    if len(whole.waveform) < SHORTEST_SECONDS * rate:
        seconds = len(whole.waveform) / rate
        return [Skipped(recording.source, f"{seconds:.2f} s of sound, expected {SHORTEST_SECONDS} s or more")]
    gain = 1.0
    if processing.loudness_db is not None:
        gain = LoudnessMeter().add(whole.waveform).gain(processing.loudness_db)
    levelled = to_pcm16(whole.waveform * np.float32(gain))
    cuts = [("", Piece(0, len(levelled)))] if recording.text else _cuts(whole.waveform, processing)
    spoken: list[Spoken | Skipped] = [
        Spoken(
            id=recording.id + suffix,
            speaker=recording.speaker,
            samples=levelled[piece.start : piece.stop],
            pitch=track(from_pcm16(levelled[piece.start : piece.stop]), rate),
            source=recording.source,
            text=recording.text,
            split=recording.split,
            offset_seconds=(whole.offset_samples + piece.start) / rate,
            gain_db=20 * math.log10(gain),
        )
        for suffix, piece in cuts
    ]
    return spoken or [Skipped(recording.source, "nothing but pauses")]


def _trimmed(waveform: Waveform, processing: Processing) -> Trimmed:
    if processing.trim_db is None:
        return Trimmed(waveform, 0)
    return trim_silence(waveform, processing.sample_rate, processing.trim_db, processing.trim_margin_seconds)


def _cuts(waveform: Waveform, processing: Processing) -> Iterator[tuple[str, Piece]]:
    """The pieces of a long recording, and what tells their names apart; a short one as it is.

    Pieces that hold nothing but a pause are left out.
    """
    rate = processing.sample_rate
    found = pieces(waveform, rate)
    if len(found) == 1:
        yield "", found[0]
        return
    audible = np.abs(waveform).max() * 10 ** (-PAUSE_DB / 20)
    for number, piece in enumerate(found, 1):
        trimmed = _trimmed(waveform[piece.start : piece.stop], processing)
        start, length = piece.start + trimmed.offset_samples, len(trimmed.waveform)
        if np.abs(trimmed.waveform).max() >= audible and length >= SHORTEST_SECONDS * rate:
            yield f"-{number:03d}", Piece(start, start + length)


def append_all(
    writer: CorpusWriter,
    results: Iterator[Sequence[Spoken | Skipped]],
    *,
    total: int,
    left_out: Sequence[Skipped] = (),
) -> None:
    """Append the recordings that are still missing, with a progress bar; what cannot be used is named."""
    with progress_bar("preparing", total=total, completed=writer.done) as progress:
        for entry in left_out:
            progress.say(f"skipped {entry.source}: {entry.reason}")
        for parts in results:
            writer.add(*parts)
            progress.advance()
            if isinstance(parts[0], Skipped):
                progress.say(f"skipped {parts[0].source}: {parts[0].reason}")
            elif parts[0].gain_db >= MAX_GAIN_DB:
                progress.say(f"{parts[0].source} is very quiet: made louder by {MAX_GAIN_DB:g} dB and no more")


def complete(
    writer: CorpusWriter,
    rule: SplitRule,
    *,
    corpus: str,
    source: str,
    settings: Mapping[str, Any],
    speaker_info: Mapping[str, Mapping[str, str]],
    left_out: Sequence[Skipped] = (),
) -> CorpusHeader:
    """Assign the splits and make the corpus a finished one; `left_out` was not even tried.

    Raises:
        UserError: no recording was usable; nothing stays on disk then.
    """
    if not writer.utterances:
        writer.discard()
        skipped = (*writer.skipped, *left_out)
        first = f", first {skipped[0].source}: {skipped[0].reason}" if skipped else ""
        raise UserError(f"{source} holds no usable recording ({len(skipped)} skipped{first})")
    names = distinct([utterance.id for utterance in writer.utterances])
    utterances = [replace(utterance, id=name) for utterance, name in zip(writer.utterances, names, strict=True)]
    assigned = assign_splits(utterances, rule.seed, rule.test_speakers, rule.sentences)
    trained_on = [
        Skipped(utterance.source, f"test speaker {utterance.speaker} says a sentence that is trained on")
        for utterance in assigned.left_out
    ]
    sample_rate = settings["sample_rate"]
    speakers = sorted({utterance.speaker for utterance in assigned.utterances})
    header = CorpusHeader(
        corpus=corpus,
        source=source,
        sample_rate=sample_rate,
        hours=_hours(assigned.utterances, sample_rate),
        speakers=tuple(speakers),
        splits=_sizes(assigned.utterances, sample_rate),
        skipped=(*writer.skipped, *left_out, *trained_on),
        settings={**settings, "seed": rule.seed, "test_speakers": list(rule.test_speakers)},
        speaker_info={name: dict(speaker_info[name]) for name in speakers if name in speaker_info},
    )
    writer.finish(assigned.utterances, header)
    return header


def _draft(recording: Recording) -> Utterance:
    """The utterance as far as it is known without reading audio."""
    return Utterance(
        id=recording.id,
        speaker=recording.speaker,
        split=recording.split or UNASSIGNED,
        num_samples=0,
        start=0,
        text=recording.text,
        source=recording.source,
        offset_seconds=0.0,
    )


def _hours(utterances: Collection[Utterance], sample_rate: int) -> float:
    return sum(utterance.num_samples for utterance in utterances) / sample_rate / 3600


def _sizes(utterances: Collection[Utterance], sample_rate: int) -> dict[str, SplitSize]:
    sizes = {}
    for split in SPLITS:
        members = [utterance for utterance in utterances if utterance.split == split]
        sizes[split] = SplitSize(len(members), _hours(members, sample_rate))
    return sizes
