"""`audio-vq analyze`: what units say about phones."""

import json
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from audio_vq.errors import UserError
from audio_vq.files import atomic_write_text


def analyze(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint or run folder, Hub id or shipped model.")],
    prepared: Annotated[Path, typer.Argument(help="Prepared corpus.")],
    alignments: Annotated[Path, typer.Option(help="Folder of <speaker>/<id>.lab or .TextGrid.")],
    out: Annotated[Path, typer.Option(help="Folder for metrics.json and report.html.")],
    split: Annotated[str, typer.Option(help="What is scored: train, valid, test or all.")] = "test",
    mapping: Annotated[
        Path | None, typer.Option(help="Prepared corpus that teaches the unit → phone map, all of it.")
    ] = None,
    mapping_alignments: Annotated[Path | None, typer.Option(help="Its alignments.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of k-means, controls, bootstrap and decoding.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing results.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print metrics.json.")] = False,
) -> None:
    """Measures what units say about phones: metrics.json and report.html.

    The unit → phone map is learned on the train split, or on all of --mapping where given.

    Example: audio-vq analyze runs/vctk data/vctk --alignments data/vctk-phones --out reports/vctk
    """
    results = out / "metrics.json", out / "report.html"
    existing = [str(path) for path in results if path.exists()]
    if existing and not force:
        raise UserError(f"{' and '.join(existing)} exist already; choose another --out or add --force")
    if (mapping is None) != (mapping_alignments is None):
        raise UserError("--mapping and --mapping-alignments belong together; give both or neither")

    from audio_vq.analysis.analyze import analyze as measure
    from audio_vq.analysis.report import render_report
    from audio_vq.analysis.selection import open_aligned, select_utterances
    from audio_vq.pretrained import VQVAE

    model = VQVAE.from_pretrained(checkpoint, _resolve(device))
    teachers = open_aligned(mapping, mapping_alignments, model.sample_rate) if mapping and mapping_alignments else None
    selection = select_utterances(open_aligned(prepared, alignments, model.sample_rate), split, teachers)
    analysis = measure(model, selection, seed=seed)
    command = shlex.join(["audio-vq", *sys.argv[1:]])
    metrics = analysis.metrics() | {"seed": seed, "command": command}
    facts = {"checkpoint": checkpoint, "command": command, "audio_vq": version("audio-vq")}
    page = render_report(model, analysis, facts, seed=seed)
    text = json.dumps(metrics, indent=2, allow_nan=False) + "\n"
    atomic_write_text(out / "report.html", page)
    atomic_write_text(out / "metrics.json", text)
    print(text if json_output else summary(metrics, out), end="")


def summary(metrics: dict[str, Any], out: Path) -> str:
    """What a person wants to see at once: each figure beside its control."""
    phones = metrics["phones"]
    return (
        f"phone accuracy {phones['accuracy']:.1%} (majority {phones['majority']:.1%}, "
        f"shuffled units {phones['shuffled_units']:.1%}, "
        f"MFCC k-means {metrics['baselines']['mfcc_kmeans']['accuracy']:.1%})\n"
        f"perplexity {metrics['perplexity']:.1f}, {metrics['used_units']} of {metrics['codebook_size']} units used\n"
        f"{out / 'report.html'}\n"
    )


def _resolve(device: str) -> str:
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"no device {device!r}; expected auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA GPU here; use --device cpu")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
