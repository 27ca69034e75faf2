"""Codes of several groups and pitch: each group alone is counted, all together are read by a probe."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from docs_pages import explained, paths
from report_case import make_case
from test_analysis_measures import utterance
from test_analysis_report import Page
from tones import HOP, RATE, ToneModel, tone_corpus

from audio_vq.analysis.measures.abx_scores import score_abx
from audio_vq.analysis.measures.analyze import analyze
from audio_vq.analysis.measures.baselines import MfccKmeans, fit_mfcc_kmeans
from audio_vq.analysis.measures.encoded import combinations, phones_of, vectors
from audio_vq.analysis.measures.reading import Side, Sides, counted, probed, side_by_side
from audio_vq.analysis.measures.selection import open_aligned, select_utterances
from audio_vq.analysis.measures.speakers import speaker_leakage
from audio_vq.analysis.report.atlas import make_atlas
from audio_vq.analysis.report.clips import make_clips
from audio_vq.analysis.report.compare import Analyzed, cautions
from audio_vq.analysis.report.report import render_report
from audio_vq.cli.analyze import _summary
from audio_vq.codec import encode
from audio_vq.config import EncoderConfig, ModelConfig
from audio_vq.units import entropy, perplexity


@dataclass
class TwoGroups(ToneModel):
    """Neither group tells the four phones apart, both together do."""

    codebook_size: int = 4
    groups: int = 2
    pitch_classes: int = 8
    config = ModelConfig(sample_rate=RATE, encoder=EncoderConfig(centred=False), pitch=8)

    @property
    def codebook(self):
        return np.stack([np.eye(self.codebook_size, 3, dtype=np.float32) * (1 + group) for group in range(2)])

    def in_groups(self, heard):
        return np.stack([heard // 2, heard % 2])

    def latents(self, waveform, sample_rate):
        return vectors(self.in_groups(self.encode(waveform, sample_rate)), self.codebook).T


def pitch_of(_, heard):
    """Some pitch in every frame that is not silent: pure tones have none that a tracker for voices would find."""
    waveform = np.concatenate(list(heard.blocks()))
    loud = np.abs(np.pad(waveform, (0, -len(waveform) % 80)).reshape(-1, 80)).max(axis=1) > 0.01  # 10 ms each
    f0 = np.random.default_rng(len(waveform)).uniform(100, 200, len(loud))
    return np.where(loud, f0, 0.0).astype(np.float32)


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    selection = select_utterances(open_aligned(*tone_corpus(tmp_path_factory.mktemp("tones")), RATE), "test", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode, "pitch_of", pitch_of)
        return analyze(TwoGroups(), selection, seed=0)


@pytest.fixture(scope="module")
def metrics(analysis):
    return json.loads(json.dumps(analysis.metrics(), allow_nan=False))


def test_every_figure_is_explained(metrics):
    """Those of groups and baselines by the keys of a model of one group."""
    keys = explained("metrics.json")
    own = {key: value for key, value in metrics.items() if key not in ("groups", "baselines")}
    own["abx"] = {**own["abx"], "from_latents": 0}
    measured = {*paths(own), "groups", *(f"baselines.{name}" for name in metrics["baselines"])}
    assert measured | {"seed", "command"} == keys
    alike = {*keys, *(key.removeprefix("phones.") for key in keys)}
    for figures in (*metrics["groups"], *metrics["baselines"].values()):
        assert set(paths(figures)) <= alike


def test_together_they_are_perfect_and_alone_they_are_not(metrics):
    assert metrics["phones"]["read_by"] == "probe"
    assert metrics["phones"]["accuracy"] == metrics["baselines"]["unit_probe"]["accuracy"] == 1
    assert metrics["phones"]["pnmi"] == pytest.approx(1)
    assert metrics["abx"]["within_speaker"] == 0
    assert metrics["segments"]["r_value"] == 1  # phones change where any group does
    for group in metrics["groups"]:
        assert group["phones"]["majority"] < group["phones"]["accuracy"] < 0.8
        assert 0.1 < group["phones"]["pnmi"] < 0.8
        assert group["abx"]["within_speaker"] > 0.05
        assert group["segments"]["boundary_recall"] < 1
        assert group["used_units"] == 2


def test_each_group_has_the_figures_of_a_model_that_has_no_other(analysis, metrics):
    @dataclass
    class One(TwoGroups):
        group: int = 0
        groups: int = 1
        pitch_classes: int = 0
        config = ToneModel.config

        @property
        def codebook(self):
            return super().codebook[[self.group]]

        def in_groups(self, heard):
            return super().in_groups(heard)[[self.group]]

    for group, figures in enumerate(metrics["groups"]):
        alone = json.loads(json.dumps(analyze(One(group=group), analysis.selection, seed=0).metrics()))
        assert alone["phones"]["read_by"] == "counting"
        assert alone["pitch"] is None
        for name in ("used_units", "perplexity", "entropy_bits_per_second", "segments"):
            assert figures[name] == alone[name] == alone["groups"][0][name]
        for name in ("phones", "abx", "speaker_leakage"):
            assert figures[name].items() <= alone[name].items()
        counted = metrics["baselines"]["mfcc_kmeans_alone"]
        assert counted.items() <= alone["baselines"]["mfcc_kmeans"].items()  # the control has as many centres


def test_of_one_group_a_probe_reads_what_counting_reads(analysis):
    """So that figures of one group and of several stand on one scale; differences are rare units' near ties."""
    rng = np.random.default_rng(0)

    def side(encoded):
        heard = [2 * each.units[0] + each.units[1] for each in encoded]
        noisy = [np.where(rng.random(len(row)) < 0.6, row, rng.integers(12, size=len(row))) for row in heard]
        some = tuple(replace(each, units=row[None]) for each, row in zip(encoded, noisy, strict=True))
        return Side(some, tuple(phones_of(each, HOP, RATE) for each in encoded))

    sides = Sides(side(analysis.scored), side(analysis.scored))
    by_counting = counted(sides, lambda each: each.units[0], 12, seed=0)
    by_probe = probed(sides, lambda each: side_by_side(each.units, 12), seed=0)
    assert by_counting.majority + 0.1 < by_counting.accuracy < 0.9
    assert by_probe.accuracy == pytest.approx(by_counting.accuracy, abs=0.03)


