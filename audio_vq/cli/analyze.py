"""`audio-vq analyze`: what units say about phones."""

import json
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from audio_vq.cli.options import Checkpoint, Device, Force, Json, OutFolder, Seed, refuse_existing
from audio_vq.errors import UserError
from audio_vq.files import atomic_write_text

Alignments = Annotated[Path, typer.Option(help="Folder of <speaker>/<id>.lab or .TextGrid.")]
Mapping = Annotated[Path | None, typer.Option(help="Prepared corpus that teaches the map, all of it.")]
MappingAlignments = Annotated[Path | None, typer.Option(help="Alignments of --mapping.")]
Split = Annotated[str, typer.Option(help="What is scored: train, valid, test or all.")]


def analyze(
    checkpoint: Checkpoint,
    prepared: Annotated[Path, typer.Argument(metavar="PREPARED", help="Prepared corpus.")],
    alignments: Alignments,
    out: OutFolder,
    split: Split = "test",
    mapping: Mapping = None,
    mapping_alignments: MappingAlignments = None,
    device: Device = "auto",
    seed: Seed = 0,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Measure what units say about phones: metrics.json, atlas.json and report.html.

    Each unit is read as the phone it occurs with most in the train split, or in --mapping where given.

    Example: audio-vq analyze runs/vctk data/vctk --alignments data/vctk-phones --out reports/vctk
    """
    refuse_existing([out / "metrics.json", out / "report.html"], force)
    if (mapping is None) != (mapping_alignments is None):
        raise UserError("--mapping and --mapping-alignments belong together; give both or neither")

    from audio_vq.analysis.analyze import analyze as measure
    from audio_vq.analysis.report import write_report
    from audio_vq.analysis.selection import open_aligned, select_utterances
    from audio_vq.pretrained import VQVAE

    model = VQVAE.from_pretrained(checkpoint, device)
    scored = open_aligned(prepared, alignments, model.sample_rate)
    teachers = None
    if mapping and mapping_alignments:
        teachers = open_aligned(mapping, mapping_alignments, model.sample_rate)
    analysis = measure(model, select_utterances(scored, split, teachers), seed=seed)

    command = shlex.join(["audio-vq", *sys.argv[1:]])
    facts = {"checkpoint": checkpoint, "command": command, "audio_vq": version("audio-vq")}
    metrics = analysis.metrics() | {"seed": seed, "command": command}
    text = json.dumps(metrics, indent=2, allow_nan=False) + "\n"
    write_report(model, analysis, metrics, facts, out, seed=seed)
    atomic_write_text(out / "metrics.json", text)
    print(text if json_output else _summary(metrics, out), end="")


def _summary(metrics: dict[str, Any], out: Path) -> str:
    """Each figure beside its control."""
    phones, kmeans = metrics["phones"], metrics["baselines"]["mfcc_kmeans"]
    return (
        f"phone accuracy {phones['accuracy']:.1%} (majority {phones['majority']:.1%}, "
        f"shuffled units {phones['shuffled_units']:.1%}, MFCC k-means {kmeans['accuracy']:.1%})\n"
        f"perplexity {metrics['perplexity']:.1f}, "
        f"{metrics['used_units']} of {metrics['codebook_size']} units occur\n"
        f"{out / 'report.html'}\n"
    )
