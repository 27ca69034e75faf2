"""Many recordings → units, in memory that does not grow with their length; and the file that holds them."""

import hashlib
import json
from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from audio_vq.codec.codec import Codec
from audio_vq.codec.encoder import Chunk
from audio_vq.codec.source import Levelled, Source, levelled
from audio_vq.codec.statistics import RecordingStatistics, mean_spectrum_of, pitch_of
from audio_vq.codec.threads import lone_threads
from audio_vq.errors import UserError
from audio_vq.loudness import MAX_GAIN_DB, LoudnessMeter
from audio_vq.pitch import F0, PitchRange, at_units, classes_of
from audio_vq.progress import AUDIO, Told, progress_bar
from audio_vq.unit_files.files import write_units
from audio_vq.unit_files.json_lines import UnitsJournal
from audio_vq.units import Units, UnitSequence

OnFault = Callable[[Source, UserError], None]
Also = Callable[[list[UnitSequence]], None]


@dataclass(frozen=True)
class Encoding:
    """What became of one recording."""

    source: Source
    sequence: UnitSequence
    latents: npt.NDArray[np.float32] | None  # (dim, units), where they were wanted
    statistics: RecordingStatistics
    f0: F0 | None  # its track, of models with pitch
    meter: LoudnessMeter  # of the recording as it was
    too_quiet: bool  # whether it was raised by less than its level asks for

    @property
    def remark(self) -> str | None:
        if not self.too_quiet:
            return None
        return f"{self.source.id} is almost silent; raised by {MAX_GAIN_DB:.0f} dB, not to the level of speech"


def encode_sources(
    codec: Codec,
    sources: Iterable[Source],
    *,
    match_level: bool = True,
    with_latents: bool = False,
    threads: int | None = None,
    on_fault: OnFault | None = None,
    on_heard: Told | None = None,
) -> Iterator[Encoding]:
    """Encodes recordings, in order: chunks of several at once, while later ones are being read.

    Args:
        codec: the model.
        sources: each is read once where it fits into memory, else again for all that is to be found in it.
        match_level: bring each to the loudness of the training corpus.
        with_latents: keep what the units stand for.
        threads: on a CPU; as many as torch has by default.
        on_fault: is told of recordings that cannot be read, which are then left out; without it they are errors.
        on_heard: is told of the seconds that were gone through, from any thread; of a recording that is gone through
            several times, each is a part of its seconds.
    """
    reading: deque[_Known] = deque()
    # one growing array: small ones kept from every chunk would lie between freed large ones and hold their memory
    units, latents, groups = array("q"), [], codec.network.quantizer.groups
    threads = threads or torch.get_num_threads()
    hear = partial(_heard, codec, codec.loudness_db if match_level else None, on_heard)
    known = _known_of(hear, sources, threads, on_fault)
    for chunk, encoded in codec.chunk_encoder.encode(_chunks(codec, known, reading), threads):
        units.frombytes(encoded.units.T.tobytes())
        if with_latents:
            latents.append(encoded.latents)
        if chunk.recording_samples is None:
            continue
        one = reading.popleft()
        tracks = np.array(units, np.int64).reshape(-1, groups).T
        if one.pitch is not None:
            tracks = np.concatenate([tracks, one.pitch[None]])
        sequence = UnitSequence(
            one.source.id,
            one.source.speaker,
            codec.sample_rate,
            codec.hop_length,
            chunk.recording_samples,
            tracks if len(tracks) > 1 else tracks[0],
            codec.fingerprint,
            has_pitch=one.pitch is not None,
        )
        whole = np.concatenate(latents, axis=1) if with_latents else None
        yield Encoding(one.source, sequence, whole, one.statistics, one.f0, one.heard.meter, one.heard.too_quiet)
        units, latents = array("q"), []


@dataclass(frozen=True)
class _Known:
    """A recording before its units: what was found in hearing it from end to end."""

    source: Source
    heard: Levelled
    statistics: RecordingStatistics
    f0: F0 | None  # its track, of models with pitch
    pitch: Units | None  # classes (units,), of models with pitch


