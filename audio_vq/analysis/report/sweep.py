"""Rate and distortion over checkpoints: how far speech is from the recording at how many bits per second.

Several codebook sizes and unit rates make a curve; each point is read from the metrics.json of one model.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audio_vq.analysis.report.compare import Analyzed, cautions
from audio_vq.analysis.report.plots import ACCENT, INK, SECOND, styled, to_svg
from audio_vq.analysis.report.templates import page_template
from audio_vq.errors import UserError
from audio_vq.files import atomic_write_text

# how the units are written → where metrics.json has it, cheapest code last
RATES = {
    "fixed length, K log2": "bits_per_second",
    "entropy of the units": "entropy_bits_per_second",
    "ideal code, unigram": "rates.unigram.bits_per_second",
    "ideal code, prior": "rates.prior.bits_per_second",
}
DISTORTIONS = {
    "log-mel distance (dB)": "rates.log_mel_distance.db",
    "bits per waveform sample, given the units": "latents_used.bits_true",
}
MARKERS = {"fixed length, K log2": ("o", ACCENT), "entropy of the units": ("s", SECOND)}
MARKERS |= {"ideal code, unigram": ("^", "#009E73"), "ideal code, prior": ("D", "#CC79A7")}


@dataclass(frozen=True)
class Point:
    """One model; None where its metrics.json has no such figure."""

    name: str
    source: str
    codebook_size: int
    unit_rate_hz: float
    bits_per_second: dict[str, float | None]  # by how the units are written
    distortion: dict[str, float | None]

    @property
    def label(self) -> str:
        return f"K {self.codebook_size}, {self.unit_rate_hz:g} Hz"


def points(models: Sequence[Analyzed]) -> list[Point]:
    """In the order of their bit rates at fixed length.

    Raises:
        UserError: not one model has a distortion: it knows none of the speakers.
    """
    found = [
        Point(
            model.name,
            model.source,
            int(model.metrics["codebook_size"]),
            float(model.metrics["unit_rate_hz"]),
            {name: model.figure(path) for name, path in RATES.items()},
            {name: model.figure(path) for name, path in DISTORTIONS.items()},
        )
        for model in models
    ]
    if all(value is None for point in found for value in point.distortion.values()):
        raise UserError(
            "none of these models was measured on a speaker it knows, so that nothing was decoded; "
            "choose a --split with speakers of the training"
        )
    return sorted(found, key=lambda point: (point.bits_per_second["fixed length, K log2"] or 0, point.name))


def draw(found: Sequence[Point]) -> Figure:
    """A panel for every distortion: one line per way of writing and unit rate, a point per model."""
    shown = [name for name in DISTORTIONS if any(point.distortion[name] is not None for point in found)]
    with styled():
        figure = Figure(figsize=(5 * len(shown), 3.8), layout="constrained")
        for axes, distortion in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            for coding in RATES:
                _draw_lines(axes, found, coding, distortion)
            _label_models(axes, found, distortion)
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
            axes.xaxis.set_minor_formatter(lambda rate, _: f"{rate:g}" if f"{rate:.0e}"[0] in "2357" else "")
            axes.set_xlabel("bits per second (log scale)")
            axes.set_ylabel(distortion)
            axes.margins(x=0.12, y=0.14)
        axes.legend(fontsize=8)
    return figure


def _draw_lines(axes: Axes, found: Sequence[Point], coding: str, distortion: str) -> None:
    marker, colour = MARKERS[coding]
    label = coding
    for unit_rate in sorted({point.unit_rate_hz for point in found}):
        same = [
            (rate, value)
            for point in found
            if point.unit_rate_hz == unit_rate
            and (rate := point.bits_per_second[coding]) is not None
            and (value := point.distortion[distortion]) is not None
        ]
        if same:
            axes.plot(*zip(*same, strict=True), marker=marker, color=colour, markersize=5, linewidth=1.2, label=label)
            label = "_"  # once in the legend


def _label_models(axes: Axes, found: Sequence[Point], distortion: str) -> None:
    for point in found:
        rate, value = point.bits_per_second["fixed length, K log2"], point.distortion[distortion]
        if rate is not None and value is not None:
            axes.annotate(point.label, (rate, value), xytext=(4, 5), textcoords="offset points", fontsize=7, color=INK)


def write_sweep(models: Sequence[Analyzed], out: Path, command: str) -> dict[str, Any]:
    """`sweep.json`, `sweep.svg` and `sweep.html`; returns the content of the first."""
    found = points(models)
    svg = to_svg(draw(found), "sweep", "Distortion against bit rate")
    content = {"points": [asdict(point) for point in found], "cautions": cautions(models), "command": command}
    page = page_template("sweep.html.j2").render(
        points=found,
        rates=[name for name in RATES if any(point.bits_per_second[name] is not None for point in found)],
        distortions=list(DISTORTIONS),
        svg=Markup(svg),  # noqa: S704 - our own
        cautions=cautions(models),
        command=command,
    )
    atomic_write_text(out / "sweep.html", page)
    atomic_write_text(out / "sweep.svg", svg.replace("currentColor", INK))  # alone it has no page to take it from
    atomic_write_text(out / "sweep.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
    return content
