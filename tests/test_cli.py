"""The command line as a user meets it: exit codes, one line on stderr, nothing half-written."""

import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from test_training import run_of
from typer.testing import CliRunner

from audio_vq import VQVAE
from audio_vq.audio import files as audio_files
from audio_vq.audio.files import read_audio, write_audio
from audio_vq.cli import main
from audio_vq.codec.sampler import choose_precision
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.training.runs import run_vqvae
from audio_vq.unit_files.files import read_units, write_units
from audio_vq.unit_files.json_lines import UnitsJournal


def call(*arguments, code=0):
    """Runs the command in this process; returns (stdout, stderr)."""
    import contextlib
    import io

    out, err = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["audio-vq", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main.main()
        status = 0
    except SystemExit as end:
        status = end.code or 0
    finally:
        sys.argv = before
    assert status == code, f"exit {status}: {err.getvalue()}"
    return out.getvalue(), err.getvalue()


def mistake(*arguments):
    """The one line a user's mistake gets."""
    _, err = call(*arguments, code=2)
    lines = [line for line in err.splitlines() if line.startswith("audio-vq:")]
    assert len(lines) == 1
    assert "Traceback" not in err
    return lines[0]


@pytest.fixture(scope="module")
def model(tiny_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "run"
    run_vqvae(run_of(tiny_corpus, folder))
    return folder


@pytest.fixture(scope="module")
def recording(tiny_corpus, tmp_path_factory):
    corpus = PreparedCorpus.open(tiny_corpus)
    file = tmp_path_factory.mktemp("input") / "hello.wav"
    write_audio(file, corpus.waveform(corpus.select("test")[0]), 16000)
    return file


VERBS = [
    "prepare",
    "train",
    "encode",
    "decode",
    "convert",
    "train-prior",
    "sample",
    "align",
    "analyze",
    "evaluate",
    "export-encoder",
    "info",
    "bench",
    "doctor",
    "demo",
]


def test_help_is_fast_and_names_every_verb():
    program = "import sys; from audio_vq.cli.main import app; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
    text = CliRunner().invoke(main.app, ["--help"]).stdout
    for verb in VERBS:
        assert f"  {verb} " in text


@pytest.mark.parametrize("verb", [*VERBS, "prepare vctk", "prepare librispeech", "prepare folder", "prepare synthetic"])
def test_help_has_a_purpose_and_an_example(verb):
    out, _ = call(*verb.split(), "--help")
    assert "Example: audio-vq " + verb in " ".join(out.split())


def test_version():
    out, _ = call("--version")
    assert out.startswith("audio-vq ")


def test_encode_then_decode_equals_convert(model, recording, tmp_path):
    call("encode", model, recording, "--out", tmp_path / "units.jsonl")
    (sequence,) = read_units(tmp_path / "units.jsonl")
    samples = soundfile.info(recording).frames
    assert (sequence.id, sequence.num_samples) == ("hello", samples)
    assert len(sequence.units) == -(-samples // sequence.hop_length)
    call("decode", model, tmp_path / "units.jsonl", "--speaker", "ben", "--out", tmp_path / "decoded")
    out, _ = call("convert", model, recording, "--to", "ben", "--to", "cleo", "--out", tmp_path / "converted")
    files = [tmp_path / "converted" / f"hello_to_{name}.wav" for name in ("ben", "cleo")]
    assert out.split() == [str(file) for file in files]
    decoded, ben, cleo = (soundfile.read(f)[0] for f in (tmp_path / "decoded/hello.wav", *files))
    assert len(ben) == len(cleo) == samples
    np.testing.assert_array_equal(decoded, ben)
    assert not np.array_equal(ben, cleo)
    assert 1e-3 < np.sqrt(np.mean(ben**2)) < 0.7  # neither silent nor clipped


def test_encode_reads_prepared_corpora_and_writes_npz(model, tiny_corpus, tmp_path):
    call("encode", model, tiny_corpus, "--out", tmp_path / "units.npz")
    sequences = read_units(tmp_path / "units.npz")
    assert [s.id for s in sequences] == [u.id for u in PreparedCorpus.open(tiny_corpus).utterances]


def test_results_are_not_overwritten_silently(model, recording, tmp_path):
    arguments = ["convert", model, recording, "--to", "ben", "--out", tmp_path]
    call(*arguments)
    assert "--force" in mistake(*arguments)
    call(*arguments, "--force")


def test_an_interrupted_conversion_goes_on(model, recording, tmp_path):
    """What exists is kept as it is, what is missing is made."""
    arguments = ["convert", model, recording, "--to", "ann", "--to", "ben", "--out", tmp_path]
    call(*arguments)
    before = (tmp_path / "hello_to_ann.wav").stat().st_mtime_ns
    (tmp_path / "hello_to_ben.wav").unlink()
    out, err = call(*arguments)
    assert out.split() == [str(tmp_path / "hello_to_ben.wav")]
    assert "1 of 2 results exist and are kept" in err
    assert (tmp_path / "hello_to_ann.wav").stat().st_mtime_ns == before


def test_results_of_other_settings_are_not_taken_for_these(model, recording, tmp_path):
    """Another seed, voice format or recording of the same name; the same again is kept."""
    arguments = ["convert", model, recording, "--to", "ann", "--out", tmp_path]
    call(*arguments)
    call("convert", model, recording, "--to", "ann", "--to", "ben", "--out", tmp_path)
    for other in (["--seed", 1], ["--temperature", 0.5], ["--emphasis", 0.5], ["--precision", "float32"]):
        if other != ["--precision", choose_precision("auto")]:
            assert "something else" in mistake(*arguments, *other)
    louder = tmp_path / "louder" / recording.name
    write_audio(louder, read_audio(recording).waveform / 2, 16000)
    assert "something else" in mistake("convert", model, louder, "--to", "ann", "--out", tmp_path)
    before = (tmp_path / "hello_to_ann.wav").read_bytes()
    call(*arguments, "--seed", 1, "--force")
    assert (tmp_path / "hello_to_ann.wav").read_bytes() != before
    assert "something else" in mistake(*arguments)


def test_decoded_results_of_other_units_are_not_taken_for_these(model, recording, tmp_path):
    call("encode", model, recording, "--out", tmp_path / "units.jsonl")
    arguments = ["decode", model, tmp_path / "units.jsonl", "--speaker", "ben", "--out", tmp_path / "out"]
    call(*arguments)
    (sequence,) = read_units(tmp_path / "units.jsonl")
    write_units(tmp_path / "units.jsonl", [dataclasses.replace(sequence, units=sequence.units[::-1])])
    assert "something else" in mistake(*arguments)


def test_units_of_another_model_are_refused(model, recording, tmp_path):
    call("encode", model, recording, "--out", tmp_path / "units.jsonl")
    (sequence,) = read_units(tmp_path / "units.jsonl")
    assert sequence.fingerprint == VQVAE.from_pretrained(model).fingerprint
    arguments = ["decode", model, tmp_path / "units.jsonl", "--speaker", "ben", "--out", tmp_path / "out"]
    write_units(tmp_path / "units.jsonl", [dataclasses.replace(sequence, fingerprint="0" * 64)])
    assert "another model" in mistake(*arguments)
    write_units(tmp_path / "units.jsonl", [dataclasses.replace(sequence, fingerprint="")])  # made by hand
    call(*arguments)


def broken_files(folder):
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("<html>")
    (folder / "dangling.wav").symlink_to("/nowhere.wav")
    soundfile.write(folder / "nan.wav", np.array([0, np.nan] * 500), 16000, subtype="FLOAT")
    return ["dangling", "empty", "nan", "text"]


def test_one_bad_file_among_many_stops_nobody(model, recording, tmp_path):
    folder = tmp_path / "in"
    write_audio(folder / "a.wav", read_audio(recording).waveform, 16000)
    write_audio(folder / "z.wav", read_audio(recording).waveform / 2, 16000)
    bad = broken_files(folder)
    for arguments in (["convert", "--to", "ben", "--out", tmp_path / "out"], ["encode", "--out", tmp_path / "u.jsonl"]):
        _, err = call(arguments[0], model, folder, *arguments[1:], code=1)
        for name in bad:
            assert sum(f"{name}.wav" in line for line in err.splitlines()) == 1
        assert "4 of 6" in err
        assert "Traceback" not in err
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["a_to_ben.wav", "z_to_ben.wav"]
    assert [each.id for each in read_units(tmp_path / "u.jsonl")] == ["a", "z"]


def test_results_mirror_the_folders_of_their_inputs(model, recording, tmp_path):
    """Equal stems, dots in names, two formats of one name, a file named twice, names of bytes."""
    short = read_audio(recording).waveform[:2000]
    names = ["ann/hello.wav", "ben/hello.wav", "rec.001.wav", "rec.002.wav", "twin.wav", "twin.flac"]
    for number, name in enumerate(names):
        write_audio(tmp_path / "in" / name, short / (number + 1), 16000)
    (tmp_path / "in" / "rec.001.wav").rename(tmp_path / "in" / "rec.001")
    odd = tmp_path / "in" / os.fsdecode(b"\xff\n.wav")
    shutil.copy(tmp_path / "in" / "twin.wav", odd)
    inputs = [tmp_path / "in", tmp_path / "in" / "rec.001", tmp_path / "in" / "ann" / ".." / "twin.wav"]
    call("convert", model, *inputs, "--to", "ben", "--out", tmp_path / "out")
    expected = ["ann/hello", "ben/hello", "rec.001", "rec.002", "twin.flac", "twin.wav", os.fsdecode(b"\xff\n")]
    made = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.wav")}
    assert made == {f"{name}_to_ben.wav" for name in expected}
    call("encode", model, *inputs, "--out", tmp_path / "u.jsonl")
    ids = {each.id for each in read_units(tmp_path / "u.jsonl")}
    assert ids == {*expected[:-1], "\ufffd_"}
    call("decode", model, tmp_path / "u.jsonl", "--speaker", "ben", "--out", tmp_path / "decoded")
    assert {path.relative_to(tmp_path / "decoded").as_posix() for path in (tmp_path / "decoded").rglob("*.wav")} == {
        f"{name}.wav" for name in ids
    }


def test_names_may_be_as_long_as_the_file_system_allows(model, recording, tmp_path):
    short = read_audio(recording).waveform[:2000]
    write_audio(tmp_path / "in" / f"{'x' * 240}.wav", short, 16000)
    write_audio(tmp_path / "in" / f"{'y' * 251}.wav", short / 2, 16000)
    out = tmp_path / "out"
    _, err = call("convert", model, tmp_path / "in", "--to", "ben", "--out", out, code=1)
    assert [path.name for path in out.iterdir()] == [f"{'x' * 240}_to_ben.wav"]
    assert "longer name" in err
    call("encode", model, tmp_path / "in", "--out", tmp_path / "u.jsonl")
    call("decode", model, tmp_path / "u.jsonl", "--speaker", "ben", "--out", tmp_path / "decoded")
    assert len(list((tmp_path / "decoded").iterdir())) == 2


def test_out_may_name_one_file(model, recording, tmp_path):
    convert = ["convert", model, recording, "--to", "ben"]
    call(*convert, "--out", tmp_path / "said.flac")
    assert soundfile.info(tmp_path / "said.flac").frames == soundfile.info(recording).frames
    assert "2 results" in mistake(*convert, "--to", "ann", "--out", tmp_path / "both.wav")
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "file" / "x.wav"):
        assert "is a file" in mistake(*convert, "--out", out)
    for out in (tmp_path, f"{tmp_path / 'new'}/"):
        assert "is a folder" in mistake("encode", model, recording, "--out", out, "--force")
    call("encode", model, recording, "--out", tmp_path / "u.jsonl")
    call("decode", model, tmp_path / "u.jsonl", "--speaker", "ben", "--out", tmp_path / "one.wav")
    assert (tmp_path / "one.wav").is_file()


def test_ctrl_c_says_what_is_kept(model, recording, tmp_path, monkeypatch):
    original = audio_files.write_audio

    def interrupted(path, *arguments):
        original(path, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(audio_files, "write_audio", interrupted)
    arguments = ["convert", model, recording, "--to", "ann", "--to", "ben", "--out", tmp_path]
    _, err = call(*arguments, code=130)
    assert "1 of 2 results are in" in err
    monkeypatch.undo()
    _, err = call(*arguments)
    assert "1 of 2 results exist and are kept" in err


def test_a_full_disk_is_told_in_one_line(model, recording, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        _, err = call("convert", model, recording, "--to", "ann", "--out", tmp_path / "out", code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (line,) = [line for line in err.splitlines() if line.startswith("audio-vq:")]
    assert "0 of 1 results are in" in line
    assert "Traceback" not in err
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupted_encoding_goes_on(model, tiny_corpus, tmp_path, monkeypatch):
    """The second call encodes only what the first had not, and the file is that of one uninterrupted call."""
    call("encode", model, tiny_corpus, "--out", tmp_path / "whole.jsonl")
    encoded = []
    original = UnitsJournal.append

    def append(self, sequence):
        encoded.append(sequence.id)
        if len(encoded) == 5 and not (tmp_path / "resumed").exists():
            raise KeyboardInterrupt
        original(self, sequence)

    monkeypatch.setattr(UnitsJournal, "append", append)
    call("encode", model, tiny_corpus, "--out", tmp_path / "parts.jsonl", code=130)
    assert not (tmp_path / "parts.jsonl").exists()
    (journal,) = tmp_path.glob(".*.partial")
    journal.write_bytes(journal.read_bytes()[:-7])  # a kill in the middle of a line
    encoded.clear()
    (tmp_path / "resumed").touch()
    call("encode", model, tiny_corpus, "--out", tmp_path / "parts.jsonl")
    assert encoded == [each.id for each in PreparedCorpus.open(tiny_corpus).utterances][3:]  # the fourth was cut off
    assert (tmp_path / "parts.jsonl").read_text() == (tmp_path / "whole.jsonl").read_text()
    assert not list(tmp_path.glob(".*"))


def test_info_json(model):
    out, _ = call("info", model, "--json")
    facts = json.loads(out)
    assert facts["hop_length"] == 320
    assert facts["unit_rate_hz"] == 50
    assert facts["bits_per_second"] == 150
    assert facts["speakers"] == ["ann", "ben", "cleo"]
    assert facts.keys() >= {"sample_rate", "codebook_size", "parameters", "receptive_field_samples"}


def test_users_mistakes(model, recording, tiny_corpus, tmp_path):
    out = tmp_path / "out"
    text, empty, silent = tmp_path / "text.wav", tmp_path / "empty.wav", tmp_path / "none.wav"
    text.write_text("this is not audio")
    empty.write_bytes(b"")
    soundfile.write(silent, np.zeros(0), 16000)
    assert "no such file" in mistake("convert", model, tmp_path / "missing.wav", "--to", "ben", "--out", out)
    assert "not audio" in mistake("convert", model, text, "--to", "ben", "--out", out)
    assert "empty.wav" in mistake("convert", model, empty, "--to", "ben", "--out", out)
    assert "none.wav" in mistake("convert", model, silent, "--to", "ben", "--out", out)
    assert "known: ann, ben, cleo" in mistake("convert", model, recording, "--to", "bob", "--out", out)
    assert "not a checkpoint" in mistake("convert", tmp_path, recording, "--to", "ben", "--out", out)
    assert "temperature" in mistake("convert", model, recording, "--to", "ben", "--out", out, "--temperature", "0")
    assert "emphasis" in mistake("convert", model, recording, "--to", "ben", "--out", out, "--emphasis", "9")
    assert "does not exist" in mistake("info", tmp_path / "nothing")
    assert "no such file" in mistake("decode", model, tmp_path / "no.jsonl", "--speaker", "ben", "--out", out)
    assert not out.exists()


def test_mistakes_in_training_settings(tiny_corpus, tmp_path):
    run = tmp_path / "run"
    good = ["train", f"data={tiny_corpus}", f"run={run}"]
    assert "no budget" in mistake(*good)
    assert "train.minutes=-1" in mistake(*good, "train.minutes=-1")
    assert "model.encoder.strides" in mistake(*good, "train.steps=1", "model.encoder.strides=[0]")
    assert "multiple of the model's hop length" in mistake(*good, "train.steps=1", "model.encoder.strides=[3]")
    assert "Available options" in mistake(*good, "train.steps=1", "model=huge")
    assert "Key 'step' not in" in mistake(*good, "train.step=1")
    assert "8000 Hz" in mistake(*good, "train.steps=1", "model.sample_rate=8000")
    assert "run not given" in mistake("train", f"data={tiny_corpus}", "train.steps=1")
    assert "device" in mistake(*good, "train.steps=1", "device=tpu")
    assert "no such folder" in mistake("train", f"data={tmp_path / 'none'}", f"run={run}", "train.steps=1")
    assert not run.exists()


def test_align_needs_transcripts(tiny_corpus, tmp_path):
    assert "transcript" in mistake("align", tiny_corpus, tmp_path / "phones")
    assert not (tmp_path / "phones").exists()


def test_training_prints_its_config():
    out, _ = call("train", "data=x", "run=y", "--cfg", "job")
    assert "codebook_size: 256" in out


def test_prior_is_trained_and_sampled(model, tiny_corpus, tmp_path):
    prior = tmp_path / "prior"
    call(
        "train-prior", f"model={model}", f"data={tiny_corpus}", f"run={prior}", "train.steps=3",
        "prior.layers=1", "prior.channels=16", "prior.heads=2", "prior.context=16",
    )  # fmt: skip
    out, _ = call("sample", prior, model, "--speaker", "ben", "--seconds", 0.5, "--count", 2, "--out", tmp_path / "s")
    first, second = (soundfile.read(file)[0] for file in out.split())
    assert len(first) == len(second) == 8000
    assert not np.array_equal(first, second)
    assert len(read_units(tmp_path / "s/units.jsonl")) == 2
    arguments = ["sample", prior, model, "--speaker", "ben", "--seconds", 0.5, "--out", tmp_path / "s"]
    (tmp_path / "s" / "ben_2.wav").unlink()
    _, err = call(*arguments, "--count", 2)
    assert "1 of 2 results exist and are kept" in err
    np.testing.assert_array_equal(soundfile.read(tmp_path / "s" / "ben_2.wav")[0], second)
    assert "something else" in mistake(*arguments, "--count", 2, "--seed", 1)
    call(*arguments[:-1], tmp_path / "one.wav", "--count", 1)
    np.testing.assert_array_equal(soundfile.read(tmp_path / "one.wav")[0], first)
    assert len(read_units(tmp_path / "one.jsonl")) == 1
    call(*arguments[:-1], tmp_path / "more.wav", "--count", 1, "--prompt", tmp_path / "one.wav")
    begun = read_units(tmp_path / "more.jsonl")[0].units
    assert begun.shape[-1] == 2 * read_units(tmp_path / "one.jsonl")[0].units.shape[-1]
    assert len(soundfile.read(tmp_path / "more.wav")[0]) == 2 * len(first)
    assert "none.wav" in mistake(*arguments[:-1], tmp_path / "none", "--prompt", tmp_path / "none.wav")
    for impossible in (["--seconds", "nan"], ["--seconds", "inf"], ["--count", 0]):
        mistake(*arguments, *impossible)
    for seed in (-1, 2**70):
        assert "--seed" in call(*arguments, "--seed", seed, code=2)[1]
    assert "holds a vqvae" in mistake("sample", model, model, "--speaker", "ben", "--out", tmp_path / "t")
