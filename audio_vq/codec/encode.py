"""Many recordings → units, in memory that does not grow with their length; and the file that holds them."""

import hashlib
import json
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from audio_vq.pitch import PitchRange, at_units, classes_of
from audio_vq.progress import progress_bar
from audio_vq.units import Units, UnitSequence, UnitsJournal, write_units

OnFault = Callable[[Source, UserError], None]


@dataclass(frozen=True)
class Encoding:
    """What became of one recording."""

    source: Source
    sequence: UnitSequence
    latents: npt.NDArray[np.float32] | None  # (dim, units), where they were wanted
    statistics: RecordingStatistics
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
) -> Iterator[Encoding]:
    """Encodes recordings, in order: chunks of several at once, while later ones are being read.

    Args:
        codec: the model.
        sources: each is read once where it fits into memory, else again for all that is to be found in it.
        match_level: bring each to the loudness of the training corpus.
        with_latents: keep what the units stand for.
        threads: on a CPU; as many as torch has by default.
        on_fault: is told of recordings that cannot be read, which are then left out; without it they are errors.
    """
    reading: deque[_Known] = deque()
    # one growing array: small ones kept from every chunk would lie between freed large ones and hold their memory
    units, latents, groups = array("q"), [], codec.network.quantizer.groups
    threads = threads or torch.get_num_threads()
    known = _known_of(codec, sources, codec.loudness_db if match_level else None, threads, on_fault)
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
        yield Encoding(one.source, sequence, whole, one.statistics, one.heard.meter, one.heard.too_quiet)
        units, latents = array("q"), []


@dataclass(frozen=True)
class _Known:
    """A recording before its units: what was found in hearing it from end to end."""

    source: Source
    heard: Levelled
    statistics: RecordingStatistics
    pitch: Units | None  # classes (units,), of models with pitch


def _known_of(
    codec: Codec, sources: Iterable[Source], loudness_db: float | None, threads: int, on_fault: OnFault | None
) -> Iterator[_Known]:
    """In order; `threads` of them are heard side by side."""
    hear = partial(_heard, codec, loudness_db)
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


def _heard(codec: Codec, loudness_db: float | None, source: Source) -> _Known:
    heard = levelled(source, codec.sample_rate, loudness_db)
    mean = mean_spectrum_of(codec, heard) if codec.network.encoder.centred else None
    if not codec.network.pitch_classes:
        return _Known(source, heard, RecordingStatistics(mean), None)
    f0 = pitch_of(codec, heard)
    pitch_range = PitchRange.of(f0)
    num_units = -(-heard.meter.num_samples // codec.hop_length)
    at_their_centres = at_units(f0, num_units, codec.hop_length, codec.sample_rate)
    classes = classes_of(at_their_centres, pitch_range, codec.network.pitch_classes)
    return _Known(source, heard, RecordingStatistics(mean, pitch_range), classes)


def _chunks(codec: Codec, recordings: Iterable[_Known], reading: deque[_Known]) -> Iterator[Chunk]:
    """The chunks of all recordings; `reading` gets each one when its first is cut."""
    for one in recordings:
        reading.append(one)
        yield from codec.chunk_encoder.cut(one.heard.blocks(), one.statistics.mean_spectrum)


def units_digest(codec: Codec, sources: Sequence[Source], purpose: str = "") -> str:
    """Names the units that this model makes of these recordings, perhaps for a purpose."""
    content = json.dumps([codec.fingerprint, purpose, *([each.id, each.version] for each in sources)])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def encode_to_file(codec: Codec, sources: Sequence[Source], out: Path, on_fault: OnFault | None = None) -> None:
    """Writes `out` (.jsonl or .npz) whole, where there are any units.

    Until then a hidden journal beside it holds what is done. Its name is a digest of model, sources and `out`: others'
    units are never taken for these. `on_fault` as for `encode_sources`.
    """
    with (
        UnitsJournal(out.with_name(f".{units_digest(codec, sources, out.name)}.partial")) as journal,
        progress_bar("encoding", total=len(sources), completed=len(journal.sequences)) as bar,
    ):
        done = {sequence.id for sequence in journal.sequences}
        for encoding in encode_sources(codec, [each for each in sources if each.id not in done], on_fault=on_fault):
            journal.append(encoding.sequence)
            if encoding.remark:
                bar.say(encoding.remark)
            bar.advance()
    if not journal.sequences:
        return
    places = {source.id: place for place, source in enumerate(sources)}
    write_units(out, sorted(journal.sequences, key=lambda sequence: places[sequence.id]))
    journal.remove()
