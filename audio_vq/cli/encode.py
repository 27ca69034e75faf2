"""`audio-vq encode`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_vq.cli.options import Checkpoint, Device, Force, refuse_existing

if TYPE_CHECKING:
    from audio_vq.units import UnitSequence


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
    from audio_vq.audio import find_audio_files, read_audio
    from audio_vq.data.prepared import CORPUS_FILE, PreparedCorpus
    from audio_vq.data.progress import progress_bar
    from audio_vq.pretrained import VQVAE
    from audio_vq.units import UnitSequence, write_units

    refuse_existing([out], force)
    model = VQVAE.from_pretrained(checkpoint, device)

    def sequence(name: str, speaker: str, waveform: "object", num_samples: int) -> "UnitSequence":
        units = model.encode(waveform, model.sample_rate)  # type: ignore[arg-type]
        return UnitSequence(name, speaker, model.sample_rate, model.hop_length, num_samples, units)

    sequences = []
    corpora = [path for path in inputs if (path / CORPUS_FILE).is_file()]
    files = find_audio_files([path for path in inputs if path not in corpora]) if len(corpora) < len(inputs) else []
    opened = [PreparedCorpus.open(path, model.sample_rate) for path in corpora]
    total = len(files) + sum(len(corpus.utterances) for corpus in opened)
    with progress_bar("encoding", total=total) as bar:
        for corpus in opened:
            for utterance in corpus.utterances:
                waveform = corpus.waveform(utterance)
                sequences.append(sequence(utterance.id, utterance.speaker, waveform, len(waveform)))
                bar.advance()
        for file in files:
            waveform = read_audio(file, model.sample_rate).waveform
            sequences.append(sequence(file.stem, "", waveform, len(waveform)))
            bar.advance()
    write_units(out, sequences)
