"""Several models side by side and as a curve, from the metrics.json of each."""

import copy
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from test_cli import call, mistake

from audio_vq.analysis.report.compare import Analyzed, cautions, compared, names_of
from audio_vq.analysis.report.sweep import draw, points
from audio_vq.cli import analyze as verb
from audio_vq.errors import UserError

METRICS = {
    "unit_rate_hz": 50.0,
    "codebook_size": 256,
    "used_units": 250,
    "perplexity": 180.0,
    "bits_per_second": 400.0,
    "entropy_bits_per_second": 374.6,
    "phones": {"accuracy": 0.35, "ci95": [0.31, 0.39], "majority": 0.1, "shuffled_units": 0.1, "pnmi": 0.4},
    "segments": {"r_value": 0.5},
    "abx": {"within_speaker": 0.12, "across_speaker": 0.2},
    "latents_used": {"bits_true": 3.9, "bits_shuffled": 4.9, "bits_zero": 4.7, "bits_wrong_speaker": 4.2},
    "rates": {"unigram": {"bits_per_second": 375.2}, "prior": None, "log_mel_distance": {"db": 9.5, "ci95": [9, 10]}},
    "split": "test",
    "scored_utterances": 48,
}
SMALLER = {
    "codebook_size": 64,
    "bits_per_second": 300.0,
    "entropy_bits_per_second": 280.0,
    "phones": {"accuracy": 0.3, "ci95": [0.27, 0.33]},
    "abx": None,  # as a report of a corpus without triphones has it
    "latents_used": {"bits_true": 4.0, "bits_shuffled": 4.8, "bits_zero": 4.7, "bits_wrong_speaker": 4.2},
    "rates": {"unigram": {"bits_per_second": 281.0}, "log_mel_distance": {"db": 10.5, "ci95": [10, 11]}},
}


@pytest.fixture
def reports(tmp_path):
    """Two report folders, a/report and b/report."""
    folders = []
    for name, changes in (("a", {}), ("b", SMALLER)):
        folder = tmp_path / name / "report"
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps(copy.deepcopy(METRICS) | changes))
        folders.append(folder)
    return folders


def models(*changes):
    return [Analyzed(f"m{n}", f"runs/m{n}", METRICS | change) for n, change in enumerate(changes)]


def row(sections, name):
    return next(row for section in sections for row in section.rows if row.name == name)


def test_names_are_the_shortest_that_differ():
    assert names_of(["runs/a", "runs/b"]) == ["a", "b"]
    assert names_of(["a/best", "b/best"]) == ["a-best", "b-best"]
    with pytest.raises(UserError, match="given twice"):
        names_of(["runs/a", "runs/a"])


def test_the_best_of_a_row_is_marked_in_its_direction():
    sections = compared(models({}, SMALLER))
    assert [cell.best for cell in row(sections, "accuracy").cells] == [True, False]
    assert [cell.best for cell in row(sections, "log-mel distance, dB").cells] == [True, False]
    assert not any(cell.best for cell in row(sections, "codebook size K").cells)  # neither direction is better
    assert not any(cell.best for cell in row(sections, "boundaries, R-value").cells)  # equal
    assert row(sections, "accuracy").cells[0].interval == "31.0 % – 39.0 %"
    assert [cell.text for cell in row(sections, "ABX error across speakers").cells] == ["20.0 %", "–"]
    assert not row(sections, "ABX error across speakers").cells[0].best  # nobody to compare with
    with pytest.raises(StopIteration):
        row(sections, "ideal code, prior")  # nobody has one


def test_other_data_is_said():
    assert cautions(models({}, SMALLER)) == []
    unlike = models({}, {**SMALLER, "split": "valid"})
    assert "split: test, valid" in cautions(unlike)[0]
    assert not any(cell.best for section in compared(unlike) for row in section.rows for cell in row.cells)


def test_points_are_in_order_of_rate_and_lines_join_one_unit_rate():
    other_rate = {"unit_rate_hz": 25.0, "bits_per_second": 200.0, "entropy_bits_per_second": 190.0}
    found = points(models({}, SMALLER, other_rate))
    assert [(p.codebook_size, p.unit_rate_hz) for p in found] == [(256, 25.0), (64, 50.0), (256, 50.0)]
    assert found[1].bits_per_second["ideal code, unigram"] == 281.0
    assert found[1].bits_per_second["ideal code, prior"] is None
    left, right = draw(found).axes
    fixed = [list(line.get_xdata()) for line in left.lines[:2]]
    assert fixed == [[200.0], [300.0, 400.0]]
    assert list(left.lines[1].get_ydata()) == [10.5, 9.5]
    assert right.get_ylabel().startswith("bits per waveform sample")


