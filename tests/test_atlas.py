"""The unit atlas against what one finds by looking through the units directly."""

import base64
import io
import json

import librosa
import numpy as np
import pytest
import soundfile
from report_case import DIM, HOP, RATE, make_case

from audio_vq.analysis.alignment.alignments import Alignment
from audio_vq.analysis.alignment.words import Word, find_words, fit_words
from audio_vq.analysis.report import clips as clips_module
from audio_vq.analysis.report.atlas import LONGEST_RUN, MEL_BANDS, make_atlas, mel_band, mel_centres, unit_spectra
from audio_vq.analysis.report.clips import CONTEXT_SECONDS, clips_per_unit, make_clips
from audio_vq.analysis.report.codebook_map import map_codebook, nearest_neighbours
from audio_vq.analysis.report.report import render_report


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return make_case(tmp_path_factory.mktemp("case"), codebook_size=16, used=9)


@pytest.fixture(scope="module")
def atlas(case):
    return make_atlas(case.model, case.analysis, seed=0)


def test_a_unit_is_described_by_all_its_frames(case, atlas):
    for entry in atlas.units:
        units = [each.units[0] for each in case.analysis.scored]
        assert entry.count == sum((each == entry.unit).sum() for each in units)
        assert sum(entry.speakers.values()) == entry.count
        assert sum(entry.durations) == entry.runs
        if max(len(each) for each in units) < LONGEST_RUN:
            assert np.dot(entry.durations, np.arange(1, LONGEST_RUN + 1)) == entry.count


def test_stretches_hold_their_unit_and_nothing_else_of_it_beside_them(case, atlas):
    for entry in atlas.units:
        for stretch in (*entry.typical, *entry.occurrences):
            units = case.analysis.scored[stretch.utterance].units[0]
            end = stretch.start + stretch.length
            assert (units[stretch.start : end] == entry.unit).all()
            assert stretch.start == 0 or units[stretch.start - 1] != entry.unit
            assert end == len(units) or units[end] != entry.unit


def test_the_most_typical_stretch_holds_the_latent_nearest_to_the_vector(case, atlas):
    for entry in atlas.units[:9]:
        nearest = min(
            np.linalg.norm(each.latents[each.units[0] == entry.unit] - case.model.codebook[0, entry.unit], axis=1).min()
            for each in case.analysis.scored
            if (each.units[0] == entry.unit).any()
        )
        assert entry.typical[0].distance == pytest.approx(nearest)
        assert len({stretch.utterance for stretch in entry.typical}) == len(entry.typical)


def test_units_that_never_occur_have_neighbours_and_nothing_else(case, atlas):
    for entry in atlas.units[9:]:
        assert (entry.count, entry.runs, entry.phones, entry.typical, entry.speakers) == (0, 0, (), (), {})
        assert entry.log_mel is None
        assert len(entry.neighbours) == 6
    page = render_report(case.model, case.analysis, atlas, case.metrics, {"checkpoint": "x"}, seed=0)
    content = json.loads(page.split('id="atlas-data">')[1].split("</script>")[0])
    assert content == atlas.to_json()  # texts that hold </script> included
    assert content["units"][10]["log_mel_db"] is None


def test_the_average_spectrum_is_that_of_the_frames(case, atlas):
    sums, count = np.zeros(MEL_BANDS), 0
    for each in case.analysis.scored:
        waveform = case.corpus.waveform(each.utterance)
        spectra = unit_spectra(waveform, RATE, HOP, each.num_units)
        assert spectra.shape == (each.num_units, MEL_BANDS)
        sums += spectra[each.units[0] == 3].sum(axis=0)
        count += (each.units[0] == 3).sum()
    np.testing.assert_allclose(atlas.units[3].log_mel, sums / count)


