"""`audio-vq encode`."""

from pathlib import Path
from typing import Annotated

import typer

from audio_vq.cli.options import Checkpoint, Device, Force, refuse_existing


def encode(
    checkpoint: Checkpoint,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="Audio files, folders, or a prepared corpus.")],
    out: Annotated[Path, typer.Option(help="File to write: .jsonl, or .npz for packed arrays.")],
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Turn recordings into units.

    Example: audio-vq encode runs/vctk recordings/ --out units.jsonl
    """
    from audio_vq.codec.source import corpus_sources, encode_to_file, file_sources
    from audio_vq.data.prepared import CORPUS_FILE, PreparedCorpus
    from audio_vq.discovery import find_recordings
    from audio_vq.pretrained import VQVAE

    refuse_existing([out], force)
    model = VQVAE.from_pretrained(checkpoint, device)
    sources = []
    for path in inputs:
        if (path / CORPUS_FILE).is_file():
            corpus = PreparedCorpus.open(path, model.sample_rate)
            sources += corpus_sources(corpus, corpus.utterances)
        else:
            sources += file_sources([file.path for file in find_recordings([path]).files], model.sample_rate)
    encode_to_file(model, sources, out)