def _known_of(
    hear: Callable[[Source], _Known], sources: Iterable[Source], threads: int, on_fault: OnFault | None
) -> Iterator[_Known]:
    """In order; `threads` of them are heard side by side."""
    waiting: deque[tuple[Source, Callable[[], _Known]]] = deque()
    with lone_threads(threads) if threads > 1 else nullcontext() as pool:
        for source in chain(sources, repeat(None, threads - 1)):  # None: no more come
            if source is not None:
                found = partial(hear, source) if pool is None else pool.submit(hear, source).result
                waiting.append((source, found))
            if waiting and (source is None or len(waiting) == threads):
                first, result = waiting.popleft()
                try:
                    known = result()
                except UserError as fault:
                    if on_fault is None:
                        raise
                    on_fault(first, fault)
                    continue
                yield known


def _heard(codec: Codec, loudness_db: float | None, on_heard: Told | None, source: Source) -> _Known:
    centred, has_pitch = codec.network.encoder.centred, codec.network.pitch_classes > 0
    times = 2 + centred + has_pitch  # that it is gone through: for its level, and for its units
    told = None if on_heard is None else lambda samples: on_heard(samples / codec.sample_rate / times)
    heard = levelled(source, codec.sample_rate, loudness_db, told)
    mean = mean_spectrum_of(codec, heard) if centred else None
    if not has_pitch:
        return _Known(source, heard, RecordingStatistics(mean), None, None)
    f0 = pitch_of(codec, heard)
    pitch_range = PitchRange.of(f0)
    num_units = -(-heard.meter.num_samples // codec.hop_length)
    at_their_centres = at_units(f0, num_units, codec.hop_length, codec.sample_rate)
    classes = classes_of(at_their_centres, pitch_range, codec.network.pitch_classes)
    return _Known(source, heard, RecordingStatistics(mean, pitch_range), f0, classes)


def _chunks(codec: Codec, recordings: Iterable[_Known], reading: deque[_Known]) -> Iterator[Chunk]:
    """The chunks of all recordings; `reading` gets each one when its first is cut."""
    for one in recordings:
        reading.append(one)
        yield from codec.chunk_encoder.cut(one.heard.blocks(), one.statistics.mean_spectrum)


def units_digest(codec: Codec, sources: Sequence[Source], purpose: str = "") -> str:
    """Names the units that this model makes of these recordings, perhaps for a purpose."""
    content = json.dumps([codec.fingerprint, purpose, *([each.id, each.version] for each in sources)])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def units_journal(codec: Codec, sources: Sequence[Source], out: Path) -> Path:
    """The hidden file beside `out` that holds what is done until that is whole.

    Its name is a digest of model, sources and `out`: others' units are never taken for these.
    """
    return out.with_name(f".{units_digest(codec, sources, out.name)}.partial")


def encode_to_file(
    codec: Codec, sources: Sequence[Source], out: Path, on_fault: OnFault | None = None, also: Also | None = None
) -> list[UnitSequence]:
    """Writes a units file whole, where there are any units, and returns them; an interrupted call goes on.

    `on_fault` as for `encode_sources`; `also` is given what will be written, before it is.
    """
    with UnitsJournal(units_journal(codec, sources, out)) as journal:
        done = {sequence.id for sequence in journal.sequences}
        for sequence in encoded(codec, sources, done, on_fault):
            journal.append(sequence)
    places = {source.id: place for place, source in enumerate(sources)}
    sequences = sorted(journal.sequences, key=lambda sequence: places[sequence.id])
    if sequences:
        if also:
            also(sequences)
        write_units(out, sequences)
        journal.remove()
    return sequences


def encoded(
    codec: Codec, sources: Sequence[Source], done: Collection[str] = (), on_fault: OnFault | None = None
) -> Iterator[UnitSequence]:
    """Units of those sources whose ids are not `done`, one after another, with a progress bar."""
    left = [each for each in sources if each.id not in done]
    total, made = (sum(each.seconds for each in some) for some in (sources, [e for e in sources if e.id in done]))
    with progress_bar("encoding", total=total, completed=made, unit=AUDIO) as bar:
        for encoding in encode_sources(codec, left, on_fault=on_fault, on_heard=bar.advance):
            if encoding.remark:
                bar.say(encoding.remark)
            yield encoding.sequence
