"""`audio-vq add-speaker`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_vq.cli.options import Checkpoint, Device, Force, Json, Seed
from audio_vq.cli.results import Faults
from audio_vq.errors import UserError

if TYPE_CHECKING:
    from audio_vq.codec.fitting import Fit
    from audio_vq.codec.source import Source


def add_speaker(
    checkpoint: Checkpoint,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the new speaker.")],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT", help="Recordings of that speaker alone: audio files or folders.")
    ],
    out: Annotated[Path, typer.Option(metavar="CHECKPOINT2", help="Folder for the model that knows the speaker too.")],
    seconds: Annotated[
        float | None,
        typer.Option(help="Of computing at most. Default: until nothing is gained any more.", show_default=False),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Teach a model a new voice from a minute of recordings; all else that it knows stays as it is.

    What the model knows of the speaker is fitted to the recordings, and their pitch range is found; nothing else
    learns, and units mean the same as before. What cannot be read is named and left out.

    Example: audio-vq add-speaker voices anna anna.wav --out with-anna
    """
    from audio_vq.checkpoint import refuse_other_content
    from audio_vq.cli.recordings import named_recordings
    from audio_vq.codec.fitting import STEPS, fit_speaker
    from audio_vq.codec.source import file_source
    from audio_vq.pretrained import VQVAE
    from audio_vq.progress import progress_bar

    if seconds is not None and not seconds > 0:
        raise UserError(f"--seconds {seconds:g}: expected seconds above zero")
    refuse_other_content(out)
    if out.exists() and any(out.iterdir()) and not force:
        raise UserError(f"{out} holds a checkpoint; give --force to overwrite it, or another --out")
    model = VQVAE.from_pretrained(checkpoint, device)
    model.check_new_speaker(name)
    faults = Faults()
    recordings, left_out = named_recordings(inputs)
    for item in left_out:
        faults.add(f"{item.path}: {item.reason}")
    total = len(recordings) + faults.count

    def leave_out(_: "Source", fault: UserError) -> None:
        if total == 1:
            raise fault
        faults.add(str(fault))

    fits: list[Fit] = []
    with progress_bar("fitting", total=STEPS) as bar:

        def tell(fit: "Fit") -> None:
            bar.advance(fit.step - (fits[-1].step if fits else 0))
            fits.append(fit)

        sources = [file_source(each.path, str(each.path)) for each in recordings]
        voice = fit_speaker(model.codec, sources, seed=seed, seconds=seconds, progress=tell, on_fault=leave_out)
    model.with_speaker(name, voice).save_pretrained(out)
    facts = {
        "checkpoint": str(out),
        "speaker": name,
        "pitch_median_hz": round(voice.pitch_range[0], 1),
        "bits_before": round(fits[0].best_bits, 4),
        "bits": round(fits[-1].best_bits, 4),
        "steps": fits[-1].step,
        "seconds": round(fits[-1].seconds, 1),
    }
    print(json.dumps(facts) if json_output else out)
    faults.end(total)
