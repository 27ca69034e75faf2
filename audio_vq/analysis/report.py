"""`report.html`: one self-contained page with the figures of an analysis, their controls, plots and sound."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from audio_vq.analysis import plots, samples
from audio_vq.analysis.analyze import Analysis
from audio_vq.analysis.phones import PhoneScores
from audio_vq.units import run_lengths

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE

MATRIX_CAPTION = (
    "Left: how the frames of each unit (column) spread over phones (row), both ordered by phone class. A "
    "unit that stands for one phone is a single bright cell. Right: share of each phone's frames whose unit "
    "is mapped to it. Scored utterances only."
)


@dataclass(frozen=True)
class Number:
    """A headline figure with what it must be compared to."""

    name: str
    value: str
    controls: tuple[str, ...]


@dataclass(frozen=True)
class PhoneRow:
    name: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Drawing:
    svg: Markup
    caption: str


def render_report(model: "VQVAE", analysis: Analysis, facts: Mapping[str, str], *, seed: int) -> str:
    """The page as HTML; `facts` (name → value) end it, for instance the command that made it."""
    selection = analysis.selection
    corpus = selection.scored_corpus.corpus
    page = Environment(
        loader=PackageLoader("audio_vq.analysis", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    ).get_template("report.html.j2")
    return page.render(
        title=f"What the units of {facts['checkpoint']} say",
        subtitle=f"{analysis.unit_rate_hz:g} units per second from a codebook of {len(analysis.counts)}, "
        f"measured on the {selection.split} split of {corpus.folder.name}",
        synthetic=corpus.header.corpus == "synthetic",
        numbers=_headline(analysis),
        phone_protocol=_phone_protocol(analysis),
        phone_rows=_phone_rows(analysis),
        matrix=_matrix(analysis),
        usage=_usage(analysis),
        durations=_durations(analysis),
        listen=samples.INTRODUCTION,
        samples=[
            samples.make_sample(model, analysis, each, number, seed=seed)
            for number, each in enumerate(samples.pick_utterances(analysis.scored))
        ],
        excerpt_caption=samples.CAPTION,
        facts={**facts, **_facts(analysis)},
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(scores: PhoneScores) -> str:
    return f"{100 * scores.ci95[0]:.1f} – {100 * scores.ci95[1]:.1f} %"


def _headline(analysis: Analysis) -> list[Number]:
    phones, metrics = analysis.phones, analysis.metrics()
    numbers = [
        Number(
            "Phone accuracy",
            _percent(phones.accuracy),
            (
                f"95 % interval {_interval(phones)}",
                f"commonest phone {_percent(phones.majority)}",
                f"shuffled units {_percent(phones.shuffled_units)}",
                f"k-means on MFCC {_percent(analysis.baselines['mfcc_kmeans'].accuracy)}",
            ),
        ),
        Number(
            "Perplexity of units",
            f"{metrics['perplexity']:.0f}",
            (f"{metrics['used_units']} of {metrics['codebook_size']} units occur",),
        ),
        Number(
            "Bit rate",
            f"{metrics['entropy_bits_per_second']:.0f} bit/s",
            ("entropy of the units", f"fixed length: {metrics['bits_per_second']:.0f} bit/s"),
        ),
        Number(
            "Boundaries, R-value",
            f"{analysis.segments.r_value:.2f}",
            (
                f"precision {_percent(analysis.segments.boundary_precision)} at 20 ms",
                f"recall {_percent(analysis.segments.boundary_recall)}",
            ),
        ),
    ]
    bits = analysis.latents_used
    if bits:
        gain = bits["bits_shuffled"] - bits["bits_true"]
        controls = tuple(
            f"{name} {bits[key]:.2f}"
            for name, key in (
                ("bits per sample: true units", "bits_true"),
                ("units of another utterance", "bits_shuffled"),
                ("no units", "bits_zero"),
                ("another speaker", "bits_wrong_speaker"),
            )
        )
        numbers.insert(1, Number("Units of another utterance cost", f"{gain:.2f} bit", controls))
    return numbers


def _phone_protocol(analysis: Analysis) -> str:
    selection, phones = analysis.selection, analysis.phones
    return (
        f"Each unit is read as the phone it occurred with most in {len(selection.mapping)} utterances "
        f"({selection.mapping_name}), and this reading is scored on {phones.num_frames} frames of "
        f"{len(selection.scored)} other utterances, at the centre of each unit's frame. {phones.classes} "
        "phone classes. Intervals: bootstrap over utterances."
    )


def _phone_rows(analysis: Analysis) -> list[PhoneRow]:
    names = {
        "mfcc_kmeans": "k-means on MFCC, same number and rate",
        "latent_probe": "supervised probe of the latents (linear)",
        "random_units": "random units",
    }
    rows = {"this model": analysis.phones}
    rows |= {shown: analysis.baselines[key] for key, shown in names.items() if key in analysis.baselines}
    return [
        PhoneRow(
            name,
            (
                _percent(scores.accuracy),
                _interval(scores),
                f"{scores.pnmi:.3f}",
                f"{scores.phone_purity:.3f}",
                f"{scores.unit_purity:.3f}",
            ),
        )
        for name, scores in rows.items()
    ]


def _draw(figure: plots.Figure, name: str, caption: str) -> Drawing:
    # the SVG is our own; what comes from files was escaped by matplotlib
    return Drawing(Markup(plots.to_svg(figure, name, caption.split(".", maxsplit=1)[0])), caption)  # noqa: S704


def _matrix(analysis: Analysis) -> Drawing:
    return _draw(plots.draw_unit_phone_matrix(analysis.phones), "matrix", MATRIX_CAPTION)


def _usage(analysis: Analysis) -> Drawing:
    caption = (
        f"How often each unit occurs in the {analysis.selection.split} split, commonest first. Perplexity is "
        "two to the unigram entropy: the size of an evenly used codebook that says as much."
    )
    return _draw(plots.draw_usage(analysis.counts), "usage", caption)


def _durations(analysis: Analysis) -> Drawing:
    seconds_per_unit = 1 / analysis.unit_rate_hz
    runs = np.concatenate([run_lengths(each.units).lengths for each in analysis.scored]) * seconds_per_unit
    phones = np.concatenate([np.diff(each.alignment.boundaries) for each in analysis.scored if each.alignment])
    caption = (
        "How long a unit repeats before another follows, beside the phones of the same utterances; what is "
        "longer than the axis is counted at its end."
    )
    return _draw(plots.draw_durations(runs, phones, seconds_per_unit), "durations", caption)


def _facts(analysis: Analysis) -> dict[str, str]:
    selection = analysis.selection
    corpus = selection.scored_corpus.corpus
    skipped = len(selection.chosen) - len(selection.scored)
    return {
        "corpus": f"{corpus.folder} ({corpus.header.corpus}, from {corpus.source})",
        "alignments": str(selection.scored_corpus.folder),
        "split": f"{selection.split}: {len(selection.scored)} utterances scored, {skipped} have no alignment",
        "unit → phone map": f"{selection.mapping_name}, {len(selection.mapping)} utterances",
        "latents": "bits per waveform sample on fixed crops of the split, by speakers the model knows"
        if analysis.latents_used
        else "not measured: the model knows no speaker of this split",
    }
