"""Are the latents used, and until when: runs with different bottlenecks side by side, over several seeds.

Example: python recipes/collapse/compare.py work/collapse/quantized-0 work/collapse/gaussian-0 --out comparison

Reads the `metrics.jsonl` and `config.yaml` of finished runs and writes a table and a drawing: collapse.md,
collapse.json, collapse.svg, collapse.png. A decoder that ignores its latents needs the same bits under true, shuffled
and zero ones (van den Oord et al. 2017, section 1).

What latents are worth is another question: bits under true latents and the KL together are what a waveform costs whole
(the negative evidence lower bound), and what a VAE is trained to make small. Units always cost log2 K.
"""

import argparse
import json
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from omegaconf import OmegaConf

from audio_vq.analysis.report.plots import ACCENT, INK, SECOND, Axes, Figure, styled, to_svg
from audio_vq.checkpoint import config_from
from audio_vq.config import ModelConfig, hop_length
from audio_vq.errors import UserError
from audio_vq.files import atomic_path, atomic_write_text
from audio_vq.models.vqvae import NATS_TO_BITS

CONDITIONS = {"true": "bits_true", "shuffled": "bits_shuffled", "zero": "bits_zero"}
LINES = {"true": ("-", ACCENT), "shuffled": ("--", SECOND), "zero": (":", "#009E73")}
KL_COLOURS = (ACCENT, SECOND, "#CC79A7", "#009E73", "#D55E00")


@dataclass(frozen=True, eq=False)
class Run:
    """The validations of one run."""

    bottleneck: str  # with its options, for people
    seed: int
    minutes: np.ndarray  # (validations,) of training
    steps: np.ndarray
    bits: dict[str, np.ndarray]  # condition → bits per sample (validations,)
    kl: np.ndarray  # (validations,) nats per unit; NaN while a quantiser is not yet in force
    hop_length: int  # samples per unit
    audio_hours: float  # heard in training

    @property
    def bits_with_kl(self) -> np.ndarray:
        """Bits per sample under true latents and, spread over the samples of a unit, for the latents themselves."""
        return self.bits["true"] + self.kl * NATS_TO_BITS / self.hop_length


@dataclass(frozen=True)
class Spread:
    """Over seeds."""

    mean: float
    sd: float | None  # of the seeds, with n − 1; None of a single one
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: npt.ArrayLike) -> "Spread":
        array = np.asarray(values, float)
        sd = float(array.std(ddof=1)) if len(array) > 1 else None
        return cls(float(array.mean()), sd, tuple(array.tolist()))

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.sd is None else f" ± {self.sd:.3f}")


def read_run(folder: Path) -> Run:
    """Raises UserError where there is no run with validations, or its latents were not in force at the end."""
    if not (folder / "metrics.jsonl").is_file() or not (folder / "config.yaml").is_file():
        raise UserError(f"{folder}: no run of audio-vq train (expected config.yaml and metrics.jsonl in it)")
    config = OmegaConf.load(folder / "config.yaml")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    if not lines or any(line["valid"]["bits_shuffled"] is None for line in lines):
        raise UserError(f"{folder}: no validation with more than one clip; give train.validation_crops=2 or more")
    kl = np.array([_kl(line) for line in lines])
    if math.isnan(kl[-1]):
        raise UserError(f"{folder}: ended before it quantised; train it longer, with the same command as before")
    return Run(
        bottleneck=bottleneck_name(config),
        seed=int(config.seed),
        minutes=np.array([line["seconds"] / 60 for line in lines]),
        steps=np.array([line["step"] for line in lines]),
        bits={name: np.array([line["valid"][key] for line in lines]) for name, key in CONDITIONS.items()},
        kl=kl,
        hop_length=hop_length(config_from(ModelConfig, config.model, folder / "config.yaml")),
        audio_hours=lines[-1]["audio_hours_seen"],
    )


def _kl(record: dict[str, Any]) -> float:
    """Nats per unit. Of units it is ln K, whatever they are: against a uniform prior (paper, section 3.2)."""
    if "kl_nats_per_unit" in record:
        return float(record["kl_nats_per_unit"])
    return math.log(record["codebook_size"]) if record["quantized"] else math.nan


def bottleneck_name(config: Any) -> str:
    """`quantized` or `gaussian` and what deviates from the standard VAE."""
    name = str(config.model.bottleneck)
    if name != "gaussian":
        return name
    options = config.model.gaussian
    parts = [
        f"KL weight {options.kl_weight:g}" if options.kl_weight != 1 else "",
        f"annealed over {options.anneal_share:.0%}" if options.anneal_share else "",
        f"{options.free_bits:g} free bits" if options.free_bits else "",
    ]
    return ", ".join([name, *filter(None, parts)])


