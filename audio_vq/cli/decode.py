"""`audio-vq decode`."""

from pathlib import Path
from typing import Annotated

import typer

from audio_vq.cli.options import (
    Checkpoint,
    Device,
    Force,
    OutFolder,
    Precision,
    Seed,
    Temperature,
    TopP,
    still_to_write,
)
from audio_vq.errors import UserError


def decode(
    checkpoint: Checkpoint,
    units: Annotated[Path, typer.Argument(metavar="UNITS", help="Units file from `encode`, .jsonl or .npz.")],
    speaker: Annotated[str, typer.Option(help="Voice to speak them in.")],
    out: OutFolder,
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    precision: Precision = "auto",
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Turn units into audio in a speaker's voice: OUT/<id>.wav.

    Example: audio-vq decode runs/vctk units.jsonl --speaker p226 --out decoded/
    """
    from audio_vq.audio import write_audio
    from audio_vq.codec.decode import decode_each
    from audio_vq.codec.drawing import SamplingOptions
    from audio_vq.pretrained import VQVAE
    from audio_vq.progress import progress_bar
    from audio_vq.units import read_units

    options = SamplingOptions(temperature=temperature, top_p=top_p, seed=seed)
    sequences = read_units(units)
    if not sequences:
        raise UserError(f"{units} holds no units; write some with `audio-vq encode`")
    files = [out / f"{sequence.id}.wav" for sequence in sequences]
    wanted = still_to_write(files, force)
    model = VQVAE.from_pretrained(checkpoint, device, precision)
    for sequence in sequences:
        if (sequence.sample_rate, sequence.hop_length) != (model.sample_rate, model.hop_length):
            raise UserError(
                f"{units}: {sequence.id} has {sequence.sample_rate} Hz and hop length {sequence.hop_length}, the model "
                f"{model.sample_rate} Hz and {model.hop_length}; give the checkpoint that made these units"
            )
    left = [(sequence, file) for sequence, file in zip(sequences, files, strict=True) if file in wanted]
    units_left = [sequence.units for sequence, _ in left]
    voices, streams = [model.speaker_index(speaker)] * len(left), [0] * len(left)
    with progress_bar("decoding", total=len(left)) as bar:
        for index, audio in decode_each(model.codec, units_left, voices, options, streams):
            sequence, file = left[index]
            write_audio(file, audio[: sequence.num_samples], model.sample_rate)
            print(file)
            bar.advance()