def test_a_units_spectrum_is_taken_at_the_centre_of_its_frame():
    waveform = np.zeros(10 * HOP, np.float32)
    waveform[4 * HOP + HOP // 2] = 1.0  # in the middle of unit 4
    assert unit_spectra(waveform, RATE, HOP, 10).mean(axis=1).argmax() == 4


def test_mel_bands_are_librosas():
    centres = librosa.mel_frequencies(82, fmin=0, fmax=8000)[1:-1]
    assert [mel_band(hz, 80, 16000) for hz in centres] == pytest.approx(np.arange(80), abs=1e-6)
    np.testing.assert_allclose(mel_centres(80, 16000), centres)


def test_neighbours_are_the_nearest_vectors():
    codebook = np.random.default_rng(0).standard_normal((20, DIM))
    for unit, neighbours in enumerate(nearest_neighbours(codebook, 5)):
        distances = np.linalg.norm(codebook - codebook[unit], axis=1)
        assert [other for other, _ in neighbours] == np.argsort(distances)[1:6].tolist()
        assert [distance for _, distance in neighbours] == pytest.approx(np.sort(distances)[1:6])


@pytest.mark.parametrize("size", [1, 2, 5, 40])
def test_the_map_is_the_same_for_the_same_seed(size):
    codebook = np.random.default_rng(1).standard_normal((size, DIM)).astype(np.float32)
    first, second = map_codebook(codebook, seed=0), map_codebook(codebook, seed=0)
    np.testing.assert_array_equal(first.positions, second.positions)
    assert first.positions.shape == (size, 2)
    assert 0 <= first.positions.min() <= first.positions.max() <= 1
    assert ("t-SNE" in first.method) == (size == 40)


def test_a_collapsed_codebook_has_a_map():
    assert np.isfinite(map_codebook(np.ones((30, DIM), np.float32), seed=0).positions).all()


def test_clips_hold_the_stretch_with_what_surrounds_it(case, atlas):
    content = make_clips(case.analysis, atlas)
    assert set(content) == {str(unit) for unit in range(9)}
    for unit, sound in content.items():
        audio, rate = soundfile.read(io.BytesIO(base64.b64decode(sound["opus"])))
        last = sound["clips"][-1]
        assert len(audio) / rate == pytest.approx(
            last["offset"] + last["seconds"] + clips_module.GAP_SECONDS, abs=0.001
        )
        for clip, stretch in zip(sound["clips"], atlas.units[int(unit)].typical, strict=True):
            assert clip["end"] - clip["start"] <= stretch.length * HOP / RATE + 1e-3
            assert clip["start"] <= CONTEXT_SECONDS + 1e-3
            assert clip["phones"][0][1] == 0
            assert clip["phones"][-1][2] == pytest.approx(clip["seconds"], abs=2e-3)


def test_clips_keep_to_their_budget():
    for units in (1, 100, 512, 1024):
        per_clip = 2 * CONTEXT_SECONDS + clips_module.GAP_SECONDS + 1.5 * 0.02
        assert clips_per_unit(units, 0.02) * units * per_clip <= clips_module.BUDGET_SECONDS
    assert clips_per_unit(512, 0.02) == 2


PRONUNCIATIONS = {"a": [("AH",), ("EY",)], "man": [("M", "AE", "N")], "an": [("AE", "N")], "am": [("AE", "M")]}


def alignment(*labels: str) -> Alignment:
    return Alignment(np.arange(len(labels) + 1) / 10, labels)


def test_words_lie_where_their_phones_do():
    words = fit_words(alignment("SIL", "EY", "SIL", "M", "AE", "N", "SIL"), ["a", "man"], PRONUNCIATIONS)
    assert words == (Word(0.1, 0.2, "a"), Word(pytest.approx(0.3), pytest.approx(0.6), "man"))


@pytest.mark.parametrize("words", [["a", "an"], ["man"], ["a", "man", "a"], ["a", "unknown"], []])
def test_words_that_do_not_fit_are_not_shown(words):
    assert fit_words(alignment("AH", "M", "AE", "N"), words, PRONUNCIATIONS) == ()


def test_words_of_two_readings_are_not_shown():
    two = {"x": [("T",), ("T", "S")], "y": [("S", "T"), ("T",)]}
    assert fit_words(alignment("T", "S", "T"), ["x", "y"], two) == ()


def test_words_of_a_textgrid_are_read(tmp_path):
    path = tmp_path / "x.TextGrid"
    path.write_text(
        'File type = "ooTextFile"\nObject class = "TextGrid"\n0 1 <exists> 2 '
        '"IntervalTier" "words" 0 1 2 0 0.4 "" 0.4 1 "hello" "IntervalTier" "phones" 0 1 1 0 1 "AH"\n'
    )
    assert find_words(path, alignment("AH"), "hello") == (Word(0.4, 1.0, "hello"),)