def test_nothing_was_decoded():
    with pytest.raises(UserError, match="a speaker it knows"):
        points(models({"latents_used": None, "rates": None}, {"latents_used": None, "rates": None}))


def test_reports_side_by_side(reports, tmp_path):
    out, _ = call("analyze", "--compare", *reports, "--out", tmp_path / "both", "--json")
    content = json.loads(out)
    assert content == json.loads((tmp_path / "both/compare.json").read_text())
    assert [model["name"] for model in content["models"]] == ["a-report", "b-report"]
    figures = {line["figure"]: line["values"] for line in content["table"]}
    assert figures["accuracy"] == [0.35, 0.3]
    page = (tmp_path / "both/compare.html").read_text()
    assert "a-report" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "--force" in mistake("analyze", "--compare", *reports, "--out", tmp_path / "both")


def test_reports_as_a_curve(reports, tmp_path):
    out, _ = call("analyze", "--sweep", *reports, "--out", tmp_path / "curve")
    assert Path(out.strip()) == tmp_path / "curve/sweep.html"
    found = json.loads((tmp_path / "curve/sweep.json").read_text())["points"]
    assert [point["codebook_size"] for point in found] == [64, 256]
    assert found[0]["distortion"]["log-mel distance (dB)"] == 10.5
    ET.fromstring((tmp_path / "curve/sweep.svg").read_text())
    assert "<svg" in (tmp_path / "curve/sweep.html").read_text()


def test_checkpoints_are_analysed_once(reports, tiny_corpus, tmp_path, monkeypatch):
    """The second call finds what the first had done when it was interrupted."""
    analysed = []

    def analyze(checkpoint, prepared, settings, out):
        analysed.append(checkpoint)
        if len(analysed) == 2:
            raise KeyboardInterrupt
        assert (prepared, settings.split) == (tiny_corpus, "valid")
        out.mkdir(parents=True)
        (out / "metrics.json").write_text(json.dumps(METRICS | SMALLER | {"command": settings.command}))

    monkeypatch.setattr(verb, "_analyze", analyze)
    common = ["--alignments", tmp_path, "--split", "valid", "--out", tmp_path / "out"]
    arguments = ["analyze", "--sweep", reports[0], "runs/x", "runs/y", tiny_corpus, *common]
    call(*arguments, code=130)
    call(*arguments)
    assert analysed == ["runs/x", "runs/y", "runs/y"]
    content = json.loads((tmp_path / "out/sweep.json").read_text())
    assert sorted(point["source"] for point in content["points"]) == [str(reports[0]), "runs/x", "runs/y"]
    assert "another command" in mistake(*[str(a).replace("sweep", "compare") for a in arguments])


def test_mistakes(reports, tiny_corpus, tmp_path):
    out = ["--out", tmp_path / "out"]
    assert "expected CHECKPOINT PREPARED" in mistake("analyze", "a", "b", "c", *out)
    mapping = ["--mapping", tmp_path, "--mapping-alignments", tmp_path]
    assert "give --alignments too" in mistake("analyze", "a", "b", *mapping, *out)
    assert "two models or more" in mistake("analyze", "--compare", reports[0], *out)
    assert "give one of them" in mistake("analyze", "--compare", "--sweep", *reports, *out)
    assert "no folder that audio-vq analyze has written" in mistake("analyze", "--sweep", reports[0], "runs/x", *out)
    for seed in (-1, 2**64):
        _, err = call("analyze", "a", tiny_corpus, "--alignments", tmp_path, "--seed", seed, *out, code=2)
        assert "--seed" in err
    assert "not a folder" in mistake("analyze", "--compare", *reports, "--out", reports[0] / "metrics.json")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{}", "not of audio-vq analyze"),
        ("[1]", "not of audio-vq analyze"),
        ("", "not valid JSON"),
        ('{"unit_rate_hz": 50, "codebook_size": null}', "no codebook_size"),
        ('{"unit_rate_hz": 50, "codebook_size": "many"}', "codebook_size is ['many'], expected a number"),
        ('{"unit_rate_hz": NaN, "codebook_size": 8}', "unit_rate_hz is [nan]"),
        ('{"unit_rate_hz": 50, "codebook_size": 8, "phones": {"accuracy": true}}', "phones.accuracy is [True]"),
        ('{"unit_rate_hz": 50, "codebook_size": 8, "phones": {"ci95": [0.1]}}', "expected a list of 2 numbers"),
    ],
)
def test_damaged_reports(reports, tmp_path, content, complaint):
    (reports[1] / "metrics.json").write_text(content)
    for kind in ("--compare", "--sweep"):
        assert complaint in mistake("analyze", kind, *reports, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
