"""The command line of the training verbs: paths as they are given, sweeps without litter."""

import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from audio_vq.cli import train as command
from audio_vq.cli.main import main
from audio_vq.config import TrainRun

PATHS = [
    "Jürgen", "李明", "take (1)", "a=b", "a,b", "O'Brien", 'say "x"', "a#1", "a&b", "[x]", "{x}", "a!b", "2024_11_25",
    "1e3", ".5", "true", "null", "~/x", "$HOME", "${x}", r"\${x}", r"a\\${x}", r"a\b", "a\\", r"a\'b", "-x", "a: b",
    "a;b", "???x", " a ",
]  # fmt: skip


def composed(arguments):
    """The configs that the verb would work with."""
    taken = []
    before = sys.argv
    try:
        command._hydra("train", TrainRun, ["train.steps=1", *arguments], taken.append, paths={"data", "run"})
    finally:
        sys.argv = before
    return taken


def through_hydra(text):
    (override,) = OverridesParser.create().parse_overrides([f"data={command._quoted(text)}"])
    config = OmegaConf.structured(TrainRun)
    OmegaConf.update(config, "data", override.value())
    return config.data


@pytest.mark.parametrize("path", PATHS)
def test_paths_survive_hydra_and_omegaconf(path):
    assert through_hydra(path) == path


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet="\\'\"${}a, =", min_size=1))
def test_any_text_survives(text):
    assert through_hydra(text) == text


def test_paths_are_taken_literally():
    (run,) = composed(["data=a,b='${x}", "run=20_24"])
    assert (run.data, run.run) == ("a,b='${x}", "20_24")


def test_a_sweep_sweeps_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = composed(["data=a,b", "run=runs/s${seed}", "--multirun", "seed=0,1"])
    assert [(run.seed, run.run, run.data) for run in runs] == [(0, "runs/s0", "a,b"), (1, "runs/s1", "a,b")]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.minutes=nan", "train.minutes=nan: expected numbers above 0"),
        ("model.encoder.strides=[]", "model.encoder.strides=[]: expected whole numbers from 1 to 1024"),
        ("train.batch_size=0", "train.batch_size=0: expected whole numbers from 1"),
        ("seed=99999999999999999999", "seed=99999999999999999999: expected"),
    ],
)
def test_impossible_settings_are_one_line(override, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["audio-vq", "train", "data=x", "run=y", "train.steps=1", override])
    with pytest.raises(SystemExit) as ended:
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert message in line
