"""Every preset composes, fits the schema, and builds."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from audio_vq.config import TrainPriorRun, TrainRun, hop_length
from audio_vq.models.prior import build_prior
from audio_vq.models.vqvae import build_vqvae

CONF = Path(__file__).parents[1] / "conf"
MODELS = sorted(path.stem for path in (CONF / "train/model").glob("*.yaml"))
PRIORS = sorted(path.stem for path in (CONF / "train_prior/prior").glob("*.yaml"))


def composed(app, schema, overrides):
    ConfigStore.instance().store(name="schema", node=schema)
    with initialize_config_dir(str(CONF / app), version_base="1.3"):
        overrides = ["data=x", "run=y", "train.steps=1", *overrides]
        return OmegaConf.to_object(compose("config", overrides=overrides))


@pytest.mark.parametrize("name", MODELS)
def test_models_build(name):
    run = composed("train", TrainRun, [f"model={name}"])
    with torch.device("meta"):  # shapes without memory: base is large
        model = build_vqvae(run.model, num_speakers=3)
    assert model.hop_length == hop_length(run.model)


@pytest.mark.parametrize("name", PRIORS)
def test_priors_build(name):
    run = composed("train_prior", TrainPriorRun, [f"prior={name}", "model=z"])
    with torch.device("meta"):
        build_prior(run.prior, track_sizes=(16,), num_speakers=3)


def leaves(config, prefix=""):
    for key, value in config.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        elif key != "defaults":
            yield f"{prefix}{key}", value


@pytest.mark.parametrize("file", sorted(CONF.glob("*/*/*.yaml")), ids=lambda file: file.stem)
def test_presets_say_only_what_differs(file):
    """A value that equals the dataclass's default would be a second home of it."""
    said = OmegaConf.to_container(OmegaConf.load(file))
    schema = TrainRun if file.parent.name == "model" else TrainPriorRun
    if "defaults" in said:  # a preset that builds on another
        defaults = OmegaConf.load(file.parent / f"{said['defaults'][0]}.yaml")
    else:
        defaults = OmegaConf.structured(schema)
    for key, value in leaves(said):
        assert OmegaConf.select(defaults, key) != value, key


def test_paper_is_the_paper():
    """`paper` is the paper: 64 times shorter, K = 512, one-hot speaker, codebook by its loss, nothing added."""
    model = composed("train", TrainRun, ["model=paper"]).model
    assert model.encoder.strides == [2] * 6
    assert (model.quantizer.codebook_size, model.quantizer.update, model.quantizer.commitment) == (
        512,
        "loss",
        0.25,
    )
    assert not (model.quantizer.kmeans_start or model.quantizer.restart_after or model.quantizer.continuous_share)
    assert not (model.encoder.layer_norm or model.encoder.filterbank)
    assert model.wavenet.speaker_channels == model.wavenet.conditioning_channels == 0


def test_the_reference_decoder_is_the_one_speeds_are_quoted_for():
    wavenet = composed("train", TrainRun, ["model=wavenet_reference"]).model.wavenet
    assert (wavenet.layers, wavenet.dilation_cycle, wavenet.kernel_size) == (30, 10, 2)
    assert (wavenet.residual_channels, wavenet.skip_channels) == (64, 128)
