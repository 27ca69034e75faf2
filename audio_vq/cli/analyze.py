"""`audio-vq analyze`: what units say about phones, and what else they are."""

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from audio_vq.cli.completion import checkpoints
from audio_vq.cli.options import Device, Force, Json, OutFolder, Seed, refuse_existing
from audio_vq.errors import UserError
from audio_vq.files import atomic_write_text, locked

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="CHECKPOINT PREPARED",
        help="Checkpoint or run folder, Hub id, or a shipped model's name; then a prepared corpus. "
        "With --compare or --sweep any number of checkpoints and folders that analyze has written; "
        "the corpus may be left out where there are only such folders.",
        show_default=False,
        autocompletion=checkpoints,
    ),
]
Alignments = Annotated[
    Path | None, typer.Option(help="Folder of <speaker>/<id>.lab or .TextGrid; without it nothing is said of phones.")
]
Mapping = Annotated[Path | None, typer.Option(help="Prepared corpus that teaches the map, all of it.")]
MappingAlignments = Annotated[Path | None, typer.Option(help="Alignments of --mapping.")]
Split = Annotated[str, typer.Option(help="What is scored: train, valid, test or all.")]
Group = Annotated[
    int, typer.Option(min=0, help="Group of units that the report draws one by one, for models with several.")
]
Prior = Annotated[
    str | None,
    typer.Option(
        help="Prior of this checkpoint's units: the length of the units' ideal code under it joins the figures."
    ),
]
Compare = Annotated[bool, typer.Option("--compare", help="Several models in one table: compare.html, compare.json.")]
Sweep = Annotated[
    bool, typer.Option("--sweep", help="Bit rate against distortion of several models: sweep.html, .svg, .json.")
]


@dataclass(frozen=True)
class AnalysisSettings:
    """Under which a checkpoint is analysed."""

    alignments: Path | None
    split: str
    mapping: Path | None
    mapping_alignments: Path | None
    prior: str | None
    group: int
    device: str
    seed: int
    command: str


