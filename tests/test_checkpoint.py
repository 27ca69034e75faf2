import json

import pytest
import torch
from test_vqvae import tiny_config

from audio_vq.checkpoint import CheckpointInfo, read_info, resolve_checkpoint, save_checkpoint
from audio_vq.config import as_dict
from audio_vq.errors import UserError
from audio_vq.models.vqvae import build_vqvae
from audio_vq.pretrained import VQVAE


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    config = tiny_config()
    info = CheckpointInfo("vqvae", as_dict(config), ("ann", "ben"), data={"loudness_db": None})
    save_checkpoint(tmp_path / "model", info, build_vqvae(config, 2).state_dict())
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


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": "other"}'])
def test_a_damaged_config_is_told(checkpoint, damage):
    (checkpoint / "config.json").write_text(damage)
    with pytest.raises(UserError, match=r"config\.json"):
        VQVAE.from_pretrained(checkpoint)


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
    with pytest.raises(UserError, match="codebook of 16"):
        model.decode([3, 16], "ann")
    with pytest.raises(UserError, match="unknown speaker 'bem'; known: ann, ben; did you mean ben"):
        model.decode([3], "bem")
