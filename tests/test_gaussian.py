"""Gaussian latents: the bound, its gradient, its remedies, and a model that trains with them."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from test_cli import call, mistake
from test_training import MODEL, TRAIN, run_of
from test_vqvae import batch, tiny_config  # noqa: F401 - a fixture
from torch.distributions import Normal, kl_divergence

from audio_vq.audio.files import write_audio
from audio_vq.checkpoint import load_weights
from audio_vq.config import GaussianConfig
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.errors import UserError
from audio_vq.models.filterbank import Perturbation
from audio_vq.models.gaussian import GaussianBottleneck, build_gaussian_vae
from audio_vq.models.vqvae import NATS_TO_BITS, Heard
from audio_vq.pretrained import VQVAE
from audio_vq.training.gaussian_task import GaussianTask
from audio_vq.training.runs import run_vqvae


def gaussian_config(**options):
    return dataclasses.replace(tiny_config(), bottleneck="gaussian", gaussian=GaussianConfig(**options))


def gaussian_model(**options):
    torch.manual_seed(0)
    return build_gaussian_vae(gaussian_config(**options), num_speakers=2)


def test_kl_is_that_of_the_distributions():
    torch.manual_seed(0)
    outputs = torch.randn(3, 10, 7, dtype=torch.float64)
    mean, log_variance = outputs.float().chunk(2, 1)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(GaussianBottleneck(hop_length=4)(outputs).kl, expected)


def test_the_bound_by_hand():
    """One unit of 4 samples, 2 channels: mean 1 and variance 1 costs 1/2 nat, mean 0 and variance e² (e² − 3) / 2."""
    outputs = torch.tensor([1.0, 0.0, 0.0, 2.0]).reshape(1, 4, 1)
    by_hand = (0.5 + (math.e**2 - 3) / 2) / 4  # nats per sample
    assert GaussianBottleneck(4)(outputs).cost.item() == pytest.approx(by_hand, rel=1e-6)
    assert GaussianBottleneck(4, kl_weight=3)(outputs, 0.5).cost.item() == pytest.approx(1.5 * by_hand, rel=1e-6)


def test_total_is_the_bound_in_bits_per_sample(batch):  # noqa: F811
    model = gaussian_model().eval()
    losses = model(batch)
    kl = losses.latents.kl.sum(1).mean() / model.hop_length / math.log(2)
    assert kl > 0
    targets = model.wavenet.bands.encode(batch.waveform)
    bits = model.wavenet.loss(targets, losses.latents.latents, batch.speaker) * NATS_TO_BITS
    torch.testing.assert_close(losses.total, bits + kl)
    assert torch.equal(model.latents(batch), losses.latents.latents)  # the means


def test_samples_in_training_have_mean_and_variance_and_evaluation_is_the_mean():
    torch.manual_seed(0)
    outputs = torch.tensor([1.0, -2.0, 0.0, 2.0]).reshape(1, 4, 1).expand(1, 4, 100_000)
    bottleneck = GaussianBottleneck(4)
    samples = bottleneck.train()(outputs).latents[0]
    # 100,000 draws: the mean is off by more than 5 σ / √n once in a million
    torch.testing.assert_close(samples.mean(1), torch.tensor([1.0, -2.0]), atol=5 * math.e / 316, rtol=0)
    torch.testing.assert_close(samples.std(1), torch.tensor([1.0, math.e]), rtol=0.02, atol=0)
    mean = torch.tensor([1.0, -2.0])[None, :, None].expand(1, 2, 100_000)
    assert torch.equal(bottleneck.eval()(outputs).latents, mean)


def test_gradient_reaches_mean_and_variance_through_the_decoder(batch):  # noqa: F811
    model = gaussian_model()
    model(batch).reconstruction.backward()
    output = model.encoder.layers[-1]
    assert output.weight.shape[0] == 16  # mean and log-variance of 8 channels
    assert (output.weight.grad.abs().flatten(1).sum(1) > 0).all()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.encoder.parameters())


def test_bands_a_centred_encoder_and_a_spoken_part_as_with_units(batch):  # noqa: F811
    config = gaussian_config()
    encoder = dataclasses.replace(config.encoder, strides=[1], filterbank=16, centred=True)
    config = dataclasses.replace(config, encoder=encoder, wavenet=dataclasses.replace(config.wavenet, bands=2))
    torch.manual_seed(0)
    model = build_gaussian_vae(config, num_speakers=2).eval()
    heard = dataclasses.replace(batch, waveform=batch.waveform[:, :480], mean=torch.randn(4, 16))
    whole, part = model(heard), model(heard, spoken_units=1)
    assert part.reconstruction != whole.reconstruction
    assert torch.equal(part.latents.latents, whole.latents.latents)
    assert model.conditioning_bits(heard, 2).bits_true == pytest.approx(whole.reconstruction.item())
    other = dataclasses.replace(heard, mean=torch.randn(4, 16))
    for changed in (model(other), model(heard, Perturbation(0.2, 3.0))):
        assert not torch.equal(changed.latents.latents, whole.latents.latents)


def test_free_bits_cost_nothing_and_pull_nothing():
    """A channel below the allowance costs the allowance, without gradient; one above costs what it is."""
    outputs = torch.tensor([2.0, 0.1, 0.0, 0.0]).reshape(1, 4, 1).requires_grad_()
    result = GaussianBottleneck(hop_length=1, free_bits=1.0)(outputs)
    assert result.cost.item() == pytest.approx(2.0**2 / 2 + math.log(2), rel=1e-6)  # nats
    result.cost.backward()
    assert outputs.grad[0, :, 0].tolist() == pytest.approx([2.0, 0.0, 0.0, 0.0])


def test_annealing_is_linear_then_full(tiny_corpus):
    accelerator, corpus = Accelerator(cpu=True), PreparedCorpus.open(tiny_corpus)
    for share, expected in ((0.2, [0, 0.25, 0.5, 1, 1]), (0.0, [1] * 5)):
        config = dataclasses.replace(MODEL, bottleneck="gaussian", gaussian=GaussianConfig(anneal_share=share))
        task = GaussianTask(corpus, config, TRAIN, seed=0)
        annealing = []
        for progress in (0.0, 0.05, 0.1, 0.2, 0.9):
            assert not task.before_step(accelerator, task.network, progress, 0)
            annealing.append(task.annealing)
        assert annealing == pytest.approx(expected)


def test_a_wider_path_is_learned_where_the_kl_is_free(batch):  # noqa: F811
    """The same steps on the same clips: with a free KL the latents carry something, at weight 50 next to nothing.

    The decoder is wide enough for the compiled kernels: gradients reach the bottleneck through them.
    """
    wavenet = dataclasses.replace(tiny_config().wavenet, residual_channels=16, conditioning_frames=1)
    carried = []
    for weight in (0.0, 50.0):
        torch.manual_seed(0)
        config = dataclasses.replace(gaussian_config(kl_weight=weight), wavenet=wavenet)
        model = build_gaussian_vae(config, num_speakers=2)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(12):
            losses = model(batch)
            optimizer.zero_grad()
            losses.total.backward()
            optimizer.step()
        carried.append(float(losses.latents.nats_per_unit))
    assert carried[0] > 1  # nats per unit
    assert carried[1] < 0.05


def gaussian_run(corpus, folder, **changes):
    run = run_of(corpus, folder, **changes)
    return dataclasses.replace(
        run, model=dataclasses.replace(MODEL, bottleneck="gaussian", gaussian=GaussianConfig(anneal_share=0.5))
    )


@pytest.fixture(scope="module")
def finished(tiny_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gaussian") / "run"
    run_vqvae(gaussian_run(tiny_corpus, folder))
    return folder


def test_validation_tells_bits_and_kl(finished):
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8]
    for line in lines:
        assert line["valid"].keys() == {"bits_true", "bits_shuffled", "bits_zero", "bits_wrong_speaker"}
        assert line["kl_nats_per_unit"] > 0
        assert "perplexity" not in line
    assert [line["kl_weight"] for line in lines] == [0.75, 1.0]  # of the last step: 3/8 and 7/8 of the way, over half
    assert list(finished.glob("samples/*/*.wav"))


def test_resumed_equals_uninterrupted_bit_for_bit(finished, tiny_corpus, tmp_path, monkeypatch):
    run = gaussian_run(tiny_corpus, tmp_path / "parts")
    original = GaussianTask.after_step

    def after_step(self, accelerator, network, averaged, parts, step):
        original(self, accelerator, network, averaged, parts, step)
        if step == 5:
            raise KeyboardInterrupt  # after the validation at step 4 saved a checkpoint

    with monkeypatch.context() as patch:
        patch.setattr(GaussianTask, "after_step", after_step)
        with pytest.raises(KeyboardInterrupt):
            run_vqvae(run)
    assert json.loads((tmp_path / "parts/last/training.json").read_text())["step"] == 4
    run_vqvae(run)
    for name in ("model.safetensors", "training.safetensors"):
        whole, parts = (load_file(folder / "last" / name) for folder in (finished, tmp_path / "parts"))
        assert whole.keys() == parts.keys()
        for key in whole:
            assert torch.equal(whole[key], parts[key]), key


def test_checkpoint_holds_the_model_which_is_no_vq_vae(finished):
    model = build_gaussian_vae(gaussian_run("", "").model, num_speakers=3)
    load_weights(finished / "best", model)
    assert model.latents(Heard(torch.rand(1, 1280) - 0.5, torch.tensor([0]))).shape == (1, 8, 4)
    with pytest.raises(UserError, match="Gaussian latents"):
        VQVAE.from_pretrained(finished)


def test_verbs_that_need_units_say_so(finished, tiny_corpus, tmp_path):
    out, recording = tmp_path / "out", tmp_path / "hello.wav"
    write_audio(recording, 0.1 * np.ones(4000, np.float32), 16000)
    for arguments in (
        ["encode", finished, tiny_corpus, "--out", out],
        ["convert", finished, recording, "--to", "ben", "--out", out],
        ["train-prior", f"model={finished}", f"data={tiny_corpus}", f"run={out}", "train.steps=1"],
    ):
        assert "Gaussian latents (model.bottleneck=gaussian) and so no units" in mistake(*arguments)
    assert not out.exists()
    facts = json.loads(call("info", finished, "--json")[0])
    assert facts["bottleneck"] == "gaussian"
    assert facts["codebook_size"] is None


@pytest.mark.parametrize(
    "setting", ["model.bottleneck=none", "model.gaussian.anneal_share=1.0", "model.gaussian.free_bits=-1"]
)
def test_settings_that_are_none(setting, tiny_corpus, tmp_path):
    with_it = ["train", f"data={tiny_corpus}", f"run={tmp_path / 'run'}", "train.steps=1", setting]
    assert setting.split("=")[0].rsplit(".", 1)[-1] in mistake(*with_it)
    assert not (tmp_path / "run").exists()
