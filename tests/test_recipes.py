"""The recipes, whole, on their smallest setting."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = [
    "--minutes", "1",
    "--set", "train.steps=3", "--set", "train.validations=1", "--set", "train.validation_crops=2",
    "--set", "model.quantizer.codebook_size=8", "--set", "model.wavenet.layers=2",
]  # fmt: skip


def run(recipe, *arguments, code=0):
    environment = {**os.environ, "AUDIO_VQ_VENV": sys.prefix, "OMP_NUM_THREADS": "1"}
    command = ["bash", str(RECIPES / recipe / "run.sh"), *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    return result


def check_results(work, model):
    assert len(list((work / "converted").glob("*_to_*.wav"))) >= 3
    assert len(list((work / "samples").glob("*.wav"))) == 4
    assert json.loads((work / "report/metrics.json").read_text())["codebook_size"] == 8
    assert (work / "report/report.html").stat().st_size > 10_000
    assert (work / model / "metrics.jsonl").exists()


@pytest.mark.slow
def test_demo_runs_and_is_done_then(tmp_path):
    arguments = ["--work", tmp_path, "--speakers", 3, "--utterances", 6, "--prior-minutes", 0.01, *TINY]
    first = run("demo", *arguments)
    assert "[analyze]" in first.stdout
    assert "done before" not in first.stdout
    check_results(tmp_path, "small")
    again = run("demo", *arguments)
    assert again.stdout.count("done before") == 7


STAGES = r"""
set -euo pipefail
work=$1 word=$2 from=$3 fails=$4
source "$5"
begin collect train tell
note() { [ "$fails" != "$1" ] || return 3; mkdir -p "$2"; echo "$3" >>"$2/notes"; }
stage collect "$work/collected" note collect "$work/collected" same
stage --continues train "$work/trained" note train "$work/trained" "$word"
stage tell "$work/told" note tell "$work/told" same
"""


def test_stages_resume_redo_and_fail(tmp_path):
    """What all recipes are made of: how often each stage has run shows in what it wrote."""

    def call(word="a", begin="", fails="", code=0):
        command = ["bash", "-c", STAGES, "recipe", tmp_path, word, begin, fails, RECIPES / "stages.sh"]
        result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr

    def notes(name):
        file = tmp_path / name / "notes"
        return file.read_text().split() if file.exists() else None

    out = call(fails="train", code=3)
    assert "[train] failed with exit code 3" in out
    assert (notes("collected"), notes("trained"), notes("told")) == (["same"], None, None)
    assert call().count("done before") == 1, "goes on from what failed"
    assert call().count("done before") == 3
    assert call(begin="tell").count("done before") == 2
    assert notes("told") == ["same"], "was removed and made anew"
    assert call(word="b").count("done before") == 1
    assert notes("trained") == ["a", "b"], "training goes on from what is there"
    assert notes("told") == ["same"]
    assert call(begin="train", word="b").count("done before") == 1
    assert notes("trained") == ["b"], "asked for by name it begins anew"
    assert (tmp_path / "logs/train.done").exists()


@pytest.mark.slow
def test_vctk(vctk_tree, tmp_path):
    """With the other preset: that of the demo is `small`."""
    run("vctk", "--corpus", vctk_tree, "--work", tmp_path, "--model", "phones", "--prior-minutes", 0.01, *TINY)
    check_results(tmp_path, "phones")


@pytest.mark.slow
def test_own_language(vctk_tree, tmp_path):
    """One speaker's recordings alone, nothing else known of them."""
    recordings = vctk_tree / "wav48_silence_trimmed/p901"
    out = run("own_language", recordings, "--work", tmp_path, "--prior-minutes", 0.03, "--init", "none", *TINY).stdout
    assert "[analyze]" in out
    assert len(list((tmp_path / "samples").glob("p901_*.wav"))) == 4
    assert len((tmp_path / "units.jsonl").read_text().splitlines()) == len(list(recordings.glob("*.flac")))
    metrics = json.loads((tmp_path / "report/metrics.json").read_text())
    assert metrics["codebook_size"] == 8
    assert "phones" not in metrics
    assert "No alignments were given" in (tmp_path / "report/report.html").read_text()
    assert json.loads((tmp_path / "report/atlas.json").read_text())["phones"] == []


@pytest.mark.slow
def test_collapse(spoken_corpus, tmp_path):
    out = run("collapse", "--data", spoken_corpus, "--work", tmp_path, "--seeds", 1, *TINY).stdout
    kinds = [line.split(" | ")[0] for line in out.splitlines() if line.startswith("| ")]
    assert kinds == ["| latents", "| quantized", "| gaussian", "| gaussian, annealed over 20%"]
    (line,) = (tmp_path / "gaussian-0/metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["kl_nats_per_unit"] > 0
    assert json.loads((tmp_path / "comparison/collapse.json").read_text())["bottlenecks"][0]["seeds"] == [0]
    assert (tmp_path / "comparison/collapse.png").exists()


def test_voices_lists_manifests_and_vctk_layouts(vctk_tree, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/manifest.csv").write_text("path,speaker,text\na.wav,slt,Well yes.\nb/7.wav,bob,\n")
    script = [sys.executable, str(RECIPES / "voices/manifest.py"), str(tmp_path / "mine"), str(vctk_tree)]
    rows = list(csv.DictReader(subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()))
    assert [(row["text"], row["sentence"], row["gender"], row["corpus"]) for row in rows[:2]] == [
        ("Well yes.", "", "F", "CMU ARCTIC"),
        ("", "7", "", ""),
    ]
    assert len(rows) > 2
    assert all(row["text"] and Path(row["path"]).is_file() for row in rows[2:])


def test_mistakes(tmp_path):
    assert "no such stage" in run("demo", "--work", tmp_path / "w", "--from", "lunch", code=2).stderr
    assert "unknown option" in run("vctk", "--minuets", "3", code=2).stderr
    assert "needs a value" in run("vctk", "--minutes", code=2).stderr
    assert "no such folder" in run("vctk", "--corpus", tmp_path / "none", code=2).stderr
    assert "no folder given" in run("own_language", "--minutes", "3", code=2).stderr
    assert "--seeds 0" in run("collapse", "--seeds", "0", code=2).stderr
    assert "--prior-minutes N" in run("vctk", "--help").stdout
    assert not (tmp_path / "w").exists()
