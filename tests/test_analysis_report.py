"""From a prepared corpus to metrics and the page, with a stand-in model whose units can be reasoned about."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import librosa
import numpy as np
import pytest
from tones import RATE, ToneModel, tone_corpus

from audio_vq.analysis.alignment.alignments import Alignment, read_alignment, write_alignment
from audio_vq.analysis.measures.analyze import analyze
from audio_vq.analysis.measures.selection import open_aligned, select_utterances
from audio_vq.analysis.report import phone_classes, plots
from audio_vq.analysis.report.atlas import make_atlas, mel_band
from audio_vq.analysis.report.compare import Analyzed, compared
from audio_vq.analysis.report.report import render_report
from audio_vq.errors import UserError


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[Path, Path]:
    return tone_corpus(tmp_path_factory.mktemp("prepared"))


def render(model, analysis, facts):
    return render_report(model, analysis, make_atlas(model, analysis, seed=0), analysis.metrics(), facts, seed=0)


def select(prepared, split="test", mapping=None):
    return select_utterances(open_aligned(*prepared, RATE), split, mapping)


@pytest.fixture(scope="module")
def analysis(prepared):
    return analyze(ToneModel(), select(prepared), seed=0)


def test_units_that_hear_the_phones_are_perfect(analysis):
    metrics = analysis.metrics()
    assert metrics["phones"]["accuracy"] == 1
    assert metrics["phones"]["pnmi"] == pytest.approx(1)
    assert metrics["phones"]["classes"] == 4
    assert metrics["segments"] == {"boundary_precision": 1, "boundary_recall": 1, "f1": 1, "r_value": 1}
    assert metrics["used_units"] == 4
    assert metrics["bits_per_second"] == 75
    assert 0 < metrics["entropy_bits_per_second"] < 50
    assert metrics["latents_used"]["bits_shuffled"] == 3


def test_baselines_are_between_chance_and_perfection(analysis):
    metrics = analysis.metrics()
    assert metrics["baselines"]["mfcc_kmeans"]["accuracy"] > 0.7  # pure tones are easy
    assert metrics["baselines"]["latent_probe"]["accuracy"] == 1
    assert metrics["baselines"]["random_units"]["accuracy"] < metrics["phones"]["majority"] + 0.15
    assert metrics["baselines"]["random_units"]["num_frames"] == metrics["phones"]["num_frames"]


def test_metrics_have_the_names_of_the_contract(analysis):
    metrics = json.loads(json.dumps(analysis.metrics(), allow_nan=False))
    names = "unit_rate_hz codebook_size used_units perplexity bits_per_second entropy_bits_per_second"
    assert set(names.split()) < set(metrics)
    phones = "classes accuracy majority shuffled_units ci95 num_frames pnmi phone_purity unit_purity"
    for figures in (metrics["phones"], *metrics["baselines"].values()):
        assert set(phones.split()) <= set(figures)
        low, high = figures["ci95"]
        assert low <= figures["accuracy"] <= high
    assert set(metrics["segments"]) == {"boundary_precision", "boundary_recall", "f1", "r_value"}
    assert set(metrics["latents_used"]) == {"bits_true", "bits_shuffled", "bits_zero", "bits_wrong_speaker"}


def test_same_seed_same_figures(prepared, analysis):
    assert analyze(ToneModel(), select(prepared), seed=0).metrics() == analysis.metrics()


@pytest.mark.parametrize("split", ["train", "valid", "test", "all"])
def test_what_teaches_the_map_is_never_scored(prepared, split):
    selection = select(prepared, split)
    assert selection.mapping
    assert selection.scored
    taught, scored = ({each.text for each in side} for side in (selection.mapping, selection.scored))
    assert not taught & scored
    if split == "all":
        assert len(taught) + len(scored) == 40


def test_another_corpus_teaches_with_all_it_has_but_what_is_scored(prepared):
    selection = select(prepared, "test", open_aligned(*prepared, RATE))
    assert len(selection.mapping) == 40 - len(selection.scored)


def test_missing_alignments_are_counted_or_refused(prepared, tmp_path):
    corpus, alignments = prepared
    with pytest.raises(UserError, match="none of"):
        select((corpus, tmp_path))
    with pytest.raises(UserError, match="no such folder"):
        select((corpus, tmp_path / "nowhere"))
    some = select(prepared)
    for each in (*some.mapping, *some.scored[1:]):
        source = alignments / each.speaker / f"{each.id}.lab"
        target = tmp_path / each.speaker / source.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(source.read_bytes())
    analysis = analyze(ToneModel(), select((corpus, tmp_path)), seed=0)
    assert analysis.metrics()["phones"]["skipped_utterances"] == 1


def test_without_alignments_what_needs_no_phones_is_the_same(prepared, analysis):
    alone = analyze(ToneModel(), select((prepared[0], None)), seed=0)
    figures, whole = alone.metrics(), analysis.metrics()
    assert {"phones", "coverage", "segments", "abx"} == set(whole) - set(figures)
    for key in ("used_units", "perplexity", "entropy_bits_per_second", "latents_used", "speaker_leakage"):
        assert figures[key] == whole[key]
    assert figures["rates"] == whole["rates"]
    assert figures["baselines"].keys() == {"mfcc_kmeans"}
    assert figures["baselines"]["mfcc_kmeans"].items() <= whole["baselines"]["mfcc_kmeans"].items()
    page = render(ToneModel(), alone, {"checkpoint": "runs/x"})
    assert "No alignments were given" in page
    assert "Phone accuracy" not in page
    atlas, with_phones = (make_atlas(ToneModel(), each, seed=0) for each in (alone, analysis))
    assert [unit.typical for unit in atlas.units] == [unit.typical for unit in with_phones.units]
    assert {unit.phone for unit in atlas.units} == {None}


def rewritten(prepared, folder, rewrite):
    """The alignments, each changed by a function of its boundaries and labels."""
    corpus, alignments = prepared
    for file in alignments.glob("*/*.lab"):
        alignment = read_alignment(file)
        boundaries, labels = rewrite(alignment.boundaries, alignment.labels)
        write_alignment(folder / file.parent.name / file.name, Alignment(boundaries, labels))
    return corpus, folder


@pytest.mark.parametrize(
    ("rewrite", "complaint"),
    [
        (lambda times, labels: (times, ("SIL",) * len(labels)), "label 0% of the time .* with phones"),
        (lambda times, labels: (times, ("AA",) * len(labels)), "one label, 'AA'"),
        (lambda times, labels: (times / 60, labels), "cover 0% of the time"),
        (lambda times, labels: (0.25 + times / 2, labels), r"cover \d\d% of the time"),
        (lambda times, labels: (times * 1000, labels), "milliseconds"),
    ],
    ids=["silence", "one phone", "minutes", "shorter", "milliseconds"],
)
def test_alignments_that_say_nothing_are_refused(prepared, tmp_path, rewrite, complaint):
    with pytest.raises(UserError, match=complaint):
        analyze(ToneModel(), select(rewritten(prepared, tmp_path, rewrite)), seed=0)


def test_coverage_by_hand(prepared, analysis):
    coverage = analysis.metrics()["coverage"]
    assert coverage["scored"]["aligned"] == coverage["mapping"]["aligned"] == pytest.approx(1)
    frames = np.concatenate([each.units[0] for each in analysis.scored])
    assert coverage["scored"]["phones"] == pytest.approx((frames > 0).mean())  # unit 0 is silence


def test_one_speaker_has_all_figures_but_those_of_two(tmp_path):
    class Alone(ToneModel):
        def conditioning_bits(self, heard):
            bits = super().conditioning_bits(heard)
            return SimpleNamespace(**vars(bits) | {"bits_wrong_speaker": None})

    model = Alone(speakers=("ann",))
    analysis = analyze(model, select(tone_corpus(tmp_path, speakers=("ann",))), seed=0)
    metrics = json.loads(json.dumps(analysis.metrics(), allow_nan=False))
    assert metrics["phones"]["accuracy"] == 1
    assert metrics["abx"]["within_speaker"] == 0
    assert metrics["abx"]["across_speaker"] is metrics["abx"]["across_ci95"] is metrics["speaker_leakage"] is None
    assert metrics["latents_used"] == {
        "bits_true": 1, "bits_shuffled": 3, "bits_zero": 2.5, "bits_wrong_speaker": None
    }  # fmt: skip
    page = Page()
    page.feed(render(model, analysis, {"checkpoint": "x"}))
    assert "another speaker" not in page.text
    assert "within speaker" in page.text
    assert "Speaker found" not in page.text
    assert compared([Analyzed("a", "a", metrics), Analyzed("b", "b", metrics)])


def test_one_utterance_is_enough_to_be_scored(prepared):
    some = select(prepared)
    analysis = analyze(ToneModel(), replace(some, chosen=some.scored[:1], scored=some.scored[:1]), seed=0)
    assert analysis.metrics()["rates"]["log_mel_distance"]["other_utterance_db"] is None
    assert "differs from the recording" in render(ToneModel(), analysis, {"checkpoint": "x"})


def test_latents_need_a_speaker_the_model_knows(prepared):
    analysis = analyze(ToneModel(speakers=("carol",)), select(prepared), seed=0)
    assert analysis.metrics()["latents_used"] is None
    page = render(ToneModel(speakers=("carol",)), analysis, {"checkpoint": "x"})
    assert "unknown to the model" in page


class Page(HTMLParser):
    """Collects tags and complains about what does not close."""

    VOID = frozenset({"meta", "link", "br", "img", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def page(analysis) -> str:
    return render(ToneModel(), analysis, {"checkpoint": "<b>runs</b>", "command": "audio-vq"})


def test_the_page_is_well_formed_and_complete(page):
    parsed = Page()
    parsed.feed(page)
    assert parsed.open == []
    tags = [tag for tag, _ in parsed.tags]
    assert tags.count("svg") == 10  # accuracy, matrix, ABX, speakers, usage, durations, the map, three excerpts
    assert tags.count("audio") == 6
    assert tags.count("figcaption") == 8
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert "100.0 %" in parsed.text
    assert "synthetic" in parsed.text
    assert "<b>runs</b>" in parsed.text  # shown, not obeyed


def test_the_page_needs_no_network(page):
    without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert "http:" not in without_namespaces
    assert "https:" not in without_namespaces
    for _, attributes in (parsed := Page()).feed(page) or parsed.tags:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))


def test_every_reference_in_the_plots_resolves(page):
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= ids
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= ids


def test_plots_are_xml_in_the_colour_of_the_page(page):
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(svg)
        assert "currentColor" in svg or 'class="speech"' in svg or 'id="map"' in svg  # these by style sheet
        assert plots.INK not in svg


def test_the_same_analysis_draws_the_same_page(analysis, page):
    facts = {"checkpoint": "<b>runs</b>", "command": "audio-vq"}

    def without_sound(page):
        return re.sub(r'"opus":"[^"]*"', "", page)  # an Ogg stream has a random number

    again = render(ToneModel(), analysis, facts)
    assert without_sound(again) == without_sound(page)
    assert len(again) == len(page)


def test_labels_of_any_signs_are_drawn():
    """Neither mathematics, nor markup, nor missing from matplotlib's font."""
    scores = [plots.Score(name, 0.5) for name in ("$x_{", "a$b$", "</svg><script>", "拼音", "ʃ\\frac")]
    svg = plots.to_svg(plots.draw_scores(scores, [], "share"), "a", "A")
    texts = {"".join(each.itertext()).strip() for each in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {score.name for score in scores} <= texts


def test_figures_do_not_depend_on_the_backend_nor_on_the_users_style(tmp_path):
    """A notebook's MPLBACKEND is not installed where its commands run."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 40\n")
    draw = (
        "from audio_vq.analysis.report.plots import Mark, Score, draw_scores, to_svg\n"
        "print(to_svg(draw_scores([Score('units', 0.5)], [Mark('chance', 0.1)], 'share'), 'a', 'A'))"
    )
    environment = {**os.environ, "MPLBACKEND": "module://no_such_backend", "MATPLOTLIBRC": str(tmp_path)}
    drawn = subprocess.run([sys.executable, "-c", draw], env=environment, capture_output=True, text=True, check=True)
    here = plots.draw_scores([plots.Score("units", 0.5)], [plots.Mark("chance", 0.1)], "share")
    assert drawn.stdout == plots.to_svg(here, "a", "A") + "\n"


def test_the_verb_refuses_before_it_loads_anything(prepared, tmp_path):
    from audio_vq.cli.analyze import analyze as verb

    corpus, alignments = prepared
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="exists"):
        verb(["no-checkpoint", str(corpus)], tmp_path, alignments)
    with pytest.raises(UserError, match="--mapping-alignments"):
        verb(["no-checkpoint", str(corpus)], tmp_path / "new", alignments, mapping=corpus)
    assert (tmp_path / "metrics.json").read_text() == "{}"


def test_mel_bands_are_librosas():
    centres = librosa.mel_frequencies(82, fmin=0, fmax=8000)[1:-1]
    assert [mel_band(hz, 80, 16000) for hz in centres] == pytest.approx(np.arange(80), abs=1e-6)


def test_phones_are_ordered_by_class():
    assert phone_classes.phone_order(["SIL", "T", "?", "S", "AA", "M", "IY"]) == [
        "IY",
        "AA",
        "M",
        "T",
        "S",
        "SIL",
        "?",
    ]
