"""`audio-vq push`."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from audio_vq.cli.options import Checkpoint, Json


def push(
    checkpoint: Checkpoint,
    repository: Annotated[str, typer.Argument(metavar="REPOSITORY", help="On the Hub: you/model.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    licence: Annotated[
        str | None,
        typer.Option(
            help="Of the weights, by the Hub's identifier, such as cc-by-4.0. Default: that of a known corpus.",
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        Path | None, typer.Option(metavar="METRICS.JSON", help="Figures for the card, from analyze.")
    ] = None,
    conversion: Annotated[
        Path | None, typer.Option(metavar="CONVERSION.JSON", help="Figures for the card, from evaluate.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Publish a checkpoint, a VQ-VAE or a prior, on the Hugging Face Hub, with a model card.

    It asks for a token that may write: `hf auth login`, or HF_TOKEN. A card that you have edited in the checkpoint's
    folder (README.md) is published as it is, with what it lacks of metadata. All goes up in one commit; after
    an interruption the same command begins again, and what has arrived is not sent twice.

    Example: audio-vq push runs/vctk you/vctk-voices --licence cc-by-4.0 --conversion judged/conversion.json
    """
    from audio_vq.publish import publish

    published = publish(checkpoint, repository, private, licence, metrics, conversion)
    print(json.dumps(dataclasses.asdict(published)) if json_output else published.url)
