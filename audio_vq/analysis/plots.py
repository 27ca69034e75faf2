"""Figures of the report. Each function draws one matplotlib Figure; `to_svg` makes it part of a page.

Text and axes take the page's own colour, so that they read on light and on dark. Phone classes keep one
colour throughout, from Okabe and Ito's palette, which colour-blind readers can tell apart.
"""

import html
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from audio_vq.analysis.alignments import ARPABET_CLASSES, SILENCE
from audio_vq.analysis.phones import PhoneScores
from audio_vq.units import perplexity, run_lengths, used_units

CLASS_COLOURS = {
    "vowel": "#E69F00",
    "approximant": "#F0E442",
    "nasal": "#009E73",
    "stop": "#0072B2",
    "affricate": "#56B4E9",
    "fricative": "#CC79A7",
    "silence": "#B0B0B0",
    "other": "#D55E00",
}
_CLASS_OF = {phone: name for name, phones in ARPABET_CLASSES.items() for phone in phones} | {SILENCE: "silence"}
_INK = "#0a0b0c"  # stands for the page's text colour until to_svg
EXCERPT_INCHES = 10
STRIP_FONT = 6.5  # points
LONGEST_SECONDS = 0.6  # on the axis of durations
_ACCENT, _SECOND = "#0072B2", "#E69F00"
_STYLE = {
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.linewidth": 0.6,
    "font.size": 9,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "svg.fonttype": "none",  # text stays text, in the page's font
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A stretch of one utterance from its beginning."""

    title: str
    log_mel: np.ndarray  # (n_mels, frames)
    sample_rate: int  # Hz
    seconds: float
    units: np.ndarray  # (num_units,)
    seconds_per_unit: float
    unit_phones: tuple[str, ...]  # what each unit of the codebook maps to
    phone_starts: np.ndarray  # (phones,) seconds in the excerpt
    phones: tuple[str, ...]  # (phones,)


def phone_class(phone: str) -> str:
    return _CLASS_OF.get(phone, "other")


def phone_order(phones: Sequence[str]) -> list[str]:
    """Phones class by class: vowels, approximants, … as in CLASS_COLOURS; unknown labels last."""
    classes = list(CLASS_COLOURS)
    listed = list(_CLASS_OF)
    return sorted(
        phones,
        key=lambda phone: (
            classes.index(phone_class(phone)),
            listed.index(phone) if phone in _CLASS_OF else 0,
            phone,
        ),
    )


def to_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an inline `<svg>` element; `name` keeps its ids apart from those of other figures."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :]  # neither XML declaration nor DOCTYPE inside a page
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*pt"', r"\1", svg, count=1)
    label = f'role="img" aria-label="{html.escape(description)}"'
    svg = re.sub(r'(<svg [^>]*?)height="[^"]*pt"', rf"\1{label}", svg, count=1)
    return svg.replace(_INK, "currentColor")


def draw_excerpt(excerpt: Excerpt) -> Figure:
    """Log-mel spectrogram with the phones and the units of the same stretch under it."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(EXCERPT_INCHES, 3.5), layout="constrained")
        top, phone_strip, unit_strip = figure.subplots(3, 1, sharex=True, height_ratios=(5, 1, 1))
        _draw_spectrogram(top, excerpt)
        top.set_title(excerpt.title, loc="left", fontsize=9)
        ends = np.append(excerpt.phone_starts[1:], excerpt.seconds)
        _draw_strip(phone_strip, (excerpt.phone_starts, ends), excerpt.phones, excerpt.phones)
        phone_strip.tick_params(labelbottom=False)
        runs = run_lengths(excerpt.units)
        ends = np.minimum(np.cumsum(runs.lengths) * excerpt.seconds_per_unit, excerpt.seconds)
        starts = np.concatenate([[0.0], ends[:-1]])
        means = [excerpt.unit_phones[unit] for unit in runs.units]
        _draw_strip(unit_strip, (starts, ends), [str(unit) for unit in runs.units], means)
        phone_strip.set_ylabel("phones", rotation=0, ha="right", va="center")
        unit_strip.set_ylabel("units", rotation=0, ha="right", va="center")
        unit_strip.set_xlabel("time (s)")
        unit_strip.set_xlim(0, excerpt.seconds)
        present = {phone_class(phone) for phone in (*excerpt.phones, *means)}
        _class_legend(figure, [name for name in CLASS_COLOURS if name in present])
    return figure


def mel_band(hz: float, bands: int, sample_rate: int) -> float:
    """Which of `bands` mel bands up to half the sample rate is centred at `hz`; may lie between two."""
    return _mel(hz) / _mel(sample_rate / 2) * (bands + 1) - 1


def _mel(hz: float) -> float:
    """Slaney's scale, librosa's default: linear up to 1 kHz, logarithmic above."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def _draw_spectrogram(axes: Axes, excerpt: Excerpt) -> None:
    bands = len(excerpt.log_mel)
    quiet = np.percentile(excerpt.log_mel, 10)
    axes.imshow(
        excerpt.log_mel,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=quiet,
        extent=(0, excerpt.seconds, -0.5, bands - 0.5),
        interpolation="nearest",
    )
    ticks = [hz for hz in (250, 500, 1000, 2000, 4000, 8000) if hz < 0.9 * excerpt.sample_rate / 2]
    axes.set_yticks([mel_band(hz, bands, excerpt.sample_rate) for hz in ticks], [f"{hz / 1000:g}" for hz in ticks])
    axes.set_ylabel("frequency (kHz)")
    axes.tick_params(labelbottom=False)


def _draw_strip(axes: Axes, times: tuple[np.ndarray, np.ndarray], texts: Sequence[str], phones: Sequence[str]) -> None:
    """Boxes from start to end in the colours of the phones' classes, labelled where the label fits."""
    starts, ends = times
    colours = [CLASS_COLOURS[phone_class(phone)] for phone in phones]
    axes.bar(starts, 1, width=ends - starts, align="edge", color=colours, edgecolor="#ffffff", linewidth=0.4)
    seconds_per_point = ends[-1] / (72 * EXCERPT_INCHES)
    for start, end, text, colour in zip(starts, ends, texts, colours, strict=True):
        points = (end - start) / seconds_per_point
        if points < STRIP_FONT:  # not even upright
            continue
        upright = points < STRIP_FONT * (0.62 * len(text) + 0.3)
        ink = "#ffffff" if colour == CLASS_COLOURS["stop"] else "#000000"
        axes.text(
            (start + end) / 2, 0.48, text, ha="center", va="center", fontsize=STRIP_FONT, color=ink,
            rotation=90 if upright else 0,
        )  # fmt: skip
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _class_legend(figure: Figure, classes: Sequence[str]) -> None:
    handles = [Patch(color=CLASS_COLOURS[name], label=name) for name in classes]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), fontsize=8, handlelength=1)


