"""From recordings to a prepared corpus: read, resample, trim, level, append."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from audio_vq.audio import read_audio, to_pcm16, trim_silence
from audio_vq.data.corpora.recordings import Recording, RecordingSet
from audio_vq.data.prepared import SPLITS, CorpusHeader, Skipped, SplitSize, Utterance
from audio_vq.data.splits import UNASSIGNED, assign_splits
from audio_vq.data.writer import CorpusWriter, Spoken
from audio_vq.errors import UserError
from audio_vq.loudness import normalise_loudness
from audio_vq.parallel import in_order
from audio_vq.progress import progress_bar

SILENT_PEAK = 0.001  # -60 dB: some 30 steps of 16 bits, no speech can be heard in it
SHORTEST_SECONDS = 0.3


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
    source = str(recordings.source.resolve())
    settings = asdict(processing) | {"source": source, "list_of_recordings": recordings.fingerprint()}
    with CorpusWriter(out, settings, force=force) as writer:
        waiting = recordings.recordings[writer.done :]
        with closing(in_order(partial(process, processing=processing), waiting, workers)) as items:
            append_all(writer, items, total=len(recordings.recordings))
        return complete(
            writer,
            rule,
            corpus=recordings.corpus,
            source=source,
            settings=asdict(processing),
            speaker_info=recordings.speaker_info,
        )


def process(recording: Recording, processing: Processing) -> Spoken | Skipped:
    """One recording as the samples that go into the corpus, or the reason why it cannot."""
    rate = processing.sample_rate
    try:
        waveform = read_audio(recording.path, rate).waveform
    except UserError as error:
        return Skipped(recording.source, str(error))
    if np.ptp(waveform) < 2 * SILENT_PEAK:
        return Skipped(recording.source, "silent")
    offset_samples = 0
    if processing.trim_db is not None:
        trimmed = trim_silence(waveform, rate, processing.trim_db, processing.trim_margin_seconds)
        waveform, offset_samples = trimmed.waveform, trimmed.offset_samples
    if len(waveform) < SHORTEST_SECONDS * rate:
        seconds = len(waveform) / rate
        return Skipped(recording.source, f"{seconds:.2f} s of sound, expected {SHORTEST_SECONDS} s or more")
    if processing.loudness_db is not None:
        waveform = normalise_loudness(waveform, processing.loudness_db)
    return Spoken(
        id=recording.id,
        speaker=recording.speaker,
        samples=to_pcm16(waveform),
        source=recording.source,
        text=recording.text,
        split=recording.split,
        offset_seconds=offset_samples / rate,
    )


def append_all(writer: CorpusWriter, items: Iterator[Spoken | Skipped], *, total: int) -> None:
    """Append the recordings that are still missing, with a progress bar."""
    with progress_bar("preparing", total=total, completed=writer.done) as progress:
        for item in items:
            writer.add(item)
            progress.advance()
            if isinstance(item, Skipped):
                progress.say(f"skipped {item.source}: {item.reason}")


def complete(
    writer: CorpusWriter,
    rule: SplitRule,
    *,
    corpus: str,
    source: str,
    settings: Mapping[str, Any],
    speaker_info: Mapping[str, Mapping[str, str]],
) -> CorpusHeader:
    """Assign the splits and make the corpus a finished one.

    Raises:
        UserError: no recording was usable; nothing stays on disk then.
    """
    if not writer.utterances:
        writer.discard()
        first = f", first {writer.skipped[0].source}: {writer.skipped[0].reason}" if writer.skipped else ""
        raise UserError(f"{source} holds no usable recording ({len(writer.skipped)} skipped{first})")
    assigned = assign_splits(writer.utterances, rule.seed, rule.test_speakers)
    left_out = [
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
        skipped=(*writer.skipped, *left_out),
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
