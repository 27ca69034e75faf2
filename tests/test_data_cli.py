"""`audio-vq prepare …`: forms and options, results on stdout, the rest on stderr."""

import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from audio_vq.cli.prepare import prepare_app
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.errors import UserError


@pytest.fixture
def source(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(4):
        path = tmp_path / "src" / f"s{index % 2}" / f"{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.uniform(-0.3, 0.3, 16000), 16000)
    return tmp_path / "src"


def run(*arguments):
    return CliRunner().invoke(prepare_app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_json_is_the_header_and_nothing_else(source, tmp_path):
    result = run("folder", source, tmp_path / "out", "--sample-rate", 8000, "--workers", 1, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads((tmp_path / "out" / "corpus.json").read_text())
    assert json.loads(result.stdout)["sample_rate"] == 8000
    assert "2 speakers" in result.stderr


def test_options_reach_the_corpus(source, tmp_path):
    out = tmp_path / "out"
    arguments = (
        "folder",
        source,
        out,
        "--workers",
        1,
        "--no-trim",
        "--no-loudness",
        "--test-speakers",
        "s1, ",
    )
    assert run(*arguments).exit_code == 0
    corpus = PreparedCorpus.open(out)
    assert {u.speaker for u in corpus.select("test")} == {"s1"}
    assert corpus.header.settings["trim_db"] is None
    assert corpus.header.settings["loudness_db"] is None
    with pytest.raises(UserError, match="--force"):
        run(*arguments)
    assert run(*arguments, "--force").exit_code == 0


def test_a_manifest_is_read(source, tmp_path):
    (tmp_path / "list.csv").write_text("path,speaker\ns0/0.wav,ann\ns1/1.wav,bob\n")
    result = run("folder", source, tmp_path / "out", "--manifest", tmp_path / "list.csv", "--workers", 1)
    assert result.exit_code == 0
    assert PreparedCorpus.open(tmp_path / "out").speakers == ("ann", "bob")


@pytest.mark.parametrize("verb", ["vctk", "librispeech", "folder", "synthetic"])
def test_help_has_a_purpose_and_an_example(verb):
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert f"Example: audio-vq prepare {verb}" in " ".join(result.stdout.split())


@pytest.mark.parametrize("verb", ["vctk", "librispeech", "folder"])
def test_a_source_that_is_none_is_a_users_mistake(tmp_path, verb):
    with pytest.raises(UserError, match="expected"):
        run(verb, tmp_path / "absent", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_speakers_that_no_model_will_learn_are_named(source, tmp_path):
    for speaker in ("s0", "s1"):
        (source / speaker).rename(source / f"{speaker}_")
        soundfile.write(source / f"{speaker}_" / "z.wav", np.random.default_rng(1).uniform(-0.3, 0.3, 16000), 16000)
    soundfile.write(source / "brief.wav", np.zeros(1), 16000)
    for number in range(9):
        short = source / "hasty" / f"{number}.wav"
        short.parent.mkdir(exist_ok=True)
        soundfile.write(short, np.random.default_rng(number).uniform(-0.3, 0.3, 8000), 16000)
    result = run("folder", source, tmp_path / "out", "--workers", 1, "--test-speakers", "s1_")
    assert "s1_ (nothing in the train split)" in result.stderr
    assert "hasty (no training utterance as long as a crop of 10240 samples)" in result.stderr
    assert "skipped brief.wav: lies in no speaker's folder" in result.stderr
    assert "s0_" not in result.stderr
