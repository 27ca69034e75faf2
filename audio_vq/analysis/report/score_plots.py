"""Figures of the report that set a score beside its controls."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from audio_vq.analysis.report.plots import ACCENT, INK, SECOND, STYLE


@dataclass(frozen=True)
class Score:
    """A share between 0 and 1, or a figure with a unit, and its 95 % interval where there is one."""

    name: str
    value: float
    ci95: tuple[float, float] | None = None
    own: bool = False  # the model's own figure, not a control


@dataclass(frozen=True)
class Mark:
    """A level to compare with, drawn as a line."""

    name: str
    value: float


def draw_scores(scores: Sequence[Score], marks: Sequence[Mark], axis: str, *, percent: bool = True) -> Figure:
    """One row per score: a dot with its interval, on an axis named `axis`, and lines for the marks."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5, 0.95 + 0.27 * len(scores) + 0.16 * len(marks)), layout="constrained")
        axes = figure.subplots()
        rows = range(len(scores))
        for row, score in zip(rows, scores, strict=True):
            _draw_score(axes, row, score)
        for mark, style in zip(marks, (":", "--", "-.", "-"), strict=False):
            axes.axvline(mark.value, color=INK, linewidth=0.8, linestyle=style, alpha=0.7, label=mark.name)
        axes.set_yticks(rows, [score.name for score in scores])
        axes.set_ylim(len(scores) - 0.4, -0.6)
        axes.tick_params(left=False)
        axes.grid(visible=True, axis="x", color=INK, alpha=0.12, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlim(left=0)
        axes.margins(x=0.08)
        if percent:
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel(axis)
        if marks:
            figure.legend(loc="outside lower right", fontsize=8, ncols=2)
    return figure


def _draw_score(axes: Axes, row: int, score: Score) -> None:
    colour = ACCENT if score.own else SECOND
    if score.ci95:
        axes.plot(score.ci95, (row, row), color=colour, linewidth=2.2, solid_capstyle="round", alpha=0.55)
    axes.plot(score.value, row, marker="o", markersize=6 if score.own else 5, color=colour)
