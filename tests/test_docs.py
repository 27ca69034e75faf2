"""The documentation builds without a warning and without a network, and what it tells a user to type can be typed."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from docs_pages import PAGES, explained, paths
from hydra.errors import HydraException
from test_conf import composed
from test_floors import FLOORS
from test_readme import ROOT, bash_lines

from audio_vq.cli.main import app
from audio_vq.config import TrainPriorRun, TrainRun

VERBS = typer.main.get_command(app).commands
SCHEMAS = {"train": ("train", TrainRun), "train-prior": ("train_prior", TrainPriorRun)}
TEXTS = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted(PAGES.glob("*.md")))}
COMMANDS = [(path.name, line) for path, text in TEXTS.items() for line in bash_lines(text)]


def audio_vq_arguments(line):
    """The arguments of each `audio-vq …` in a line, of a pipe or behind a launcher too."""
    for command in line.split(" | "):
        words = shlex.split(command, comments=True)
        if "audio-vq" in words:
            yield words[words.index("audio-vq") + 1 :]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda value: value[:40])
def test_commands_are_of_this_command_line(page, line):
    """Verbs, options and their number of arguments; of Hydra's verbs each setting and preset."""
    for verb, *rest in audio_vq_arguments(line):
        if verb in SCHEMAS:
            folder, schema = SCHEMAS[verb]
            composed(folder, schema, [word for word in rest if word.partition("=")[0] not in ("data", "run")])
        else:
            command = VERBS[verb]
            inner = getattr(command, "commands", {}).get(next(iter(rest), ""))
            (inner or command).make_context(verb, rest[1:] if inner else rest)
    for script, options in re.findall(r"bash (\S+\.sh)(.*)", line.partition("#")[0]):
        known = (ROOT / script).read_text()
        assert all(f"# {option} " in known for option in re.findall(r"--[\w-]+", options))


def test_a_command_that_is_not_ours_is_noticed():
    with pytest.raises(Exception, match="No such option: --too"):
        test_commands_are_of_this_command_line("", "audio-vq convert voices a.wav --too slt --out x")
    with pytest.raises(KeyError):
        test_commands_are_of_this_command_line("", "audio-vq konvert voices")
    with pytest.raises(HydraException):
        test_commands_are_of_this_command_line("", "audio-vq train data=x run=y train.minuets=3")


@pytest.mark.parametrize("model", ["voices", "voices-prior"])
def test_what_a_validation_writes_is_explained(model):
    config = json.loads((ROOT / "audio_vq/pretrained_models" / model / "config.json").read_text())
    assert set(paths(config["training"])) <= explained("metrics.jsonl")


@pytest.mark.slow
def test_the_site_builds_and_asks_nothing_of_others(tmp_path):
    if shutil.which("mkdocs", path=Path(sys.executable).parent) is None:
        pytest.skip("mkdocs is not installed (extra docs)")
    config = ROOT / "recipes/docs/mkdocs.yml"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", tmp_path]
    proxies = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}  # nobody answers there
    environment = {**os.environ, **proxies, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.glob("**/*.html")}
    assert {f"commands/{verb}.html" for verb in VERBS} <= pages.keys()
    for name, text in pages.items():
        loaded = re.findall(r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="?(https?:[^\s">]+)', text)
        assert loaded == [], name
        assert "{{ " not in re.sub(r"<(pre|code)\b.*?</\1>", "", text, flags=re.DOTALL), name
    assert "prepare synthetic" in pages["commands/prepare.html"]
    assert "codebook_size" in pages["commands/train.html"]
    assert "decode_stream" in pages["python.html"]


def test_every_floor_has_its_place_on_the_page_of_the_architecture():
    text = (PAGES / "architecture.md").read_text(encoding="utf-8")
    rooms = {room.split("/")[0] for floor in FLOORS for room in floor}
    assert [room for room in sorted(rooms) if not re.search(rf"`{room}/?`", text)] == []