def test_rates_are_sums_over_tracks(analysis, metrics):
    assert metrics["bits_per_second"] == metrics["rates"]["fixed_bits_per_second"] == 25 * (2 + 2 + 3)
    bits = sum(entropy(counts) for counts in analysis.counts)
    assert len(analysis.counts) == 3
    assert metrics["entropy_bits_per_second"] == pytest.approx(25 * bits)
    parts = [*metrics["groups"], metrics["pitch"]]
    assert sum(part["entropy_bits_per_second"] for part in parts) == pytest.approx(25 * bits)
    assert metrics["rates"]["unigram"]["bits_per_second"] == pytest.approx(25 * bits, rel=0.1)
    assert metrics["perplexity"] == pytest.approx(np.mean([perplexity(group.counts) for group in analysis.groups]))
    assert metrics["used_units"] == 2


def test_pitch_stands_beside_the_units(analysis, metrics):
    assert metrics["pitch"]["classes"] == 8
    assert metrics["pitch"]["bits_per_second"] == 75
    spoken = np.concatenate([each.units.any(axis=0) for each in analysis.scored])
    pitch = np.concatenate([each.pitch for each in analysis.scored])
    assert ((pitch > 0) == spoken).all()
    # where alignments are for all that was chosen, that is what was scored
    assert metrics["pitch"]["voiced"] == pytest.approx(spoken.mean())
    assert 25 * entropy(np.bincount(pitch)) == pytest.approx(metrics["pitch"]["entropy_bits_per_second"])
    assert 0 <= metrics["speaker_leakage"]["from_pitch"] <= 1


def test_a_joint_representation_is_the_vectors_side_by_side(analysis):
    units = np.array([[1, 0, 0], [3, 3, 0]])
    codebook = TwoGroups().codebook
    expected = [
        [*codebook[0, 1], *codebook[1, 3]],
        [*codebook[0, 0], *codebook[1, 3]],
        [*codebook[0, 0], *codebook[1, 0]],
    ]
    assert vectors(units, codebook).tolist() == np.array(expected).tolist()
    numbers = combinations(np.array([[1, 0, 1, 0], [3, 3, 3, 2]]))
    assert numbers[0] == numbers[2]
    assert len(set(numbers.tolist())) == 3
    # of equal latents and joined vectors, all figures are equal
    kmeans = fit_mfcc_kmeans(analysis.scored, 4, 2, seed=0)
    scores = score_abx(analysis.scored, analysis.scored, codebook, kmeans, 1 / 25, seed=0)
    assert scores.units == scores.others["latents"]


