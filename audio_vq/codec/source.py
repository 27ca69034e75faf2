"""Many recordings → one file of units; an interrupted call goes on where it stood."""

import hashlib
import json
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio_vq.audio import Waveform, audio_blocks, full_scale
from audio_vq.codec.encode import Chunk, Encoded
from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.errors import UserError
from audio_vq.loudness import LoudnessMeter
from audio_vq.pretrained import VQVAE
from audio_vq.progress import progress_bar
from audio_vq.units import UnitSequence, UnitsJournal, write_units

BLOCK_SAMPLES = 1 << 18  # of a prepared utterance that is read in blocks
KEPT_SAMPLES = 1 << 22  # a recording up to this long (4 minutes) is read once; a longer one twice, for its loudness


@dataclass(frozen=True)
class Source:
    """A recording to encode, read when its turn comes."""

    id: str
    speaker: str  # empty where unknown
    version: str  # changes when the recording does
    blocks: Callable[[], Iterator[Waveform]]  # from its beginning, at the model's sample rate


def corpus_sources(corpus: PreparedCorpus, utterances: Iterable[Utterance]) -> list[Source]:
    def blocks(utterance: Utterance) -> Iterator[Waveform]:
        for start in range(0, utterance.num_samples, BLOCK_SAMPLES):
            yield corpus.waveform(utterance, start, min(BLOCK_SAMPLES, utterance.num_samples - start))

    return [
        Source(each.id, each.speaker, corpus.header.to_json() + each.to_json(), partial(blocks, each))
        for each in utterances
    ]


def file_sources(paths: Iterable[Path], sample_rate: int) -> list[Source]:
    def version(path: Path) -> str:
        status = path.stat()
        return f"{path} {status.st_size} {status.st_mtime_ns}"

    return [Source(path.stem, "", version(path), partial(audio_blocks, path, sample_rate)) for path in paths]


def encode_sources(model: VQVAE, sources: Iterable[Source]) -> Iterator[UnitSequence]:
    """Units of recordings, in order: those of `VQVAE.encode`, in memory that does not grow with their length.

    Chunks of several recordings are computed at once, while later ones are being read.
    """
    reading: deque[Source] = deque()
    # one growing array: small ones kept from every chunk would lie between freed large ones and hold their memory
    collected = array("q")
    for chunk, units in model.chunk_encoder.units(_chunks(model, sources, reading)):
        collected.frombytes(units.tobytes())
        if chunk.recording_samples is not None:
            yield _sequence(model, reading.popleft(), chunk.recording_samples, np.array(collected, np.int64))
            collected = array("q")


def encode_with_latents(
    model: VQVAE, sources: Iterable[Source]
) -> Iterator[tuple[UnitSequence, npt.NDArray[np.float32]]]:
    """As `encode_sources`, each with the latents `(dim, time)` that its units stand for."""
    reading: deque[Source] = deque()
    collected: list[Encoded] = []
    for chunk, encoded in model.chunk_encoder.both(_chunks(model, sources, reading)):
        collected.append(encoded)
        if chunk.recording_samples is not None:
            units = np.concatenate([each.units for each in collected])
            latents = np.concatenate([each.latents for each in collected], axis=1)
            yield _sequence(model, reading.popleft(), chunk.recording_samples, units), latents
            collected = []


def _chunks(model: VQVAE, sources: Iterable[Source], reading: deque[Source]) -> Iterator[Chunk]:
    """The chunks of all recordings; `reading` gets each one when its first is cut."""
    for source in sources:
        reading.append(source)
        yield from model.chunk_encoder.cut(levelled(source, model.loudness_db))


def _sequence(model: VQVAE, source: Source, num_samples: int, units: npt.NDArray[np.int64]) -> UnitSequence:
    return UnitSequence(source.id, source.speaker, model.sample_rate, model.hop_length, num_samples, units)


def levelled(source: Source, loudness_db: float | None) -> Iterator[Waveform]:
    """A recording's blocks within full scale and, where there is one, at the training corpus' loudness."""
    kept: list[Waveform] | None = []
    meter = LoudnessMeter()
    for block in source.blocks():
        meter.add(block)
        if kept is not None:
            kept = [*kept, block] if meter.num_samples <= KEPT_SAMPLES else None
    if meter.num_samples == 0:
        raise UserError(f"{source.id} holds no samples; expected recorded audio")
    scale = np.float32(full_scale(meter.peak))
    if scale > 1:
        meter = LoudnessMeter()
        for block in kept or source.blocks():
            meter.add(block / scale)
    gain = np.float32(1.0 if loudness_db is None else meter.whole_decibel_gain(loudness_db))
    for block in kept or source.blocks():
        yield block / scale * gain


def units_digest(model: VQVAE, sources: Sequence[Source]) -> str:
    """Names the units that this model makes of these recordings."""
    content = json.dumps([model.fingerprint, *(each.version for each in sources)])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def encode_to_file(model: VQVAE, sources: Sequence[Source], out: Path) -> None:
    """Writes `out` (.jsonl or .npz) whole; until then a hidden journal beside it holds what is done.

    The journal's name holds a digest of model and sources: others' units are never taken for these.
    """
    journal = UnitsJournal(out.with_name(f".{out.name}.{units_digest(model, sources)}.partial"))
    with journal, progress_bar("encoding", total=len(sources), completed=len(journal.sequences)) as bar:
        for sequence in encode_sources(model, sources[len(journal.sequences) :]):
            journal.append(sequence)
            bar.advance()
    write_units(out, journal.sequences)
    journal.remove()
