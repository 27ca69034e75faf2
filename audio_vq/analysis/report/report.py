"""`report.html`: one self-contained page with the figures of an analysis, their controls, plots, atlas and sound."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from audio_vq.analysis.measures.analyze import Analysis
from audio_vq.analysis.measures.coverage import Coverage
from audio_vq.analysis.measures.groups import GroupScores
from audio_vq.analysis.measures.phones import PhoneScores
from audio_vq.analysis.report import group_tables, plots, samples, tables
from audio_vq.analysis.report.atlas import Atlas, make_atlas
from audio_vq.analysis.report.clips import make_clips
from audio_vq.analysis.report.conversions import with_conversion
from audio_vq.analysis.report.phone_classes import CLASS_COLOURS, DARK_CLASSES
from audio_vq.analysis.report.plots import Mark, draw_scores
from audio_vq.analysis.report.templates import page_part, page_template
from audio_vq.files import atomic_write_text
from audio_vq.units import run_lengths

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE

SCRIPTS = ("sound.js", "charts.js", "clip_picture.js", "atlas.js", "report.js")  # in the order they need each other
WITHOUT_PHONES = (
    "No alignments were given: which phones the units stand for is not known, and phone accuracies, boundaries and ABX "
    "errors are left out. audio-vq align makes alignments from English transcripts; TextGrids of any language are read "
    "as well (--alignments)."
)
MATRIX_CAPTION = (
    "Left: how the frames of each unit (column) spread over phones (row), both ordered by phone class. A "
    "unit that stands for one phone is a single bright cell. Right: share of each phone's frames whose unit "
    "is mapped to it. Scored utterances only."
)


@dataclass(frozen=True)
class Drawing:
    svg: Markup
    caption: str


def write_report(
    model: "VQVAE",
    analysis: Analysis,
    metrics: Mapping[str, Any],
    facts: Mapping[str, str],
    out: Path,
    group: int = 0,
    *,
    seed: int,
) -> None:
    """Write `report.html` and `atlas.json`; where `out` holds a conversion.json, the page shows it too.

    `metrics` is the content of metrics.json; `facts` (name → value) end the page, for instance the command. `group` is
    the one whose units are drawn one by one.
    """
    atlas = make_atlas(model, analysis, group, seed=seed)
    page = render_report(model, analysis, atlas, metrics, facts, seed=seed)
    atomic_write_text(out / "atlas.json", json.dumps(atlas.to_json()) + "\n")
    atomic_write_text(out / "report.html", with_conversion(page, out))


def render_report(
    model: "VQVAE",
    analysis: Analysis,
    atlas: Atlas,
    metrics: Mapping[str, Any],
    facts: Mapping[str, str],
    *,
    seed: int,
) -> str:
    """The page as HTML; what is drawn of single units is of the atlas's group."""
    selection, group = analysis.selection, analysis.groups[atlas.group]
    several = len(analysis.groups) > 1
    of_group = f" of group {atlas.group}" if several else ""
    corpus = selection.scored_corpus.corpus
    return page_template("report.html.j2").render(
        title=f"What the units of {facts['checkpoint']} say",
        subtitle=f"{analysis.unit_rate_hz:g} units per second from {_codebooks(analysis)}, measured on "
        f"{_split(selection.split)} of {corpus.folder.name}",
        synthetic=corpus.header.corpus == "synthetic",
        style=page_part("report.css"),
        scripts=[page_part(name) for name in SCRIPTS],
        class_colours=CLASS_COLOURS,
        dark_classes=DARK_CLASSES,
        numbers=tables.headline(metrics),
        phones=_phones(analysis, metrics, atlas.group),
        without_phones=WITHOUT_PHONES,
        group_table=group_tables.group_table(metrics) if several else None,
        of_group=of_group,
        abx=_abx(metrics),
        speaker_plot=_speaker_plot(metrics),
        rate_table=tables.rate_table(metrics),
        rate_facts=list(tables.rate_facts(metrics)),
        pitch_table=group_tables.pitch_table(metrics),
        usage=_usage(selection.split, group),
        durations=_durations(analysis, atlas.group),
        atlas=_embedded(atlas.to_json()),
        clips=_embedded(make_clips(analysis, atlas)),
        map_method=f"{atlas.map.method}, seed {seed}",
        listen=samples.INTRODUCTION if analysis.phones else samples.INTRODUCTION_WITHOUT_PHONES,
        samples=samples.make_samples(model, analysis, atlas.group, seed=seed),
        excerpt_caption=samples.CAPTION if analysis.phones else samples.CAPTION_WITHOUT_PHONES,
        facts={**facts, **_facts(analysis)},
    )  # fmt: skip


def _embedded(content: Mapping[str, Any]) -> Markup:
    """JSON inside a script element, which ends at the first `</`."""
    return Markup(json.dumps(content, separators=(",", ":")).replace("<", "\\u003c"))  # noqa: S704


def _codebooks(analysis: Analysis) -> str:
    sizes = f"a codebook of {analysis.codebook_size}"
    if len(analysis.groups) > 1:
        sizes = f"{len(analysis.groups)} codebooks of {analysis.codebook_size}"
    return f"{sizes} and {len(analysis.pitch.counts)} pitch classes" if analysis.pitch else sizes


@dataclass(frozen=True)
class PhoneSection:
    protocol: str
    table: tables.Table
    plot: Drawing
    matrix: Drawing


