"""The prior as users meet it: shapes, refusals, and from a model with groups and pitch to sound."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_prior import ONE, THREE, each_track_sizes, make_prior

from audio_vq import VQVAE, UnitPrior
from audio_vq.audio.files import read_audio, write_audio
from audio_vq.checkpoint import CheckpointInfo
from audio_vq.cli.sample import sample
from audio_vq.config import (
    EncoderConfig,
    ModelConfig,
    PriorConfig,
    QuantizerConfig,
    TrainConfig,
    TrainPriorRun,
    WaveNetConfig,
    as_dict,
)
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.errors import UserError
from audio_vq.models.vqvae import build_vqvae
from audio_vq.training.runs import run_prior
from audio_vq.unit_files.files import read_units


def make_unit_prior(sizes):
    data = {"unit_rate_hz": 50.0, "track_sizes": list(sizes), "fingerprint": "one"}
    info = CheckpointInfo("prior", {}, ("ann", "ben", "cleo"), data)
    return UnitPrior(make_prior(sizes=sizes), PriorConfig(), info)


@each_track_sizes
def test_samples_are_shaped_as_the_models_units(sizes):
    prior = make_unit_prior(sizes)
    drawn = prior.sample("ben", seconds=0.5, count=2, seed=1)
    assert [each.shape for each in drawn] == [(25,) if len(sizes) == 1 else (3, 25)] * 2
    again = prior.sample("ben", seconds=0.5, seed=1, prompt=drawn[1])
    assert again[0].shape == drawn[0].shape
    assert (again[0] != drawn[0]).any()


def test_impossible_wishes_are_refused():
    one, three = make_unit_prior(ONE), make_unit_prior(THREE)
    for prior, prompt, expected in (
        (one, np.zeros((3, 8), int), r"shape \(3, 8\); expected a code of \(units,\)"),
        (one, np.zeros((1, 8), int), r"shape \(1, 8\)"),
        (one, np.zeros(0, int), r"shape \(0,\)"),
        (three, np.zeros(8, int), r"expected a code of \(3, units\)"),
        (three, np.full((3, 8), 5), r"from 5 to 5; its tracks have \(12, 12, 5\) values"),
        (one, np.full(8, -1), "from -1 to -1"),
    ):
        with pytest.raises(UserError, match=expected):
            prior.sample("ann", seconds=1, prompt=prompt)
    with pytest.raises(UserError, match="0 seconds"):
        one.sample("ann", seconds=0)
    with pytest.raises(UserError, match="0 sequences"):
        one.sample("ann", seconds=1, count=0)
    with pytest.raises(UserError, match="another checkpoint"):
        one.check_units_of(SimpleNamespace(fingerprint="two"))


@pytest.fixture(scope="module")
def model(tiny_corpus, tmp_path_factory):
    """A checkpoint with fresh weights: two bands, two groups, eight classes of pitch; 100 units a second."""
    config = ModelConfig(
        pitch=8,
        encoder=EncoderConfig(strides=[4, 4, 10], channels=8, residual_blocks=0),
        quantizer=QuantizerConfig(codebook_size=16, dim=8, groups=2),
        wavenet=WaveNetConfig(
            bands=2, layers=2, dilation_cycle=2, residual_channels=16, skip_channels=16, conditioning_frames=1
        ),
    )
    torch.manual_seed(0)
    info = CheckpointInfo("vqvae", as_dict(config), PreparedCorpus.open(tiny_corpus).speakers)
    folder = tmp_path_factory.mktemp("model") / "checkpoint"
    VQVAE(build_vqvae(config, len(info.speakers)), config, info).save_pretrained(folder)
    return folder


def test_groups_and_pitch_are_learned_drawn_and_spoken(model, tiny_corpus, tmp_path):
    config = PriorConfig(layers=1, heads=2, channels=16, context=16)
    train = TrainConfig(steps=2, batch_size=2, validations=1)
    run = TrainPriorRun(str(model), str(tiny_corpus), str(tmp_path / "prior"), config, train, device="cpu")
    run_prior(run)
    record = json.loads((tmp_path / "prior/metrics.jsonl").read_text().splitlines()[-1])
    assert record["track_sizes"] == [16, 16, 8]
    assert len(record["valid"]["bits_per_track"]) == 3

    write_audio(tmp_path / "in.wav", beginning_of(tiny_corpus), 16000)
    sample(str(run.run), str(model), "ben", tmp_path / "out", 0.1, 2, prompt=tmp_path / "in.wav", device="cpu")
    recording = read_audio(tmp_path / "in.wav")
    prompt = VQVAE.from_pretrained(model).encode(recording.waveform, recording.sample_rate)
    assert prompt.shape == (3, 30)
    for number, sequence in enumerate(read_units(tmp_path / "out/units.jsonl"), 1):
        assert sequence.units.shape == (3, 40)
        np.testing.assert_array_equal(sequence.units[:, :30], prompt)
        assert len(read_audio(tmp_path / f"out/ben_{number}.wav").waveform) == 40 * 160
    with pytest.raises(UserError, match=r"none\.wav"):
        sample(str(run.run), str(model), "ben", tmp_path / "no", prompt=tmp_path / "none.wav", device="cpu")


def beginning_of(corpus):
    """0.3 s of its first recording."""
    opened = PreparedCorpus.open(corpus)
    return opened.waveform(opened.utterances[0])[:4800]
