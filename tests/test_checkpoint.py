import dataclasses
import json
import os
import stat

import numpy as np
import pytest
import torch
from huggingface_hub import errors
from test_encoding import ENCODERS, model_with, voice

from audio_vq.checkpoint import read_info, resolve_checkpoint
from audio_vq.errors import UserError
from audio_vq.pretrained import VQVAE

OURS = ("config.json", "model.safetensors", "README.md")


@pytest.fixture
def checkpoint(tmp_path):
    model_with(ENCODERS["filterbank"]).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_round_trip(checkpoint, tmp_path):
    model = VQVAE.from_pretrained(checkpoint)
    model.save_pretrained(tmp_path / "copy")
    again = VQVAE.from_pretrained(tmp_path / "copy")
    assert again.config == model.config
    assert again.speakers == ("ann", "ben")
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name
    assert again.fingerprint == model.fingerprint


def test_saving_replaces_our_three_files_and_nothing_else(checkpoint, tmp_path):
    model = VQVAE.from_pretrained(checkpoint)
    (checkpoint / "notes.txt").write_text("mine")
    (checkpoint / "model.safetensors").write_bytes(b"")
    model.save_pretrained(checkpoint)
    assert (checkpoint / "notes.txt").read_text() == "mine"
    assert VQVAE.from_pretrained(checkpoint).fingerprint == model.fingerprint
    (tmp_path / "clone" / ".git").mkdir(parents=True)
    model.save_pretrained(tmp_path / "clone")
    assert {path.name for path in (tmp_path / "clone").iterdir()} == {".git", *OURS}


@pytest.mark.parametrize("content", ["thesis.tex", "config.json", "README.md"])
def test_other_folders_are_refused_and_stay(checkpoint, tmp_path, content):
    model = VQVAE.from_pretrained(checkpoint)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / content).write_text("{}")
    with pytest.raises(UserError, match=f"home holds {content}; expected a new folder"):
        model.save_pretrained(tmp_path / "home")
    assert [path.name for path in (tmp_path / "home").iterdir()] == [content]
    with pytest.raises(UserError, match="is a file"):
        model.save_pretrained(tmp_path / "home" / content)


def test_the_umask_decides_who_reads_weights(checkpoint, tmp_path):
    before = os.umask(0o027)
    try:
        VQVAE.from_pretrained(checkpoint).save_pretrained(tmp_path / "copy")
    finally:
        os.umask(before)
    assert {name: stat.S_IMODE((tmp_path / "copy" / name).stat().st_mode) for name in OURS} == dict.fromkeys(
        OURS, 0o640
    )


def test_a_run_folder_means_its_best(checkpoint, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "best").symlink_to(checkpoint)
    assert resolve_checkpoint(run) == run / "best"


def test_what_is_not_a_checkpoint_is_told(checkpoint, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        resolve_checkpoint(tmp_path / "nowhere" / "deep")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no config\.json"):
        resolve_checkpoint(tmp_path / "empty")
    with pytest.raises(UserError, match="holds a vqvae, expected a prior"):
        read_info(checkpoint, "prior")


def test_checkpoints_of_yesterday_are_refused_in_one_line(checkpoint):
    content = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(content | {"format": "audio_vq checkpoint 1"}))
    with pytest.raises(
        UserError, match=r"another version of audio_vq \(audio_vq checkpoint 1; .*\): train anew"
    ) as told:
        VQVAE.from_pretrained(checkpoint)
    assert len(str(told.value).splitlines()) == 1
    model_with(ENCODERS["paper"]).save_pretrained(checkpoint)  # may take its place
    assert VQVAE.from_pretrained(checkpoint).hop_length == 64


def test_a_checkpoint_says_how_it_is_sampled(tmp_path):
    """Temperature, speakers' pitch, the corpus' mean spectrum: all come back, and neutral ones where they lack."""
    model = voice()
    plain = model.info
    assert model.temperature == 1.0
    for temperature, expected in ((0.7, 0.7), ([0.7] * 4, (0.7,) * 4)):
        info = dataclasses.replace(plain, data=plain.data | {"temperature": temperature})
        VQVAE(model.network, model.config, info).save_pretrained(tmp_path / "model")
        again = VQVAE.from_pretrained(tmp_path / "model")
        assert again.sampling_options().temperature == again.temperature == expected
        assert again.sampling_options(0.9).temperature == 0.9
        units = np.ones((3, 5), np.int64)
        np.testing.assert_array_equal(again.decode(units, "ann"), model.decode(units, "ann", temperature=0.7))
    assert again.codec.pitch_ranges == model.codec.pitch_ranges != ()
    np.testing.assert_array_equal(again.codec.mean_spectrum, np.ones(8))
    bare = VQVAE(model.network, model.config, dataclasses.replace(plain, data={}))
    assert bare.contour(np.full((3, 1), 4), "ann") == pytest.approx(150, rel=0.1)


