"""Audio and units through stdin and stdout: nothing else is on them, and what comes out is what files hold."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_cli import call, mistake
from test_encoding import voice

from audio_vq.audio.files import write_audio
from audio_vq.cli import main
from audio_vq.cli.results import check_stdout
from audio_vq.codec import source
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.errors import UserError
from audio_vq.textgrid import read_tiers
from audio_vq.unit_files.files import read_units
from audio_vq.unit_files.json_lines import UnitsJournal

PROGRAM = [sys.executable, "-c", "from audio_vq.cli.main import main; main()"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    voice().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def recording(tiny_corpus, tmp_path_factory):
    corpus = PreparedCorpus.open(tiny_corpus)
    file = tmp_path_factory.mktemp("input") / "hello.flac"
    write_audio(file, corpus.waveform(corpus.utterances[0])[:8000], 16000)
    return file


@pytest.fixture
def piped(monkeypatch):
    """What a command in this process makes of stdin, with nothing but that on stdout."""

    def run(*arguments, given=b"", code=0):
        read, write = os.pipe()
        os.write(write, given)  # no more than a pipe holds
        os.close(write)
        out, before = io.TextIOWrapper(io.BytesIO()), os.dup(0)
        os.dup2(read, 0)
        try:
            with monkeypatch.context() as patched:
                patched.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
                patched.setattr(sys, "stdout", out)
                patched.setattr(sys, "argv", ["audio-vq", *map(str, arguments)])
                main.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        finally:
            os.dup2(before, 0)
            os.close(before)
            os.close(read)
        assert status == code
        return out.buffer.getvalue()

    return run


def test_a_pipe_of_both_verbs_is_a_conversion(model, recording, tmp_path, piped):
    """Recording on stdin, units from one command to the other, WAV on stdout, whose header tells its length."""
    call("convert", model, recording, "--to", "ben", "--out", tmp_path / "file.wav")
    expected = soundfile.read(tmp_path / "file.wav")[0]
    units = piped("encode", model, "-", "--out", "-", given=recording.read_bytes())
    assert units.count(b"\n") == 1
    spoken = piped("decode", model, "-", "--speaker", "ben", "--out", "-", given=units)
    converted = piped("convert", model, "-", "--to", "ben", "--out", "-", given=recording.read_bytes())
    for wav in (spoken, converted):
        np.testing.assert_array_equal(soundfile.read(io.BytesIO(wav))[0], expected)
        assert len(wav) == 44 + 2 * len(expected)


def test_a_process_of_its_own(model, recording):
    """Whatever its libraries print goes elsewhere."""
    done = subprocess.run(
        [*PROGRAM, "encode", str(model), "-", "--out", "-"],
        input=recording.read_bytes(),
        capture_output=True,
        check=True,
    )
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["id"] == "stdin"


def test_stdin_into_a_folder(model, recording, tmp_path, piped):
    piped("convert", model, "-", "--to", "ben", "--out", tmp_path, given=recording.read_bytes())
    assert [each.name for each in tmp_path.iterdir()] == ["stdin_to_ben.wav"]
    assert piped("convert", model, "-", "--to", "ben", "--out", tmp_path / "no", given=b"no audio", code=2) == b""


def test_several_results_do_not_go_to_stdout(model, recording):
    assert "2; give a folder" in mistake("convert", model, recording, "--to", "ann", "--to", "ben", "--out", "-")
    assert "--out -" in mistake("encode", model, recording, "--out", "-", "--textgrid", "grids")


def test_audio_does_not_go_to_a_terminal(monkeypatch):
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        with pytest.raises(UserError, match="is a terminal"):
            check_stdout(Path("-"), json_output=False)
    os.close(ours)


def test_a_long_recording_comes_through_a_pipe_once(model, recording, tmp_path, monkeypatch):
    """It is gone through several times, of which a pipe is read but once."""
    monkeypatch.setattr(source, "KEPT_SAMPLES", 1000)
    pipe = tmp_path / "pipe.flac"
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", f"cat '{recording}' > '{pipe}'"]) as feeder:
        call("encode", model, pipe, "--out", tmp_path / "pipe.jsonl")
    assert feeder.returncode == 0
    call("encode", model, recording, "--out", tmp_path / "file.jsonl")
    one, other = (read_units(tmp_path / f"{name}.jsonl")[0].units for name in ("pipe", "file"))
    np.testing.assert_array_equal(one, other)


def test_textgrids_of_a_corpus_have_the_times_of_its_recordings(model, tiny_corpus, tmp_path):
    """As of one that was trimmed."""
    folder = shutil.copytree(tiny_corpus, tmp_path / "corpus")
    lines = (folder / "utterances.jsonl").read_text().splitlines()[:3]
    moved = [json.dumps(json.loads(line) | {"offset_seconds": 0.4 * place}) for place, line in enumerate(lines)]
    (folder / "utterances.jsonl").write_text("\n".join(moved) + "\n")
    corpus = PreparedCorpus.open(folder)
    call("encode", model, folder, "--out", tmp_path / "u.jsonl", "--textgrid", tmp_path / "grids")
    for each in corpus.utterances:
        file = tmp_path / "grids" / each.speaker / f"{each.id}.TextGrid"
        end = each.offset_seconds + each.num_samples / corpus.sample_rate
        for tier in read_tiers(file, file.read_text()):
            assert tier.intervals[-1].end == pytest.approx(end)
            before = [interval for interval in tier.intervals if interval.end <= each.offset_seconds]
            assert [interval.label for interval in before] == [""] * (each.offset_seconds > 0)


def test_textgrids_are_not_overwritten_silently_but_finished_after_an_interruption(
    model, recording, tmp_path, monkeypatch
):
    arguments = ["encode", model, recording, "--out", tmp_path / "u.jsonl", "--textgrid", tmp_path]

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("audio_vq.codec.encode.write_units", interrupted)
        call(*arguments, code=130)
    assert (tmp_path / "hello.TextGrid").exists()
    appended = []
    monkeypatch.setattr(UnitsJournal, "append", lambda _, sequence: appended.append(sequence))
    call(*arguments)
    assert not appended
    (tmp_path / "u.jsonl").unlink()
    assert "hello.TextGrid exists" in mistake(*arguments)