def analyze(
    inputs: Inputs,
    out: OutFolder,
    alignments: Alignments = None,
    split: Split = "test",
    mapping: Mapping = None,
    mapping_alignments: MappingAlignments = None,
    prior: Prior = None,
    group: Group = 0,
    compare: Compare = False,
    sweep: Sweep = False,
    device: Device = "auto",
    seed: Seed = 0,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Measure what units say about phones: metrics.json, atlas.json and report.html.

    Each unit is read as the phone it occurs with most in the train split, or in --mapping where given. Without
    --alignments what needs no phones is measured: the atlas, bit rates, speakers, and whether the latents are used.

    With --json: the content of metrics.json (of compare.json or sweep.json, where these are asked for).

    Example: audio-vq analyze runs/vctk data/vctk --alignments data/vctk-phones --out reports/vctk

    Several models: audio-vq analyze --compare runs/a runs/b data/vctk --alignments data/vctk-phones --out both
    """
    if (mapping is None) != (mapping_alignments is None):
        raise UserError("--mapping and --mapping-alignments belong together; give both or neither")
    if prior is not None and (compare or sweep):
        raise UserError("--prior belongs to one checkpoint; analyse it alone, then give its folder to --compare")
    if compare and sweep:
        raise UserError("--compare and --sweep are two results; give one of them, then the other with the same reports")
    command = shlex.join(["audio-vq", *sys.argv[1:]])

    def settings() -> AnalysisSettings:
        if mapping and alignments is None:
            raise UserError("--mapping teaches phones; give --alignments too, the folder of <speaker>/<id>.lab")
        return AnalysisSettings(alignments, split, mapping, mapping_alignments, prior, group, device, seed, command)

    if compare or sweep:
        kind = "compare" if compare else "sweep"
        with locked(out, "analysis"):
            content = _several(inputs, settings, kind, out, command, force)
        print(json.dumps(content, indent=2, allow_nan=False) if json_output else out / f"{kind}.html")
        return
    if len(inputs) != 2:
        raise UserError(
            f"{len(inputs)} inputs, expected CHECKPOINT PREPARED; several checkpoints need --compare or --sweep"
        )
    refuse_existing([out / "metrics.json", out / "report.html"], force)
    with locked(out, "analysis"):
        metrics = _analyze(inputs[0], Path(inputs[1]), settings(), out)
    print(_text(metrics) if json_output else _summary(metrics, out), end="")


def _several(
    inputs: list[str], settings: Callable[[], AnalysisSettings], kind: str, out: Path, command: str, force: bool
) -> dict[str, Any]:
    """A checkpoint is analysed into a folder of its own in `out`, unless an interrupted call has done it before."""
    from audio_vq.analysis.report.compare import Analyzed, names_of, read_report, write_compare
    from audio_vq.analysis.report.sweep import write_sweep

    refuse_existing([out / f"{kind}.json", out / f"{kind}.html"], force)
    prepared = Path(inputs[-1]) if (Path(inputs[-1]) / "corpus.json").is_file() else None
    sources = inputs[:-1] if prepared else inputs
    if len(sources) < 2:
        raise UserError(f"--{kind} needs two models or more, got {len(sources)}")
    models = []
    for name, source in zip(names_of(sources), sources, strict=True):
        if (Path(source) / "metrics.json").is_file():
            models.append(read_report(Path(source), name))
            continue
        if prepared is None:
            raise UserError(
                f"{source} is no folder that audio-vq analyze has written; to have checkpoints analysed, "
                "end with a prepared corpus and give --alignments"
            )
        chosen, folder = settings(), out / name
        if force or not (folder / "metrics.json").is_file():
            _analyze(source, prepared, chosen, folder)
        report = read_report(folder, name)
        if report.metrics.get("command") != command and not force:
            raise UserError(f"{folder} is of another command; give --force to analyse again, or another --out")
        models.append(Analyzed(name, source, report.metrics))
    return (write_compare if kind == "compare" else write_sweep)(models, out, command)


def _analyze(checkpoint: str, prepared: Path, settings: AnalysisSettings, out: Path) -> dict[str, Any]:
    """metrics.json, atlas.json and report.html of one checkpoint; returns the content of the first."""
    from audio_vq.analysis.measures.analyze import analyze as measure
    from audio_vq.analysis.measures.selection import open_aligned, select_utterances
    from audio_vq.analysis.report.conversions import read_section
    from audio_vq.analysis.report.report import write_report
    from audio_vq.pretrained import VQVAE
    from audio_vq.unit_prior import UnitPrior

    read_section(out)  # the page will show it: if it cannot, better now than after the work
    model = VQVAE.from_pretrained(checkpoint, settings.device)
    if settings.group >= model.groups:
        raise UserError(f"--group {settings.group}: {checkpoint} has groups 0 to {model.groups - 1}")
    prior = UnitPrior.from_pretrained(settings.prior, settings.device) if settings.prior else None
    if prior:
        prior.check_units_of(model)
    scored = open_aligned(prepared, settings.alignments, model.sample_rate)
    teachers = None
    if settings.mapping and settings.mapping_alignments:
        teachers = open_aligned(settings.mapping, settings.mapping_alignments, model.sample_rate)
    selection = select_utterances(scored, settings.split, teachers)
    analysis = measure(model, selection, seed=settings.seed, prior=prior)
    facts = {"checkpoint": checkpoint, "command": settings.command, "audio_vq": version("audio-vq")}
    corpus = f"{prepared} ({scored.corpus.header.corpus})"
    metrics = analysis.metrics() | {"corpus": corpus, "seed": settings.seed, "command": settings.command}
    write_report(model, analysis, metrics, facts, out, settings.group, seed=settings.seed)
    atomic_write_text(out / "metrics.json", _text(metrics))
    return metrics


def _text(metrics: dict[str, Any]) -> str:
    return json.dumps(metrics, indent=2, allow_nan=False) + "\n"


def _summary(metrics: dict[str, Any], out: Path) -> str:
    """Each figure beside its control."""
    return (
        f"{_phones(metrics)}"
        f"{_speakers(metrics['speaker_leakage'])}"
        f"perplexity {metrics['perplexity']:.1f}, "
        f"{metrics['used_units']} of {metrics['codebook_size']} units occur; {_rate(metrics['rates'])}\n"
        f"{_pitch(metrics['pitch'])}"
        f"{out / 'report.html'}\n"
    )


def _phones(metrics: dict[str, Any]) -> str:
    if "phones" not in metrics:
        return "no --alignments: what needs phones is left out (see audio-vq align)\n"
    phones, kmeans = metrics["phones"], metrics["baselines"]["mfcc_kmeans"]
    return (
        f"phone accuracy {phones['accuracy']:.1%} (majority {phones['majority']:.1%}, "
        f"shuffled units {phones['shuffled_units']:.1%}, MFCC k-means {kmeans['accuracy']:.1%})\n"
        f"{_groups(metrics)}"
        f"{_coverage(metrics['coverage']['scored'])}\n"
        f"{_abx(metrics['abx'], 'ABX error')}; MFCC k-means {_abx(kmeans['abx'])}\n"
    )


def _groups(metrics: dict[str, Any]) -> str:
    groups = metrics["groups"]
    if len(groups) == 1:
        return ""
    alone = ", ".join(f"{group['phones']['accuracy']:.1%}" for group in groups)
    counted = metrics["baselines"]["mfcc_kmeans_alone"]["accuracy"]
    return (
        f"this is {len(groups)} groups together, read by a probe; each group alone, counted: {alone} "
        f"(one codebook of MFCC k-means {counted:.1%}); below, mean perplexity and the group that uses fewest units\n"
    )


def _pitch(pitch: dict[str, Any] | None) -> str:
    if pitch is None:
        return ""
    return f"pitch {pitch['entropy_bits_per_second']:.0f} bit/s of these, {pitch['voiced']:.1%} of the units voiced\n"


def _coverage(scored: dict[str, float]) -> str:
    return f"alignments cover {scored['aligned']:.1%} of the scored recordings, phones {scored['phones']:.1%}"


def _abx(errors: dict[str, Any], name: str = "") -> str:
    sides = (f"{side} speakers {_share(errors[f'{side}_speaker'])}" for side in ("within", "across"))
    return f"{name} {', '.join(sides)}".lstrip()


def _share(value: float | None) -> str:
    return "not measurable" if value is None else f"{value:.1%}"


def _speakers(leakage: dict[str, Any] | None) -> str:
    if leakage is None:
        return ""
    return (
        f"speaker named from units {leakage['accuracy']:.1%} (chance {leakage['chance']:.1%}, "
        f"log-mel {leakage['from_log_mel']:.1%})\n"
    )


def _rate(rates: dict[str, Any]) -> str:
    coded = {"unigram": rates["unigram"], "prior": rates["prior"]}
    return "ideal code " + ", ".join(
        f"{each['bits_per_second']:.0f} bit/s ({name})" for name, each in coded.items() if each
    )
