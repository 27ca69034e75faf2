"""Several analysed models side by side: one table, from the metrics.json of each."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audio_vq.analysis.report.templates import page_template
from audio_vq.errors import UserError
from audio_vq.files import atomic_write_text

HIGHER, LOWER = "higher", "lower"


@dataclass(frozen=True)
class Analyzed:
    """A model and what `analyze` measured of it."""

    name: str
    source: str  # the checkpoint or report folder it was given as
    metrics: Mapping[str, Any]

    def figure(self, path: str) -> Any:
        """The value under a dotted path of metrics.json; None where it is not there."""
        value: Any = self.metrics
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


@dataclass(frozen=True)
class Measure:
    """A row of the table."""

    name: str
    path: str  # in metrics.json
    show: Callable[[Any], str]
    better: str | None = None  # HIGHER or LOWER
    interval: str | None = None  # path of its 95 % interval


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _decimals(places: int) -> Callable[[Any], str]:
    return lambda value: f"{value:,.{places}f}".replace(",", " ")


MEASURES: dict[str, tuple[Measure, ...]] = {
    "Units": (
        Measure("units per second", "unit_rate_hz", _decimals(1)),
        Measure("codebook size K", "codebook_size", str),
        Measure("units in use", "used_units", str),
        Measure("perplexity", "perplexity", _decimals(1)),
    ),
    "Rates, bits per second": (
        Measure("fixed length, K log2", "bits_per_second", _decimals(0)),
        Measure("entropy", "entropy_bits_per_second", _decimals(0)),
        Measure("ideal code, unigram", "rates.unigram.bits_per_second", _decimals(0)),
        Measure("ideal code, prior", "rates.prior.bits_per_second", _decimals(0)),
    ),
    "Speech": (
        Measure(
            "log-mel distance, dB", "rates.log_mel_distance.db", _decimals(2), LOWER, "rates.log_mel_distance.ci95"
        ),
        Measure("bits per sample, true units", "latents_used.bits_true", _decimals(3), LOWER),
        Measure("… another utterance's units", "latents_used.bits_shuffled", _decimals(3)),
        Measure("… no units", "latents_used.bits_zero", _decimals(3)),
        Measure("… another speaker", "latents_used.bits_wrong_speaker", _decimals(3)),
    ),
    "Phones": (
        Measure("accuracy", "phones.accuracy", _percent, HIGHER, "phones.ci95"),
        Measure("PNMI", "phones.pnmi", _decimals(3), HIGHER),
        Measure("phone purity", "phones.phone_purity", _decimals(3), HIGHER),
        Measure("scored time with a phone, not silence", "coverage.scored.phones", _percent),
        Measure("control: most frequent phone", "phones.majority", _percent),
        Measure("control: shuffled units", "phones.shuffled_units", _percent),
        Measure("control: k-means on MFCC", "baselines.mfcc_kmeans.accuracy", _percent),
        Measure("boundaries, R-value", "segments.r_value", _decimals(3), HIGHER),
        Measure("ABX error within speakers", "abx.within_speaker", _percent, LOWER, "abx.within_ci95"),
        Measure("ABX error across speakers", "abx.across_speaker", _percent, LOWER, "abx.across_ci95"),
    ),
    "Speaker": (
        Measure("speaker found from units", "speaker_leakage.accuracy", _percent, LOWER, "speaker_leakage.ci95"),
        Measure("control: chance", "speaker_leakage.chance", _percent),
        Measure("control: from log-mel", "speaker_leakage.from_log_mel", _percent),
    ),
}


@dataclass(frozen=True)
class ModelCell:
    text: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True)
class ModelRow:
    name: str
    better: str | None
    cells: tuple[ModelCell, ...]


@dataclass(frozen=True)
class ModelSection:
    name: str
    rows: tuple[ModelRow, ...]


def read_report(folder: Path, name: str) -> Analyzed:
    """Raises UserError where the folder holds no readable metrics.json."""
    file = folder / "metrics.json"
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder}: no metrics.json in it; expected a folder written by audio-vq analyze") from None
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON ({error}); analyse again") from None
    for key in ("unit_rate_hz", "codebook_size"):
        if not isinstance(metrics, dict) or metrics.get(key) is None:
            raise UserError(f"{file} is not of audio-vq analyze (no {key} in it)")
    model = Analyzed(name, str(folder), metrics)
    for measure in (measure for group in MEASURES.values() for measure in group):
        _check_numbers(file, measure.path, [model.figure(measure.path)])
        if measure.interval and (bounds := model.figure(measure.interval)) is not None:
            _check_numbers(file, measure.interval, bounds if isinstance(bounds, list) else [bounds], count=2)
    return model


def _check_numbers(file: Path, path: str, values: list[Any], count: int = 1) -> None:
    numbers = [value for value in values if type(value) in {int, float} and math.isfinite(value)]
    if len(values) != count or (values != [None] and len(numbers) != count):
        expected = "a number" if count == 1 else f"a list of {count} numbers"
        raise UserError(f"{file} is damaged: {path} is {values!r}, expected {expected}; analyse again")


def names_of(sources: Sequence[str]) -> list[str]:
    """The shortest ends of the paths that tell them apart, joined by dashes: they name folders too.

    Raises:
        UserError: one is given twice.
    """
    parts = [Path(source).absolute().parts[1:] for source in sources]
    if len(set(parts)) < len(parts):
        raise UserError(f"a model is given twice: {' '.join(sources)}")
    for length in range(1, max(map(len, parts)) + 1):
        names = ["-".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("different paths have different names")


def compared(models: Sequence[Analyzed]) -> list[ModelSection]:
    """The table: figures that at least one model has. On unlike data none is best."""
    alike = not cautions(models)
    sections = []
    for name, figures in MEASURES.items():
        rows = [_row(figure, models, alike) for figure in figures]
        rows = [row for row in rows if any(cell.text != "–" for cell in row.cells)]
        if rows:
            sections.append(ModelSection(name, tuple(rows)))
    return sections


def _row(figure: Measure, models: Sequence[Analyzed], alike: bool) -> ModelRow:
    values = [model.figure(figure.path) for model in models]
    known = [value for value in values if value is not None]
    best = None
    if alike and figure.better and len(set(known)) > 1:  # of equals none is best
        best = max(known) if figure.better == HIGHER else min(known)
    cells = [
        ModelCell(
            "–" if value is None else figure.show(value),
            _interval(figure, model),
            value is not None and value == best,
        )
        for model, value in zip(models, values, strict=True)
    ]
    return ModelRow(figure.name, figure.better, tuple(cells))


def _interval(figure: Measure, model: Analyzed) -> str:
    bounds = model.figure(figure.interval) if figure.interval else None
    return f"{figure.show(bounds[0])} – {figure.show(bounds[1])}" if bounds else ""


def cautions(models: Sequence[Analyzed]) -> list[str]:
    """What makes the figures of these models not comparable."""
    said = []
    for key, name in (("split", "split"), ("mapping", "mapping"), ("scored_utterances", "number of utterances")):
        found = sorted({str(model.metrics.get(key)) for model in models})
        if len(found) > 1:
            said.append(f"The models were not measured on the same {name}: {', '.join(found)}.")
    readings = sorted({str(by) for model in models if (by := model.figure("phones.read_by"))})
    if len(readings) > 1:
        said.append(f"Phones were not read from the units in the same way: {' and '.join(readings)}.")
    return said


def write_compare(models: Sequence[Analyzed], out: Path, command: str) -> dict[str, Any]:
    """`compare.html` and `compare.json`; returns the content of the latter."""
    sections = compared(models)
    content = {
        "models": [asdict(model) for model in models],
        "table": [
            {"section": section.name, "figure": figure.name, "values": [model.figure(figure.path) for model in models]}
            for section in sections
            for figure in MEASURES[section.name]
        ],
        "cautions": cautions(models),
        "command": command,
    }
    page = page_template("compare.html.j2").render(
        models=models, sections=sections, cautions=cautions(models), command=command
    )
    atomic_write_text(out / "compare.html", page)
    atomic_write_text(out / "compare.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
    return content
