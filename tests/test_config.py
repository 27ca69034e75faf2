"""Impossible settings are refused by name, from wherever they come."""

import dataclasses
import math

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from test_conf import CONF

from audio_vq.config import (
    EncoderConfig,
    GaussianConfig,
    ModelConfig,
    PriorConfig,
    QuantizerConfig,
    TrainConfig,
    TrainPriorRun,
    TrainRun,
    WaveNetConfig,
    filterbank_hop_length,
)
from audio_vq.errors import UserError


@pytest.mark.parametrize(
    "override",
    [
        "train.minutes=nan", "train.minutes=inf", "train.minutes=0", "train.steps=0", "train.batch_size=0",
        "train.crop_length=0", "train.validation_crops=0", "train.validations=0", "train.gradient_accumulation=0",
        "train.learning_rate=-1", "train.learning_rate=nan", "train.threads=-1", "train.mixed_precision=foo",
        "train.weight_average=1", "train.decay_share=1.5", "train.max_grad_norm=0", "train.save_minutes=-1", "seed=-1",
        "seed=99999999999999999999", "device=gpu", "model.sample_rate=0", "model.mu_law_classes=1",
        "model.bottleneck=none", "model.encoder.strides=[]", "model.encoder.strides=[2,0]", "model.encoder.channels=0",
        "model.encoder.filterbank=-1", "model.quantizer.codebook_size=0", "model.quantizer.update=sgd",
        "model.quantizer.continuous_share=1", "model.quantizer.commitment=inf", "model.quantizer.ema_decay=1.0",
        "model.gaussian.anneal_share=1", "model.gaussian.free_bits=-1", "model.wavenet.layers=0",
        "model.wavenet.dilation_cycle=0", "model.wavenet.kernel_size=0", "model.wavenet.residual_channels=99999999",
    ],
)  # fmt: skip
def test_overrides_out_of_range_are_refused_by_name(override):
    ConfigStore.instance().store(name="schema", node=TrainRun)
    with initialize_config_dir(str(CONF / "train"), version_base="1.3"):
        composed = compose("config", overrides=["data=x", "run=y", override])
    name, _, value = override.partition("=")
    with pytest.raises(UserError, match=rf"^{name}=.*: expected .") as caught:
        OmegaConf.to_object(composed)
    assert value.rstrip("]").split(",")[-1] in str(caught.value)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: EncoderConfig(strides=[2, -1]), r"model\.encoder\.strides=\[2, -1\]"),
        (lambda: QuantizerConfig(codebook_size=2.5), "codebook_size=2.5: expected whole numbers from 2"),
        (lambda: QuantizerConfig(dim="64"), "dim=64"),
        (lambda: QuantizerConfig(commitment=None), "commitment=None"),
        (lambda: GaussianConfig(kl_weight=math.nan), "kl_weight=nan"),
        (lambda: TrainConfig(steps=2.5), "steps=2.5"),
        (lambda: TrainConfig(batch_size=True), "batch_size=True"),
        (lambda: PriorConfig(channels=30, heads=4), "prior.channels=30 is not a multiple of twice prior.heads=4"),
        (lambda: TrainPriorRun(seed=2**64), "seed=18446744073709551616"),
    ],
)
def test_python_is_no_way_around(make, name):
    with pytest.raises(UserError, match=name):
        make()


def test_sizes_have_to_fit_each_other():
    with pytest.raises(UserError, match=r"conditioning_frames=3 does not divide the hop length 64"):
        ModelConfig(wavenet=WaveNetConfig(conditioning_frames=3, conditioning_channels=8))
    with pytest.raises(UserError, match=r"needs model\.wavenet\.conditioning_channels above zero"):
        ModelConfig(wavenet=WaveNetConfig(conditioning_frames=2))
    with pytest.raises(UserError, match=r"crop_length=1000 is not .* 64 .*give train.crop_length=960"):
        TrainRun(train=TrainConfig(crop_length=1000))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 44100, 48000])
def test_a_filterbanks_hop_is_about_ten_milliseconds_in_fours(rate):
    hop = filterbank_hop_length(rate)
    assert hop % 4 == 0
    assert abs(hop / rate - 0.01) < 2.01 / rate


@pytest.mark.parametrize("schema", [TrainRun, TrainPriorRun])
def test_every_number_has_a_range(schema):
    def numbers(config, prefix=""):
        for entry in dataclasses.fields(config):
            value = getattr(config, entry.name)
            if dataclasses.is_dataclass(value):
                yield from numbers(value, f"{prefix}{entry.name}.")
            elif entry.type not in (bool, str):
                yield f"{prefix}{entry.name}", entry.metadata

    assert [name for name, metadata in numbers(schema()) if "allowed" not in metadata] == []
