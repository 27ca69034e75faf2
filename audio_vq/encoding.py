"""Many recordings → one file of units; an interrupted call goes on where it stood."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from audio_vq.audio import Waveform, read_audio
from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.data.progress import progress_bar
from audio_vq.pretrained import VQVAE
from audio_vq.units import UnitSequence, UnitsJournal, write_units


@dataclass(frozen=True)
class Source:
    """A recording to encode, read when its turn comes."""

    id: str
    speaker: str  # empty where unknown
    version: str  # changes when the recording does
    read: Callable[[], Waveform]  # at the model's sample rate


def corpus_sources(corpus: PreparedCorpus, utterances: Iterable[Utterance]) -> list[Source]:
    return [
        Source(each.id, each.speaker, corpus.header.to_json() + each.to_json(), partial(corpus.waveform, each))
        for each in utterances
    ]


def file_sources(paths: Iterable[Path], sample_rate: int) -> list[Source]:
    def read(path: Path) -> Waveform:
        return read_audio(path, sample_rate).waveform

    def version(path: Path) -> str:
        status = path.stat()
        return f"{path} {status.st_size} {status.st_mtime_ns}"

    return [Source(path.stem, "", version(path), partial(read, path)) for path in paths]


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
        for source in sources[len(journal.sequences) :]:
            waveform = source.read()
            journal.append(
                UnitSequence(
                    id=source.id,
                    speaker=source.speaker,
                    sample_rate=model.sample_rate,
                    hop_length=model.hop_length,
                    num_samples=len(waveform),
                    units=model.encode(waveform, model.sample_rate),
                )
            )
            bar.advance()
    write_units(out, journal.sequences)
    journal.remove()