def draw_unit_phone_matrix(scores: PhoneScores) -> Figure:
    """Which phones each unit stands for, and how often each phone is recognised by its units."""
    rank = {phone: n for n, phone in enumerate(phone_order(scores.phones))}
    rows = sorted(range(len(scores.phones)), key=lambda p: rank[scores.phones[p]])
    used = np.flatnonzero(scores.joint.any(axis=1))
    shares = scores.joint / np.maximum(1, scores.joint.sum(axis=1, keepdims=True))
    best = {u: scores.phones.index(scores.unit_phones[u]) for u in used}
    columns = sorted(used, key=lambda u: (rank[scores.unit_phones[u]], -shares[u, best[u]]))
    names = [scores.phones[p] for p in rows]
    with mpl.rc_context(_STYLE):
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
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.subplots()
        axes.plot(np.arange(1, used + 1), shares[:used], color=_ACCENT, linewidth=1.8, label="units")
        even = 1 / len(counts)
        axes.axhline(even, color=_INK, linewidth=0.8, linestyle=":", label=f"even use, 1/{len(counts)}")
        effective = perplexity(counts)
        axes.axvline(effective, color=_SECOND, linewidth=1.4, linestyle="--", label=f"perplexity {effective:.0f}")
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
    """How long a unit lasts before another follows, beside how long phones last."""
    longest = float(np.percentile(np.concatenate([run_seconds, phone_seconds]), 99))
    longest = min(max(longest, 4 * seconds_per_unit), LONGEST_SECONDS)
    # whole units in the middle of their bins; coarse enough to smooth the phones at high unit rates
    width = seconds_per_unit * max(1, round(0.01 / seconds_per_unit))
    edges = np.arange(0.5 * seconds_per_unit, longest + width, width)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.subplots()
        for seconds, colour, name in (
            (run_seconds, _ACCENT, "unit runs"),
            (phone_seconds, _SECOND, "phones"),
        ):
            shares = np.histogram(np.clip(seconds, edges[0], edges[-1]), bins=edges)[0] / len(seconds)
            label = f"{name}, median {1000 * np.median(seconds):.0f} ms"
            axes.stairs(shares, edges * 1000, color=colour, linewidth=1.8, label=label)
        axes.set_xlim(left=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("duration (ms)")
        axes.set_ylabel("share")
        axes.legend(fontsize=8)
    return figure
