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
        "model.wavenet.bands=3", "model.wavenet.spectrum_weight=-1", "model.quantizer.groups=0", "model.pitch=257",
        "train.spoken_length=-1", "train.warp=-0.1", "train.warp=2", "train.equaliser_db=nan",
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


CENTRED = EncoderConfig(filterbank=8, centred=True, strides=[2])  # 320 samples to a unit


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ModelConfig(wavenet=WaveNetConfig(conditioning_frames=3, conditioning_channels=8)),
            r"bands=1 times model\.wavenet\.conditioning_frames=3 does not divide the hop length 64",
        ),
        (
            lambda: ModelConfig(wavenet=WaveNetConfig(bands=4, conditioning_frames=32, conditioning_channels=8)),
            r"bands=4 times model\.wavenet\.conditioning_frames=32 does not divide the hop length 64",
        ),
        (
            lambda: ModelConfig(encoder=EncoderConfig(strides=[2]), wavenet=WaveNetConfig(bands=4)),
            r"bands=4 times .*=1 does not divide the hop length 2",
        ),
        (
            lambda: ModelConfig(wavenet=WaveNetConfig(conditioning_frames=2)),
            r"conditioning_frames and spectrum_weight need model\.wavenet\.conditioning_channels above 0",
        ),
        (
            lambda: ModelConfig(encoder=CENTRED, wavenet=WaveNetConfig(spectrum_weight=1.0)),
            r"conditioning_frames and spectrum_weight need model\.wavenet\.conditioning_channels above 0",
        ),
        (
            lambda: ModelConfig(wavenet=WaveNetConfig(spectrum_weight=1.0, conditioning_channels=8)),
            r"centred and model\.wavenet\.spectrum_weight need model\.encoder\.filterbank",
        ),
        (
            lambda: ModelConfig(encoder=EncoderConfig(centred=True)),
            r"centred and model\.wavenet\.spectrum_weight need model\.encoder\.filterbank",
        ),
        (lambda: ModelConfig(quantizer=QuantizerConfig(groups=3)), r"quantizer\.dim=64 is not a multiple of groups=3"),
        (
            lambda: ModelConfig(wavenet=WaveNetConfig(pitch_taps=3)),
            r"pitch_taps=3: expected 0 or an odd number, and model\.pitch above 0",
        ),
        (lambda: ModelConfig(pitch=8, wavenet=WaveNetConfig(pitch_taps=2)), r"pitch_taps=2: expected 0 or an odd"),
        (lambda: ModelConfig(pitch=2), r"model\.pitch=2: expected 0, or 3 classes or more"),
        (lambda: ModelConfig(pitch=8, bottleneck="gaussian"), r"gaussian has no units: model\.pitch"),
        (
            lambda: ModelConfig(
                bottleneck="gaussian",
                encoder=CENTRED,
                wavenet=WaveNetConfig(spectrum_weight=1.0, conditioning_channels=8),
            ),
            r"gaussian has no units: .*spectrum_weight",
        ),
        (lambda: TrainRun(train=TrainConfig(crop_length=1000)), r"crop_length=1000 is not .* 64 .*crop_length=960"),
        (
            lambda: TrainRun(train=TrainConfig(crop_length=960, spoken_length=100)),
            r"spoken_length=100: expected a multiple of .* 64",
        ),
        (
            lambda: TrainRun(train=TrainConfig(warp=0.1)),
            r"warp and train\.equaliser_db .* need model\.encoder\.filterbank",
        ),
        (lambda: TrainRun(train=TrainConfig(equaliser_db=1.0)), r"equaliser_db .* need model\.encoder\.filterbank"),
    ],
)
def test_sizes_have_to_fit_each_other(make, message):
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_of_a_short_crop_all_is_said():
    """`small` with `train.crop_length=3200` has nothing more to be told."""
    for spoken, said in ((0, 960), (640, 640), (960, 960), (5120, 960)):
        assert TrainRun(train=TrainConfig(crop_length=960, spoken_length=spoken)).train.spoken_samples == said


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
