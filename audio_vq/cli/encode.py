"""`audio-vq encode`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_vq.cli.options import Checkpoint, Device, Force, refuse_existing
from audio_vq.cli.results import Faults
from audio_vq.errors import UserError

if TYPE_CHECKING:
    from audio_vq.codec.source import Source
    from audio_vq.pretrained import VQVAE


def encode(
    checkpoint: Checkpoint,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="Audio files, folders, or a prepared corpus.")],
    out: Annotated[str, typer.Option(help="File to write: .jsonl, or .npz for packed arrays.")],
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Turn recordings into units. What cannot be read is named and left out.

    Example: audio-vq encode runs/vctk recordings/ --out units.jsonl
    """
    from audio_vq.codec.encode import encode_to_file
    from audio_vq.pretrained import VQVAE

    file = Path(out)
    if out.endswith("/") or file.is_dir():
        raise UserError(f"--out {out} is a folder; give a file, say {file / 'units.jsonl'}")
    refuse_existing([file], force)
    model = VQVAE.from_pretrained(checkpoint, device)
    faults = Faults()
    sources = _sources(model, inputs, faults)
    total = len(sources) + faults.count

    def leave_out(_: "Source", fault: UserError) -> None:
        if total == 1:
            raise fault
        faults.add(str(fault))

    encode_to_file(model.codec, sources, file, leave_out)
    faults.end(total)


def _sources(model: "VQVAE", inputs: list[Path], faults: Faults) -> "list[Source]":
    """Of prepared corpora and of recordings, with ids that differ."""
    from audio_vq.cli.recordings import id_of, named_recordings
    from audio_vq.codec.source import file_source
    from audio_vq.data.prepared import CORPUS_FILE, PreparedCorpus, corpus_sources

    corpora = [path for path in dict.fromkeys(inputs) if (path / CORPUS_FILE).is_file()]
    opened = [PreparedCorpus.open(path, model.sample_rate) for path in corpora]
    sources = [source for corpus in opened for source in corpus_sources(corpus, corpus.utterances)]
    taken = {source.id for source in sources}
    if len(taken) < len(sources):
        raise UserError("the prepared corpora have utterances of the same id; encode them into different files")
    others = [path for path in inputs if path not in corpora]
    recordings, left_out = named_recordings(others) if others else ([], ())
    for item in left_out:
        faults.add(f"{item.path}: {item.reason}")
    for recording in recordings:
        sources.append(file_source(recording.path, id_of(recording.name, taken)))
        taken.add(sources[-1].id)
    return sources
