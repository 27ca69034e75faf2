"""The Tab key, as the shells ask: by variables of the environment."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import call


@pytest.fixture
def tab(monkeypatch):
    """What is offered for the last word of a line, in bash or another shell."""

    def offered(*words, shell="bash"):
        monkeypatch.setenv("_AUDIO_VQ_COMPLETE", f"complete_{shell}")
        line = ["audio-vq", *words]
        if shell == "bash":
            monkeypatch.setenv("COMP_WORDS", "\n".join(line))
            monkeypatch.setenv("COMP_CWORD", str(len(line) - 1))
        else:
            monkeypatch.setenv("_TYPER_COMPLETE_ARGS", " ".join(line))
            monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        return call()[0].split()

    return offered


def test_verbs_and_options(tab):
    assert tab("enc") == ["encode"]
    assert {"--to", "--out", "--json"} <= set(tab("convert", "--"))


def test_checkpoints_are_shipped_models_and_folders_of_runs(tab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("runs/vctk/checkpoints", "runs/other", "voice"):
        Path(name).mkdir(parents=True)
    Path("voice/config.json").touch()
    assert tab("info", "voi") == ["voice", "voices", "voices-prior"]
    assert tab("info", "runs/") == ["runs/vctk"]
    assert tab("info", "nowhere/") == []
    assert tab("convert", "voices-", shell="fish") == ["voices-prior"]


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_speakers_are_those_of_the_checkpoint_on_the_line(tab, shell):
    assert tab("convert", "voices", "in.wav", "--to", "sl", shell=shell) == ["slt"]
    assert tab("sample", "voices-prior", "voices", "--speaker", "sl", shell=shell) == ["slt"]
    assert tab("convert", "nothing", "in.wav", "--to", "sl", shell=shell) == []


def test_speakers_of_ones_own_run(tab, tmp_path):
    """A damaged config is no model."""
    for name, content in (("broken", "{"), ("run/best", json.dumps({"kind": "vqvae", "speakers": ["ann", "ben"]}))):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text(content)
    assert tab("decode", str(tmp_path / "broken"), str(tmp_path / "run"), "u.jsonl", "--speaker", "") == ["ann", "ben"]


def test_settings_of_training(tab):
    """bash splits at =, others do not."""
    assert tab("train", "data=x", "train.opt") == ["train.optimizer="]
    assert tab("train", "train.optimizer", "=", "") == ["adam", "muon"]
    assert tab("train", "model", "=", "sm") == ["small"]
    assert tab("train", "model=sm", shell="fish") == ["model=small"]
    assert tab("train", "model", "=", "small", "dat") == ["data="]
    assert tab("train", "init", "=", "voices-") == ["voices-prior"]
    assert {"small", "base"} <= set(tab("train-prior", "prior", "="))
    assert tab("train-prior", "model", "=", "voices-") == ["voices-prior"]
    assert tab("train", "data", "=", "x") == []  # the shell then offers files


def test_bash_itself(tmp_path):
    """As `--install-completion` sets it up."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    program = tmp_path / "bin" / "audio-vq"
    program.parent.mkdir()
    start = "import sys; from audio_vq.cli.main import main; sys.argv[0] = 'audio-vq'; main()"
    program.write_text(f'#!{bash}\nexec {sys.executable} -c "{start}" "$@"\n')
    program.chmod(0o755)
    package = str(Path(__file__).parents[1])
    environment = os.environ | {"HOME": str(tmp_path), "PATH": f"{program.parent}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = package
    subprocess.run(["audio-vq", "--install-completion", "bash"], env=environment, check=True, capture_output=True)
    script = (
        "source ~/.bashrc; COMP_WORDS=(audio-vq convert voices 'a\\ b.wav' --to sl); COMP_CWORD=5; "
        '"$(complete -p audio-vq | sed "s/.*-F \\([^ ]*\\).*/\\1/")" audio-vq; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run([bash, "-c", script], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["slt"]


def test_nothing_heavy_is_imported():
    program = "import sys, audio_vq.cli.main, audio_vq.config; assert not {'torch', 'numba'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