def test_fingerprints_tell_codes_apart(tmp_path):
    """Another encoder, codebook or set of pitch classes; not another decoder."""
    model = voice()
    others = [
        model_with(ENCODERS["voice"], 2, 8),
        model_with(ENCODERS["voice"], 1, 9),
        model_with(ENCODERS["filterbank"]),
    ]
    assert len({each.fingerprint for each in (model, *others)}) == 4
    deaf = dataclasses.replace(ENCODERS["voice"], centred=False)
    assert len({model_with(each).fingerprint for each in (ENCODERS["voice"], deaf)}) == 2
    with torch.no_grad():
        model.network.wavenet.output.bias.add_(1)
    assert model.fingerprint == voice().fingerprint


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": "other"}'])
def test_a_damaged_config_is_told(checkpoint, damage):
    (checkpoint / "config.json").write_text(damage)
    with pytest.raises(UserError, match=r"config\.json"):
        VQVAE.from_pretrained(checkpoint)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("kind", None), ("kind", "gan"), ("config", []), ("speakers", {}), ("speakers", []), ("speakers", [1]),
        ("data", "x"), ("training", None), ("versions", ...), ("config", ...), ("speakers", ...), ("data", ...),
    ],
)  # fmt: skip
def test_a_config_that_lacks_something_is_one_line(checkpoint, entry, value):
    content = json.loads((checkpoint / "config.json").read_text())
    if value is ...:
        del content[entry]
    else:
        content[entry] = value
    (checkpoint / "config.json").write_text(json.dumps(content))
    if entry == "versions":  # tells people only
        assert VQVAE.from_pretrained(checkpoint).speakers == ("ann", "ben")
        return
    with pytest.raises(UserError, match=rf"{entry}|gan, expected"):
        VQVAE.from_pretrained(checkpoint)


@pytest.mark.parametrize("codebook_size", [0, -1, "many", None])
def test_impossible_sizes_in_a_config_are_named(checkpoint, codebook_size):
    content = json.loads((checkpoint / "config.json").read_text())
    content["config"]["quantizer"]["codebook_size"] = codebook_size
    (checkpoint / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"config\.json.*quantizer\.codebook_size"):
        VQVAE.from_pretrained(checkpoint)


def test_a_prior_that_does_not_say_which_units_is_told(checkpoint):
    content = json.loads((checkpoint / "config.json").read_text()) | {"kind": "prior"}
    (checkpoint / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="lacks 'codebook_size'"):
        read_info(checkpoint)


def hub_answer(error, monkeypatch):
    def snapshot_download(*_, **__):
        asked.append(error)
        raise error

    asked = []
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return asked


def test_a_mistyped_path_is_not_asked_of_the_hub(tmp_path, monkeypatch):
    asked = hub_answer(OSError("offline"), monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for name in ("runs/vtck", "./a/b", "~/model", "a/b/c", "a/", "/a/b", "one"):
        with pytest.raises(UserError, match="does not exist"):
            resolve_checkpoint(name)
    assert not asked


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.GatedRepoError, "access is restricted"),
        (errors.RepositoryNotFoundError, "missing or private"),
        (errors.HFValidationError, "no valid Hub id"),
        (errors.LocalEntryNotFoundError, "cannot be reached"),
        (errors.HfHubHTTPError, "cannot be reached"),
    ],
)
def test_the_hubs_answers_are_told_apart(tmp_path, monkeypatch, error, said):
    monkeypatch.chdir(tmp_path)
    asked = hub_answer(error.__new__(error), monkeypatch)  # what they are made with differs between releases
    with pytest.raises(UserError, match=said):
        resolve_checkpoint("you/model")
    assert asked


def test_damaged_weights_are_told(checkpoint):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be loaded"):
        VQVAE.from_pretrained(checkpoint)


def test_an_unknown_setting_is_told(checkpoint):
    content = json.loads((checkpoint / "config.json").read_text())
    content["config"]["encoder"]["depth"] = 3
    (checkpoint / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="does not fit this version"):
        VQVAE.from_pretrained(checkpoint)


def test_units_of_another_codebook_and_unknown_speakers_are_told(checkpoint):
    model = VQVAE.from_pretrained(checkpoint)
    with pytest.raises(UserError, match="codebook of 32"):
        model.decode([3, 32], "ann")
    with pytest.raises(UserError, match="unknown speaker 'bem'; known: ann, ben; did you mean ben"):
        model.decode([3], "bem")
