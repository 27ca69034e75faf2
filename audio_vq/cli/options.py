"""Arguments and options that several verbs share, so that they read the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from audio_vq.cli.completion import checkpoints, speakers
from audio_vq.errors import UserError

Checkpoint = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT",
        help="Checkpoint or run folder, a shipped model's name, or a Hub id: you/model, you/model@revision.",
        autocompletion=checkpoints,
    ),
]
Prior = Annotated[
    str, typer.Argument(metavar="PRIOR", help="Prior: checkpoint or run folder.", autocompletion=checkpoints)
]
Speaker = Annotated[str, typer.Option(help="Voice to speak in.", autocompletion=speakers)]
Temperature = Annotated[
    float | None,
    typer.Option(
        help="Divides the logits; below 1 is cleaner and duller. Default: the model's own, see info.",
        show_default=False,
    ),
]
TopP = Annotated[float, typer.Option("--top-p", help="Draw from the likeliest classes that hold this probability.")]
Postfilter = Annotated[
    bool,
    typer.Option("--postfilter/--no-postfilter", help="Bring speech to the spectrum that the model says it has."),
]
Emphasis = Annotated[
    float | None,
    typer.Option(
        help="How far beyond its own place, away from the average voice, a voice is led; 0 is as trained. Default: the "
        "model's own, see info.",
        show_default=False,
    ),
]
Seed = Annotated[
    int, typer.Option(min=0, max=2**64 - 1, help="Of the random numbers; the same seed gives the same result.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Precision = Annotated[
    str,
    typer.Option(help="Of the decoder's weights on a CPU: auto (the fastest that is faithful), float32 or int8."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing results.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
OutFolder = Annotated[
    Path, typer.Option(help="Folder for the results; or, for one audio file, its name ending in .wav or .flac.")
]
OutAudio = Annotated[
    Path,
    typer.Option(
        help="Folder for the results; or, for one audio file, its name ending in .wav or .flac, or - for WAV on stdout."
    ),
]


def refuse_existing(files: list[Path], force: bool) -> None:
    """Raises UserError naming the first file that would be overwritten."""
    existing = [file for file in files if file.exists()]
    if existing and not force:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise UserError(f"{existing[0]} exists{more}; give --force to overwrite, or another --out")