def test_the_control_has_as_many_groups(analysis):
    """Each takes up what the former leave over."""
    mfcc = np.concatenate([each.acoustics.mfcc for each in analysis.scored])
    kmeans = fit_mfcc_kmeans(analysis.scored, 6, 3, seed=0)
    first = MfccKmeans(kmeans.centres[:1], kmeans.mean, kmeans.deviation)
    units = kmeans.units(mfcc)
    assert kmeans.centres.shape == (3, 6, 39)
    assert units.shape == (3, len(mfcc))
    assert units[0].tolist() == first.units(mfcc)[0].tolist()
    rest = (mfcc - kmeans.mean) / kmeans.deviation
    errors = []
    for row, centres in zip(units, kmeans.centres, strict=True):
        assert row.tolist() == np.linalg.norm(rest[:, None] - centres, axis=2).argmin(axis=1).tolist()
        rest = rest - centres[row]
        errors.append(np.square(rest).mean())
    assert errors[0] > errors[1] > errors[2]


def test_the_group_that_holds_the_speaker_is_found():
    """Group 1 and pitch name the speaker, group 0 does not; all together do."""
    rng, encoded = np.random.default_rng(0), []
    for speaker, name in enumerate("abcd"):
        for number in range(20):
            units = rng.integers(8, size=(2, 60))
            units[1] = (units[1] + 2 * speaker) // 2
            each = utterance(name, number, units[0])
            each.units, each.pitch = units, (rng.integers(4, size=60) + 4 * (speaker % 2)).astype(np.int64)
            encoded.append(each)
    leakage = speaker_leakage(encoded, [each.units for each in encoded], 12, 8, seed=0)
    without, holds = leakage.groups
    assert without.accuracy < 0.45  # 80 guesses of 1 in 4: 20 ± 4 · 3.9
    assert holds.accuracy > 0.95
    assert leakage.units.accuracy > 0.9
    assert leakage.from_mfcc_kmeans == leakage.units.accuracy
    assert 0.3 < leakage.from_pitch < 0.7  # it halves the speakers
    figures = leakage.figures()
    assert figures["accuracy"] == leakage.units.accuracy
    assert figures["chance"] == 0.25


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return make_case(tmp_path_factory.mktemp("case"), codebook_size=16, used=9, groups=2, pitch=8)


def test_the_atlas_is_of_one_group(case):
    atlas = make_atlas(case.model, case.analysis, 1, seed=0)
    one = replace_groups(case, 1)
    alone = make_atlas(one.model, one.analysis, seed=0)
    assert atlas.group == 1
    assert {**atlas.to_json(), "group": 0} == alone.to_json()
    assert set(make_clips(case.analysis, atlas)) == {str(unit) for unit in range(9)}


def replace_groups(case, group):
    """The case as if it had this group only."""
    scored = tuple(
        replace(each, units=each.units[[group]], latents=each.latents_of(group)) for each in case.analysis.scored
    )
    analysis = type(case.analysis)(**vars(case.analysis) | {"groups": (case.analysis.groups[group],), "scored": scored})
    return replace(case, model=replace(case.model, codebook=case.model.codebook[[group]]), analysis=analysis)


def test_the_page_shows_groups_and_pitch(case):
    atlas = make_atlas(case.model, case.analysis, 1, seed=0)
    page = Page()
    page.feed(render_report(case.model, case.analysis, atlas, case.metrics, {"checkpoint": "x"}, seed=0))
    assert page.open == []
    assert "2 codebooks of 16 and 8 pitch classes" in page.text
    assert "read by a linear probe of their one-hot units" in page.text
    assert "Unit atlas of group 1" in page.text
    assert "share of voiced units" in page.text
    linked = [attributes for tag, attributes in page.tags if "data-unit" in attributes]
    labels = [attributes.get("aria-label", "") for _, attributes in page.tags]
    assert labels.count("units 0") == labels.count("units 1") == 3
    assert 0 < len(linked) < sum(label.startswith("unit ") for label in labels)


def test_the_page_of_what_was_measured(analysis, metrics):
    model = TwoGroups()
    page = render_report(model, analysis, make_atlas(model, analysis, seed=0), metrics, {"checkpoint": "x"}, seed=0)
    assert "group 1, counted" in page
    assert "k-means on MFCC, one codebook, counted" in page
    assert "2 groups together, read by a probe" in _summary(metrics, analysis.selection.scored_corpus.folder)


def test_other_readings_are_not_compared(metrics):
    counted = {**metrics, "phones": {**metrics["phones"], "read_by": "counting"}}
    assert cautions([Analyzed("a", "a", metrics), Analyzed("b", "b", metrics)]) == []
    (said,) = cautions([Analyzed("a", "a", metrics), Analyzed("b", "b", counted)])
    assert "counting and probe" in said
