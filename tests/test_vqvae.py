import math

import pytest
import torch

from audio_vq.config import EncoderConfig, ModelConfig, QuantizerConfig, WaveNetConfig, hop_length
from audio_vq.models.vqvae import bits_per_sample, build_vqvae


def tiny_config(update="ema", filterbank=0):
    return ModelConfig(
        encoder=EncoderConfig(strides=[4, 4], channels=16, residual_blocks=1, layer_norm=True, filterbank=filterbank),
        quantizer=QuantizerConfig(codebook_size=16, dim=8, update=update),
        wavenet=WaveNetConfig(
            layers=4, dilation_cycle=4, residual_channels=8, skip_channels=16, speaker_channels=4,
            conditioning_channels=8, conditioning_frames=2,
        ),
    )  # fmt: skip


@pytest.fixture
def batch():
    """Noise that is loud or soft for a unit at a time: nobody can tell which from the past alone."""
    torch.manual_seed(0)
    loud = torch.rand(4, 32).round().repeat_interleave(16, 1)
    speaker = torch.tensor([0, 1, 0, 1])
    offset = 0.3 * speaker[:, None]  # what tells the two speakers apart
    return offset + torch.randn(4, 512) * (0.003 + 0.15 * loud), speaker


def model_of(config):
    torch.manual_seed(0)
    return build_vqvae(config, num_speakers=2)


def test_hop_length_is_derived_in_one_way():
    for filterbank in (0, 8):
        config = tiny_config(filterbank=filterbank)
        assert model_of(config).hop_length == hop_length(config) == (160 if filterbank else 1) * 16


def test_untrained_bits_are_those_of_a_guess(batch):
    """256 classes, nothing known: about 8 bits per sample."""
    losses = model_of(tiny_config())(*batch)
    assert losses.reconstruction.item() == pytest.approx(8, abs=0.3)


@pytest.mark.parametrize("update", ["loss", "ema"])
def test_total_is_the_sum_of_its_parts(batch, update):
    model = model_of(tiny_config(update))
    losses = model(*batch)
    codebook, commitment = losses.quantized.codebook_loss, losses.quantized.commitment_loss
    expected = (codebook * (update == "loss") + 0.25 * commitment) / math.log(2)
    assert expected > 0
    torch.testing.assert_close(losses.total, losses.reconstruction + expected)


def test_without_quantisation_the_decoder_reads_latents(batch):
    model = model_of(tiny_config())
    losses = model(*batch, quantize=False)
    assert losses.total.item() == losses.reconstruction.item()
    expected = bits_per_sample(model.wavenet, batch[0], losses.encoded, batch[1])
    torch.testing.assert_close(losses.reconstruction, expected)


def test_gradient_reaches_the_encoder_through_the_quantiser(batch):
    model = model_of(tiny_config())
    model(*batch).reconstruction.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.encoder.parameters())


def test_conditioning_bits_show_what_units_are_worth(batch):
    """Overfitted on a few clips, the model needs its own units; an untrained one does not care."""
    model = model_of(tiny_config())
    fresh = model.conditioning_bits(*batch, num_speakers=2)
    assert abs(fresh.bits_shuffled - fresh.bits_true) < 0.05
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
    losses = model(*batch, quantize=False)
    for step in range(160):
        if step == 80:  # quantisation begins, at encoder outputs
            latents = losses.encoded.transpose(1, 2).flatten(0, 1)
            model.quantizer.place(latents[torch.randperm(len(latents))[:16]], torch.ones(16))
        losses = model(*batch, quantize=step >= 80)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        if step >= 80:
            model.quantizer.update(model.quantizer.statistics(losses.encoded, losses.quantized.units))
    trained = model.eval().conditioning_bits(*batch, num_speakers=2)
    assert trained.bits_true < 6
    assert trained.bits_shuffled > trained.bits_true + 0.1
    assert trained.bits_zero > trained.bits_true
    assert trained.bits_wrong_speaker > trained.bits_true


def test_nobody_else_to_compare_with():
    model = build_vqvae(tiny_config(), num_speakers=1)
    bits = model.conditioning_bits(torch.zeros(1, 64), torch.zeros(1, dtype=torch.int64), num_speakers=1)
    assert bits.bits_shuffled is None
    assert bits.bits_wrong_speaker is None