def by_bottleneck(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """In the order of the runs. Raises UserError where one bottleneck has a seed twice."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        group = groups.setdefault(run.bottleneck, [])
        if any(other.seed == run.seed for other in group):
            raise UserError(f"two runs of {run.bottleneck} have seed {run.seed}; every run needs a seed of its own")
        group.append(run)
    return groups


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """What `collapse.json` holds: for every bottleneck its end, over seeds, and the curves of each seed."""
    return {"bottlenecks": [_figures(name, group) for name, group in by_bottleneck(runs).items()]}


def _ends(runs: Sequence[Run]) -> dict[str, Spread]:
    """Figures of the last validations, over seeds."""
    bits = {condition: [run.bits[condition][-1] for run in runs] for condition in CONDITIONS}
    ends = {
        **{key: bits[condition] for condition, key in CONDITIONS.items()},
        "shuffled_minus_true": np.subtract(bits["shuffled"], bits["true"]),
        "zero_minus_true": np.subtract(bits["zero"], bits["true"]),
        "kl_nats_per_unit": [run.kl[-1] for run in runs],
        "bits_with_kl": [run.bits_with_kl[-1] for run in runs],
        "minutes": [run.minutes[-1] for run in runs],
        "steps": [run.steps[-1] for run in runs],
        "audio_hours": [run.audio_hours for run in runs],
    }
    return {name: Spread.of(values) for name, values in ends.items()}


def _figures(name: str, runs: Sequence[Run]) -> dict[str, Any]:
    curves = [
        {
            "seed": run.seed,
            "minutes": run.minutes.tolist(),
            "steps": run.steps.tolist(),
            "kl_nats_per_unit": [None if math.isnan(value) else value for value in run.kl.tolist()],
            **{key: run.bits[condition].tolist() for condition, key in CONDITIONS.items()},
        }
        for run in runs
    ]
    end = {key: vars(spread) for key, spread in _ends(runs).items()}
    return {"bottleneck": name, "seeds": [run.seed for run in runs], "end": end, "curves": curves}


def table(runs: Sequence[Run]) -> str:
    """Markdown: bits per sample at the end, mean ± standard deviation over seeds."""
    rows = [
        "| latents | seeds | true | shuffled | zero | shuffled − true | KL, nats per unit | true + KL |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, group in by_bottleneck(runs).items():
        ends = _ends(group)
        cells = [ends[key] for key in (*CONDITIONS.values(), "shuffled_minus_true", "kl_nats_per_unit", "bits_with_kl")]
        rows.append(f"| {name} | {len(group)} | {' | '.join(map(str, cells))} |")
    return "\n".join(rows) + "\n"


def draw(runs: Sequence[Run]) -> Figure:
    """Bits per sample for every bottleneck, then the KL: means, every seed as a thin line, their range as a band."""
    groups = by_bottleneck(runs)
    with styled():
        figure = Figure(figsize=(3 * (len(groups) + 1) + 0.6, 3.2), layout="constrained")
        *panels, last = figure.subplots(1, len(groups) + 1)
        for axes, (name, group) in zip(panels, groups.items(), strict=True):
            axes.sharey(panels[0])
            for condition, (style, colour) in LINES.items():
                values = [run.bits[condition] for run in group]
                _draw_band(axes, group, values, style, colour, f"{condition} latents")
            axes.set_title(f"{name} ({len(group)} seed{'s' if len(group) > 1 else ''})", fontsize=9)
            _label_time(axes)
        panels[0].set_ylabel("bits per sample, validation")
        panels[0].legend(fontsize=8)
        for (name, group), colour in zip(groups.items(), KL_COLOURS, strict=False):
            _draw_band(last, group, [run.kl for run in group], "-", colour, name)
        last.set_yscale("log")
        last.set_title("KL of the latents (log scale)", fontsize=9)
        last.set_ylabel("nats per unit")
        last.legend(fontsize=8)
        _label_time(last)
    return figure


def _draw_band(
    axes: Axes, runs: Sequence[Run], values: Sequence[np.ndarray], style: str, colour: str, label: str
) -> None:
    """Validations lie at the same shares of the budget in all runs: the n-th of one belongs to the n-th of others."""
    length = min(map(len, values))
    minutes = np.mean([run.minutes[:length] for run in runs], axis=0)
    stack = np.array([each[:length] for each in values])
    axes.plot(minutes, stack.mean(0), linestyle=style, color=colour, linewidth=1.8, label=label)
    if len(stack) > 1:
        axes.fill_between(minutes, stack.min(0), stack.max(0), color=colour, alpha=0.13, linewidth=0)
        axes.plot(minutes, stack.T, linestyle=style, color=colour, linewidth=0.5)  # seeds may part ways: not only means


def _label_time(axes: Axes) -> None:
    axes.set_xlim(left=0)
    axes.set_xlabel("training (minutes)")


def write_comparison(folders: Sequence[Path], out: Path, command: str) -> str:
    """`collapse.json`, `collapse.md`, `collapse.svg` and `collapse.png` in `out`; returns the table."""
    runs = [read_run(folder) for folder in folders]
    text = table(runs)
    figure = draw(runs)
    content = {"command": command, **summary(runs)}
    atomic_write_text(out / "collapse.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
    atomic_write_text(out / "collapse.md", text)
    svg = to_svg(figure, "collapse", "Bits per sample and KL against training time")
    atomic_write_text(out / "collapse.svg", svg.replace("currentColor", INK))  # alone it has no page to take it from
    with atomic_path(out / "collapse.png") as temporary:
        figure.savefig(temporary, dpi=130, facecolor="white")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        print(write_comparison(arguments.runs, arguments.out, shlex.join(["python", *sys.argv])), end="")
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
