"""`audio-vq bench`."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audio_vq.cli.completion import checkpoints
from audio_vq.cli.options import Json
from audio_vq.errors import UserError
from audio_vq.shipped import conf_folder

if TYPE_CHECKING:
    from audio_vq.bench.decoder import Speech
    from audio_vq.bench.measurement import Measurement
    from audio_vq.bench.runner import Subjects
    from audio_vq.config import ModelConfig
    from audio_vq.pretrained import VQVAE

REFERENCE, SMALL = "wavenet_reference", "small"


def bench(
    checkpoint: Annotated[
        str | None,
        typer.Argument(
            metavar="[CHECKPOINT]",
            help="What to measure; without it, the reference and the small decoder.",
            autocompletion=checkpoints,
        ),
    ] = None,
    only: Annotated[str, typer.Option(help="Names, or parts of them, with commas between; all by default.")] = "",
    seconds: Annotated[float, typer.Option(help="Time for each measured thing.")] = 2.0,
    threads: Annotated[int, typer.Option(help="CPU threads of the measured things.")] = 1,
    speech: Annotated[
        Path | None,
        typer.Option(help="Prepared corpus, folder or file to measure weight formats on; else the decoder's own."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Measure how fast sampling, training, encoding and the prior run here.

    With --json: context (machine and settings), results (of each: name, value, unit, ratio, baseline, context).

    Example: audio-vq bench runs/vctk --only wavenet
    """
    if not 0 < seconds < float("inf"):
        raise UserError(f"--seconds {seconds}; give a number above 0")
    if threads < 1:
        raise UserError(f"--threads {threads}; give a whole number from 1")

    from audio_vq.bench.measurement import Budget
    from audio_vq.bench.runner import run_benchmark
    from audio_vq.machine import describe_machine

    patterns = [part.strip() for part in only.split(",") if part.strip()]
    budget = Budget(seconds=seconds, threads=threads)
    rows = run_benchmark(_subjects(checkpoint, speech, seconds), budget, patterns)
    context = {**describe_machine(), "seconds": seconds, "threads": threads, "checkpoint": checkpoint}
    if json_output:
        print(json.dumps({"context": context, "results": [dataclasses.asdict(row) for row in rows]}))
    else:
        _print_table(rows, context)


def _subjects(checkpoint: str | None, speech: Path | None, seconds: float) -> "Subjects":
    from audio_vq.bench.runner import Model, Subjects
    from audio_vq.config import TrainConfig, TrainPriorRun, TrainRun
    from audio_vq.pretrained import VQVAE

    prior = _preset("train_prior", TrainPriorRun, f"prior={SMALL}", "model=none").prior
    if checkpoint:
        vqvae = VQVAE.from_pretrained(checkpoint)
        spoken = _read_speech(speech, vqvae.sample_rate, vqvae.speakers, seconds)
        model = Model(vqvae, checkpoint, trained=True)
        return Subjects([model], model, TrainConfig(), prior, spoken)
    runs = {name: _preset("train", TrainRun, f"model={name}") for name in (REFERENCE, SMALL)}
    reference = Model(_fresh(runs[REFERENCE].model), REFERENCE, trained=False)
    small = Model(_fresh(runs[SMALL].model), SMALL, trained=False, prefix=f"{SMALL}_")
    spoken = _read_speech(speech, small.vqvae.sample_rate, (), seconds)
    return Subjects([reference, small], small, runs[SMALL].train, prior, spoken)


def _fresh(config: "ModelConfig") -> "VQVAE":
    """A model with fresh weights, always the same."""
    import torch

    from audio_vq.checkpoint import CheckpointInfo
    from audio_vq.config import as_dict
    from audio_vq.models.vqvae import build_vqvae
    from audio_vq.pretrained import VQVAE

    torch.manual_seed(0)
    speakers = tuple("abcd")
    return VQVAE(build_vqvae(config, len(speakers)), config, CheckpointInfo("vqvae", as_dict(config), speakers))


def _preset(verb: str, schema: type, *choices: str) -> Any:
    """What a training verb's config is with this preset."""
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    ConfigStore.instance().store(name="schema", node=schema)
    with initialize_config_dir(str(conf_folder() / verb), version_base="1.3"):
        return OmegaConf.to_object(compose("config", overrides=["data=none", "run=none", *choices]))


def _read_speech(path: Path | None, sample_rate: int, speakers: Sequence[str], seconds: float) -> "Speech | None":
    """So many seconds: of the first known speaker of a prepared corpus, or of the first files."""
    import numpy as np

    from audio_vq.audio.files import read_audio
    from audio_vq.bench.decoder import Speech
    from audio_vq.data.prepared import CORPUS_FILE, PreparedCorpus
    from audio_vq.discovery import find_recordings

    if path is None:
        return None
    speaker = 0
    if (path / CORPUS_FILE).is_file():
        corpus = PreparedCorpus.open(path, sample_rate)
        known = [each for each in corpus.select("test") if not speakers or each.speaker in speakers]
        if not known:
            raise UserError(f"{path} has no test utterance of a speaker of this model: {', '.join(speakers)}")
        speaker = speakers.index(known[0].speaker) if speakers else 0
        waveforms = (corpus.waveform(each) for each in known if each.speaker == known[0].speaker)
    else:
        waveforms = (read_audio(file.path, sample_rate).waveform for file in find_recordings([path]).files)
    parts: list[Any] = []
    while sum(map(len, parts)) < seconds * sample_rate and (part := next(waveforms, None)) is not None:
        parts.append(part)
    return Speech(np.concatenate(parts), speaker)


def _print_table(rows: Sequence["Measurement"], context: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{context['cpu']}, {context['gpu'] or 'no GPU'}, {context['threads']} thread(s)"
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("ratio to")
    table.add_column("of")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.3g} × "
        own = {key: value for key, value in row.context.items() if key not in (*context, "best_round")}
        of = ", ".join(value if isinstance(value, str) else f"{key} {value}" for key, value in own.items())
        value = f"{row.value:,.0f}" if row.value >= 1000 else f"{row.value:.3g}"
        table.add_row(row.name, f"{value} {row.unit}", ratio + (row.baseline or ""), of)
    console = Console()
    if not console.is_terminal:  # a file has room
        console.width = 200
    console.print(table)