def _phones(analysis: Analysis, metrics: Mapping[str, Any], group: int) -> PhoneSection | None:
    alone = analysis.groups[group].phones
    if not (analysis.phones and analysis.coverage and alone):
        return None
    return PhoneSection(
        _phone_protocol(analysis, analysis.phones, analysis.coverage.scored),
        tables.phone_table(metrics),
        _phone_plot(metrics),
        _draw(plots.draw_unit_phone_matrix(alone), "matrix", MATRIX_CAPTION),
    )


def _phone_protocol(analysis: Analysis, phones: PhoneScores, coverage: Coverage) -> str:
    selection = analysis.selection
    taught = f"{len(selection.mapping)} utterances ({selection.mapping_name})"
    reading = f"Each unit is read as the phone it occurred with most in {taught}, and this reading is scored"
    if len(analysis.groups) > 1:
        reading = (
            f"Combinations of {len(analysis.groups)} units are too many to be counted: all groups together are read by "
            f"a linear probe of their one-hot units, taught with {taught}, each group alone by the phone that each of "
            "its units occurred with most there. Both readings are scored"
        )
    return (
        f"{reading} on {phones.num_frames} frames of {len(selection.scored)} other utterances, at the centre of each "
        f"unit's frame. {phones.classes} "
        f"phone classes. {tables.percent(coverage.phones)} of the scored time is labelled with phones, "
        f"the rest is silence; the alignments cover {tables.percent(coverage.aligned)}, and what lies "
        "outside counts as silence. Intervals: bootstrap over utterances."
    )


def _draw(figure: plots.Figure, name: str, caption: str) -> Drawing:
    # the SVG is our own; what comes from files was escaped by matplotlib
    return Drawing(Markup(plots.to_svg(figure, name, caption.split(".", maxsplit=1)[0])), caption)  # noqa: S704


def _phone_plot(metrics: Mapping[str, Any]) -> Drawing:
    phones = metrics["phones"]
    marks = (Mark("commonest phone", phones["majority"]), Mark("shuffled units", phones["shuffled_units"]))
    caption = "Phone accuracy and its 95 % interval beside the controls. Probes are taught with phone labels."
    return _draw(draw_scores(tables.phone_scores(metrics), marks, "frames recognised"), "accuracy", caption)


@dataclass(frozen=True)
class AbxSection:
    table: tables.Table
    plot: Drawing
    measured_on: str


def _abx(metrics: Mapping[str, Any]) -> AbxSection | None:
    abx = metrics.get("abx")
    kind = "across" if abx and abx.get("across_speaker") is not None else "within"
    if not abx or abx.get(f"{kind}_speaker") is None:
        return None
    caption = (
        f"ABX error {kind} speaker{'s' if kind == 'across' else ''}, lower is better. Half is what random "
        "representations give."
    )
    figure = draw_scores(tables.abx_scores(metrics, kind), (Mark("chance", 0.5),), "ABX error")
    return AbxSection(tables.abx_table(metrics), _draw(figure, "abx", caption), str(abx.get("measured_on", "")))


def _speaker_plot(metrics: Mapping[str, Any]) -> Drawing | None:
    leakage = metrics.get("speaker_leakage")
    if not leakage:
        return None
    caption = (
        "How often a linear probe names the speaker of an utterance. The encoder should lose the speaker, whom "
        "the decoder is told: the nearer to chance the better."
    )
    marks = (Mark("chance", leakage["chance"]),)
    return _draw(draw_scores(tables.speaker_scores(metrics), marks, "speakers named"), "speaker", caption)


def _split(name: str) -> str:
    return "all utterances" if name == "all" else f"the {name} split"


def _usage(split: str, group: GroupScores) -> Drawing:
    caption = (
        f"How often each unit occurs in {_split(split)}, commonest first. Perplexity is "
        "two to the unigram entropy: the size of an evenly used codebook that says as much."
    )
    return _draw(plots.draw_usage(group.counts), "usage", caption)


def _durations(analysis: Analysis, group: int) -> Drawing:
    seconds_per_unit = 1 / analysis.unit_rate_hz
    runs = np.concatenate([run_lengths(each.units[group]).lengths for each in analysis.scored]) * seconds_per_unit
    lengths = [np.diff(each.alignment.boundaries) for each in analysis.scored if each.alignment]
    phones = np.concatenate([np.zeros(0), *lengths])
    beside = ", beside the phones of the same utterances" if lengths else ""
    caption = (
        f"How long a unit repeats before another follows{beside}; what is longer than the axis is counted at its end."
    )
    return _draw(plots.draw_durations(runs, phones, seconds_per_unit), "durations", caption)


def _facts(analysis: Analysis) -> dict[str, str]:
    selection = analysis.selection
    corpus = selection.scored_corpus.corpus
    skipped = len(selection.chosen) - len(selection.scored)
    aligned = selection.scored_corpus.folder
    taught = f"{selection.mapping_name}, {len(selection.mapping)} utterances"
    return {
        "corpus": f"{corpus.folder} ({corpus.header.corpus}, from {corpus.source})",
        "alignments": str(aligned) if aligned else "none",
        "split": f"{selection.split}: {len(selection.scored)} utterances scored"
        + (f", {skipped} have no alignment" if aligned else ""),
        "unit → phone map" if aligned else "frequencies of units, k-means": taught,
        "latents": "bits per waveform sample on fixed crops of the split, by speakers the model knows"
        if analysis.latents_used
        else "not measured: the model knows no speaker of this split",
    }
