"""Figures of the report. Each function draws one matplotlib Figure; `to_svg` makes it part of a page.

Text and axes take the page's own colour, so that they read on light and on dark.
"""

import html
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from audio_vq.analysis.measures.phones import PhoneScores
from audio_vq.analysis.report.phone_classes import CLASS_COLOURS, phone_class, phone_order
from audio_vq.units import perplexity, used_units

INK = "#0a0b0c"  # stands for the page's text colour until to_svg
LONGESTSECONDS = 0.6  # on the axis of durations
ACCENT, SECOND = "#0072B2", "#E69F00"
STYLE = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.linewidth": 0.6,
    "font.size": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",  # text stays text, in the page's font
    "text.parse_math": False,  # a label may hold any sign
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def styled() -> Iterator[None]:
    """Figures made inside look as ours do, whatever a matplotlibrc of the user says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def to_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an inline `<svg>` element; `name` keeps its ids apart from those of other figures."""
    buffer = io.StringIO()
    with styled(), mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the page's font has it
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :]  # neither XML declaration nor DOCTYPE inside a page
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*pt"', r"\1", svg, count=1)
    label = f'role="img" aria-label="{html.escape(description)}"'
    svg = re.sub(r'(<svg [^>]*?)height="[^"]*pt"', rf"\1{label}", svg, count=1)
    return svg.replace(INK, "currentColor")


def draw_unit_phone_matrix(scores: PhoneScores) -> Figure:
    """Which phones each unit stands for, and how often each phone is recognised by its units."""
    rank = {phone: n for n, phone in enumerate(phone_order(scores.phones))}
    rows = sorted(range(len(scores.phones)), key=lambda p: rank[scores.phones[p]])
    used = np.flatnonzero(scores.joint.any(axis=1))
    shares = scores.joint / np.maximum(1, scores.joint.sum(axis=1, keepdims=True))
    best = {u: scores.phones.index(scores.unit_phones[u]) for u in used}
    columns = sorted(used, key=lambda u: (rank[scores.unit_phones[u]], -shares[u, best[u]]))
    names = [scores.phones[p] for p in rows]
    with styled():
        figure = Figure(figsize=(10, 0.9 + 0.155 * len(names)), layout="constrained")
        matrix, bars = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
        image = matrix.imshow(shares[columns][:, rows].T, aspect="auto", cmap="magma", vmin=0, interpolation="nearest")
        _separate_classes(matrix, names)
        matrix.set_yticks(range(len(names)), names, fontsize=7)
        matrix.set_xlabel(f"the {len(columns)} units that occur, ordered by the phone they are mapped to")
        matrix.set_ylabel("phone")
        bar = figure.colorbar(image, ax=matrix, location="top", shrink=0.5, aspect=40, format=PercentFormatter(1))
        bar.set_label("share of the unit's frames")
        colours = [CLASS_COLOURS[phone_class(name)] for name in names]
        bars.barh(range(len(names)), [scores.recall.get(name, 0.0) for name in names], color=colours, height=0.8)
        bars.set_xlim(0, 1)
        bars.xaxis.set_major_formatter(PercentFormatter(1))
        bars.set_xlabel("frames recognised")
        bars.tick_params(labelleft=False, left=False)
    return figure


def _separate_classes(axes: Axes, names: Sequence[str]) -> None:
    classes = [phone_class(name) for name in names]
    for row in range(1, len(names)):
        if classes[row] != classes[row - 1]:
            axes.axhline(row - 0.5, color="#8a8a8a", linewidth=0.6)


def draw_usage(counts: np.ndarray) -> Figure:
    """How often each unit is used, commonest first."""
    shares = np.sort(counts / counts.sum())[::-1]
    used = used_units(counts)
    with styled():
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.subplots()
        axes.plot(np.arange(1, used + 1), shares[:used], color=ACCENT, linewidth=1.8, label="units")
        even = 1 / len(counts)
        axes.axhline(even, color=INK, linewidth=0.8, linestyle=":", label=f"even use, 1/{len(counts)}")
        effective = perplexity(counts)
        axes.axvline(effective, color=SECOND, linewidth=1.4, linestyle="--", label=f"perplexity {effective:.0f}")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(0, len(counts) + 1)
        axes.set_xlabel("unit, commonest first")
        axes.set_ylabel("share of all units (log scale)")
        axes.legend(fontsize=8)
    return figure


def draw_durations(run_seconds: np.ndarray, phone_seconds: np.ndarray, seconds_per_unit: float) -> Figure:
    """How long a unit lasts before another follows, beside how long phones last, where there are any."""
    longest = float(np.percentile(np.concatenate([run_seconds, phone_seconds]), 99))
    longest = min(max(longest, 4 * seconds_per_unit), LONGESTSECONDS)
    # whole units in the middle of their bins; coarse enough to smooth the phones at high unit rates
    width = seconds_per_unit * max(1, round(0.01 / seconds_per_unit))
    edges = np.arange(0.5 * seconds_per_unit, longest + width, width)
    with styled():
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.subplots()
        for seconds, colour, name in (
            (run_seconds, ACCENT, "unit runs"),
            (phone_seconds, SECOND, "phones"),
        ):
            if not len(seconds):
                continue
            shares = np.histogram(np.clip(seconds, edges[0], edges[-1]), bins=edges)[0] / len(seconds)
            label = f"{name}, median {1000 * np.median(seconds):.0f} ms"
            axes.stairs(shares, edges * 1000, color=colour, linewidth=1.8, label=label)
        axes.set_xlim(left=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("duration (ms)")
        axes.set_ylabel("share")
        axes.legend(fontsize=8)
    return figure


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
    with styled():
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
