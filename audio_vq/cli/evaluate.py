"""`audio-vq evaluate`: conversions judged by independent models."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from audio_vq.cli.options import (
    Checkpoint,
    Device,
    Emphasis,
    Force,
    Json,
    OutFolder,
    Postfilter,
    Seed,
    Temperature,
    TopP,
    refuse_existing,
)
from audio_vq.files import atomic_write_text, locked

Prepared = Annotated[
    Path, typer.Argument(metavar="PREPARED", help="Prepared corpus; English where it has transcripts.")
]
Split = Annotated[str, typer.Option(help="What is converted: train, valid, test or all.")]
Sources = Annotated[
    str, typer.Option(help="Whose recordings are converted: known (to the model), unknown or all speakers'.")
]
Count = Annotated[int, typer.Option("--pairs", min=1, help="Pairs of a recording and another speaker's voice.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that judge; 0 means one per CPU.")]


def evaluate(
    checkpoint: Checkpoint,
    prepared: Prepared,
    out: OutFolder,
    split: Split = "test",
    sources: Sources = "all",
    pairs: Count = 40,
    temperature: Temperature = None,
    top_p: TopP = 1.0,
    postfilter: Postfilter = True,
    emphasis: Emphasis = None,
    seed: Seed = 0,
    workers: Workers = 0,
    device: Device = "auto",
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Have conversions judged by independent models: conversion.json and a section of report.html.

    Who speaks (Resemblyzer), what is said (PocketSphinx, English), how clean it sounds (DNSMOS) and at what pitch, for
    conversions, reconstructions, and real recordings of source and target speaker; where the target has said the same
    sentence itself, also how far the conversion lies from that (mel-cepstral distortion). Sources may be speakers the
    model does not know, if the corpus has them (prepare --test-speakers). Without transcript, characters do not count.
    All judges run offline. OUT/clips keeps what was made and heard: an interrupted run goes on where it stood.

    With --json: the content of conversion.json.

    Example: audio-vq evaluate runs/vctk data/vctk --out reports/vctk
    """
    refuse_existing([out / "conversion.json"], force)
    from audio_vq.analysis.judges.panel import judge_clip, judge_versions, require_judges

    require_judges()
    from audio_vq.analysis.judges.clips import forget
    from audio_vq.analysis.judges.evaluate import evaluate as measure
    from audio_vq.analysis.judges.pairs import choose_pairs
    from audio_vq.analysis.judges.panel import Panel
    from audio_vq.analysis.report.conversions import refuse_foreign_report, write_section
    from audio_vq.data.prepared import PreparedCorpus
    from audio_vq.pretrained import VQVAE

    refuse_foreign_report(out, force)
    model = VQVAE.from_pretrained(checkpoint, device)
    options = model.sampling_options(temperature, top_p, seed, postfilter, emphasis)
    corpus = PreparedCorpus.open(prepared, model.sample_rate)
    chosen = choose_pairs(corpus, split, model.speakers, pairs, sources=sources, seed=seed)
    panel = Panel(judge_clip, judge_versions(), workers or os.cpu_count() or 1)
    facts = {
        "checkpoint": checkpoint,
        "corpus": f"{corpus.folder} ({corpus.header.corpus})",
        "split": split,
        "sources": sources,
        "temperature": options.temperature,
        "top_p": top_p,
        "postfilter": postfilter,
        "emphasis": options.emphasis,
        "seed": seed,
        "command": shlex.join(["audio-vq", *sys.argv[1:]]),
    }
    with locked(out, "evaluation"):
        if force:
            forget(out)
        conversion = measure(model, corpus, chosen, panel, out, options) | facts
        text = json.dumps(conversion, indent=2, allow_nan=False) + "\n"
        atomic_write_text(out / "conversion.json", text)
        write_section(out)
    print(text if json_output else _summary(conversion, out), end="")


def _summary(conversion: dict[str, Any], out: Path) -> str:
    """Each figure beside its anchors."""
    from audio_vq.analysis.judges.scores import CONDITIONS
    from audio_vq.analysis.report.judgements import shown_figures

    lines = [f"{'':24}" + "".join(f"{name:>28}" for name in CONDITIONS)]
    lines += [
        f"{row.name:24}" + "".join(f"{f'{cell.value} {cell.interval}':>28}" for cell in row.cells)
        for row in shown_figures(conversion)
    ]
    return "\n".join([*lines, str(out / "report.html"), ""])
