"""`--json` prints one object, all of stdout, with the keys that --help tells."""

import json

import pytest
from test_cli import call, mistake
from test_encoding import voice

from audio_vq.audio.files import write_audio
from audio_vq.checkpoint import CheckpointInfo, save_checkpoint
from audio_vq.config import PriorConfig, as_dict
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.models.prior import build_prior


@pytest.fixture(scope="module")
def place(tiny_corpus, tmp_path_factory):
    """A folder with a model, a prior of its units, a recording and its units, and a broken recording."""
    folder = tmp_path_factory.mktemp("json")
    model, config = voice(), PriorConfig(layers=1, heads=2, channels=16, context=16)
    model.save_pretrained(folder / "model")
    about = {name: getattr(model, name) for name in ("codebook_size", "unit_rate_hz", "sample_rate", "hop_length")}
    data = {**about, "track_sizes": list(model.track_sizes), "fingerprint": model.fingerprint}
    network = build_prior(config, model.track_sizes, len(model.speakers))
    info = CheckpointInfo("prior", as_dict(config), model.speakers, data)
    save_checkpoint(folder / "prior", info, network.state_dict())
    corpus = PreparedCorpus.open(tiny_corpus)
    for name in ("ann/one.wav", "ben/two.wav"):
        write_audio(folder / "in" / name, corpus.waveform(corpus.utterances[0])[:8000], 16000)
    (folder / "in" / "ben" / "broken.wav").touch()
    call("encode", folder / "model", folder / "in" / "ann", "--out", folder / "units.jsonl")
    return folder


VERBS = [
    ("info model", {"kind", "speakers", "sample_rate", "hop_length", "bits_per_second", "parameters"}, 0),
    ("encode model in --out made.parquet", {"file", "recordings", "seconds", "units", "left_out"}, 1),
    ("decode model units.jsonl --speaker ann --out made", {"files", "kept"}, 0),
    ("convert model in --to ben --out made", {"files", "kept", "left_out"}, 1),
    ("sample prior model --speaker ann --seconds 0.2 --count 2 --out made", {"files", "kept", "units"}, 0),
    ("prepare folder in made --workers 1", {"hours", "speakers", "splits", "skipped"}, 0),
    ("bench model --only machine --seconds 0.01", {"context", "results"}, 0),
]


@pytest.mark.parametrize(("line", "keys", "code"), VERBS, ids=[line.split()[0] for line, *_ in VERBS])
def test_one_object_with_the_keys_that_help_tells(place, tmp_path, monkeypatch, line, keys, code):
    monkeypatch.chdir(tmp_path)
    for each in place.iterdir():
        (tmp_path / each.name).symlink_to(each)
    out, err = call(*line.split(), "--json", code=code)
    content = json.loads(out)
    assert content.keys() >= keys
    assert "Traceback" not in err
    verb = line.split()[:2] if line.startswith("prepare") else line.split()[:1]
    told = " ".join(call(*verb, "--help")[0].split())
    assert all(key in told for key in keys)
    for file in content.get("files", ()):
        assert (tmp_path / file["file"]).is_file()
        assert file["seconds"] > 0
    if code == 1:
        (fault,) = content["left_out"]
        assert "broken.wav" in fault


def test_files_are_told_in_the_order_of_the_inputs_with_what_was_kept(place, tmp_path):
    arguments = ["convert", place / "model", place / "in" / "ann", "--to", "ben", "--to", "ann", "--out", tmp_path]
    made = json.loads(call(*arguments, "--json")[0])["files"]
    assert [(each["speaker"], each["input"]) for each in made] == [
        (name, str(place / "in" / "ann" / "one.wav")) for name in ("ben", "ann")
    ]
    (tmp_path / "one_to_ben.wav").unlink()
    again = json.loads(call(*arguments, "--json")[0])
    assert [each["file"] for each in again["files"]] == [str(tmp_path / "one_to_ben.wav")]
    assert again["kept"] == [str(tmp_path / "one_to_ann.wav")]


def test_stdout_holds_one_thing():
    for verb in (
        ["encode", "m", "x.wav"],
        ["convert", "m", "x.wav", "--to", "a"],
        ["decode", "m", "u", "--speaker", "a"],
    ):
        assert "--out -" in mistake(*verb, "--out", "-", "--json")
