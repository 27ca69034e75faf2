"""`audio-vq sample`."""

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
    refuse_existing,
)
from audio_vq.errors import UserError


def sample(
    prior: Annotated[str, typer.Argument(metavar="PRIOR", help="Prior: checkpoint or run folder.")],
    checkpoint: Checkpoint,
    speaker: Annotated[str, typer.Option(help="Voice.")],
    out: OutFolder,
    seconds: Annotated[float, typer.Option(help="Duration of each sample.")] = 3.0,
    count: Annotated[int, typer.Option(help="How many.")] = 4,
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    precision: Precision = "auto",
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Draw unit sequences from a prior and speak them: OUT/<speaker>_<n>.wav and OUT/units.jsonl.

    Example: audio-vq sample runs/vctk-prior runs/vctk --speaker p226 --seconds 3 --count 4 --out samples/
    """
    from audio_vq.audio import write_audio
    from audio_vq.pretrained import VQVAE
    from audio_vq.unit_prior import UnitPrior
    from audio_vq.units import UnitSequence, write_units

    if count < 1:
        raise UserError(f"--count {count}; expected at least 1")
    files = [out / f"{speaker}_{number}.wav" for number in range(1, count + 1)]
    refuse_existing([*files, out / "units.jsonl"], force)
    model = VQVAE.from_pretrained(checkpoint, device, precision)
    unit_prior = UnitPrior.from_pretrained(prior, device)
    unit_prior.check_units_of(model)
    drawn = unit_prior.sample(speaker, seconds, count, seed, temperature, top_p)
    voices = model.decode_many(drawn, [speaker] * count, temperature, top_p, seed, streams=range(count))
    for file, audio in zip(files, voices, strict=True):
        write_audio(file, audio, model.sample_rate)
        print(file)
    write_units(
        out / "units.jsonl",
        [
            UnitSequence(file.stem, speaker, model.sample_rate, model.hop_length, len(audio), units)
            for file, audio, units in zip(files, voices, drawn, strict=True)
        ],
    )
