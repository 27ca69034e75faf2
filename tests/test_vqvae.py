import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

from audio_vq.config import EncoderConfig, ModelConfig, QuantizerConfig, WaveNetConfig, hop_length
from audio_vq.models.filterbank import Perturbation
from audio_vq.models.vqvae import NATS_TO_BITS, Heard, build_vqvae, pitch_channels, spoken_part
from audio_vq.pitch import PitchRange, contour_of


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
    return Heard(offset + torch.randn(4, 512) * (0.003 + 0.15 * loud), speaker)


def model_of(config):
    torch.manual_seed(0)
    return build_vqvae(config, num_speakers=2)


def test_hop_length_is_derived_in_one_way():
    for filterbank in (0, 8):
        config = tiny_config(filterbank=filterbank)
        assert model_of(config).hop_length == hop_length(config) == (160 if filterbank else 1) * 16


def test_untrained_bits_are_those_of_a_guess(batch):
    """256 classes, nothing known: about 8 bits per sample."""
    losses = model_of(tiny_config())(batch)
    assert losses.reconstruction.item() == pytest.approx(8, abs=0.3)


@pytest.mark.parametrize("update", ["loss", "ema"])
def test_total_is_the_sum_of_its_parts(batch, update):
    model = model_of(tiny_config(update))
    losses = model(batch)
    codebook, commitment = losses.quantized.codebook_loss, losses.quantized.commitment_loss
    expected = (codebook * (update == "loss") + 0.25 * commitment) / math.log(2)
    assert expected > 0
    torch.testing.assert_close(losses.total, losses.reconstruction + expected)


def test_without_quantisation_the_decoder_reads_latents(batch):
    model = model_of(tiny_config())
    losses = model(batch, quantize=False)
    assert losses.total.item() == losses.reconstruction.item()
    targets = model.wavenet.bands.encode(batch.waveform)
    expected = model.wavenet.loss(targets, losses.encoded, batch.speaker) * NATS_TO_BITS
    torch.testing.assert_close(losses.reconstruction, expected)


def test_gradient_reaches_the_encoder_through_the_quantiser(batch):
    model = model_of(tiny_config())
    model(batch).reconstruction.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.encoder.parameters())


def test_conditioning_bits_show_what_units_are_worth(batch):
    """Overfitted on a few clips, the model needs its own units; an untrained one does not care."""
    model = model_of(tiny_config())
    fresh = model.conditioning_bits(batch, num_speakers=2)
    assert abs(fresh.bits_shuffled - fresh.bits_true) < 0.05
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
    losses = model(batch, quantize=False)
    for step in range(160):
        if step == 80:  # quantisation begins, at encoder outputs
            latents = losses.encoded.transpose(1, 2).flatten(0, 1)
            model.quantizer.place(latents[torch.randperm(len(latents))[:16]][None], torch.ones(1, 16))
        losses = model(batch, quantize=step >= 80)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        if step >= 80:
            model.quantizer.update(model.quantizer.statistics(losses.encoded, losses.quantized.units))
    trained = model.eval().conditioning_bits(batch, num_speakers=2)
    assert trained.bits_true < 6
    assert trained.bits_shuffled > trained.bits_true + 0.1
    assert trained.bits_zero > trained.bits_true
    assert trained.bits_wrong_speaker > trained.bits_true


def test_nobody_else_to_compare_with():
    model = build_vqvae(tiny_config(), num_speakers=1)
    bits = model.conditioning_bits(Heard(torch.zeros(1, 64), torch.zeros(1, dtype=torch.int64)), num_speakers=1)
    assert bits.bits_shuffled is None
    assert bits.bits_wrong_speaker is None


# ---- bands, groups, pitch, a centred encoder, a spectrum


def full_config():
    """Everything at once: 320 samples per unit in two filterbank frames, 2 × 80 steps of two bands."""
    return ModelConfig(
        pitch=9,
        encoder=EncoderConfig(strides=[2], channels=16, layer_norm=True, filterbank=16, centred=True),
        quantizer=QuantizerConfig(codebook_size=16, dim=8, groups=2, update="ema"),
        wavenet=WaveNetConfig(
            bands=2, layers=4, dilation_cycle=4, residual_channels=16, skip_channels=16, speaker_channels=4,
            conditioning_channels=8, conditioning_frames=2, spectrum_weight=0.5,
        ),
    )  # fmt: skip


def full_batch(units=4):
    torch.manual_seed(0)
    return Heard(
        waveform=0.1 * torch.randn(3, units * 320),
        speaker=torch.tensor([0, 1, 0]),
        mean=torch.randn(3, 16),
        pitch=torch.randint(9, (3, units)),
    )


def test_track_sizes():
    assert model_of(tiny_config()).track_sizes == (16,)
    assert model_of(full_config()).track_sizes == (16, 16, 9)


def test_codes_are_units_then_pitch():
    """`encode` and `lookup` are the two halves of what the decoder reads."""
    model, heard = model_of(full_config()), full_batch()
    codes = model.encode(heard)
    assert codes.shape == (3, 3, 4)
    for track, size in zip(codes.unbind(1), model.track_sizes, strict=True):
        assert 0 <= track.min() <= track.max() < size
    assert torch.equal(codes[:, 2], heard.pitch)
    assert torch.equal(model.lookup(codes), model.read(heard))
    assert model.read(heard).shape == (3, 8 + 2, 4)


def test_pitch_changes_what_the_decoder_reads_and_not_the_units():
    model, heard = model_of(full_config()), full_batch()
    other = dataclasses.replace(heard, pitch=(heard.pitch + 1) % 9)
    assert torch.equal(model.encode(heard)[:, :2], model.encode(other)[:, :2])
    read, read_other = model.read(heard), model.read(other)
    assert torch.equal(read[:, :8], read_other[:, :8])
    assert (read[:, 8:] != read_other[:, 8:]).any(1).all()
    assert model(heard).reconstruction != model(other).reconstruction


@pytest.mark.parametrize("classes", [3, 9, 32])
def test_pitch_is_read_as_a_height(classes):
    """Unvoiced apart; voiced classes evenly from low to high, at the height they stand for in spreads."""
    voiced, up = pitch_channels(torch.arange(classes)[None], classes)[0]
    assert voiced.tolist() == [-1] + [1] * (classes - 1)
    assert up[0] == 0
    hertz = torch.from_numpy(contour_of(torch.arange(1, classes).numpy(), PitchRange(100.0, 2.0), classes))
    torch.testing.assert_close(up[1:], 12 * torch.log2(hertz / 100) / 2, rtol=1e-4, atol=1e-5)


def test_shuffled_units_keep_their_own_pitch():
    model, heard = model_of(full_config()).eval(), full_batch()
    bits = model.conditioning_bits(heard, num_speakers=2)
    targets, latents = model.wavenet.bands.encode(heard.waveform), model.latents(heard)

    def of(latents):
        read = model.with_pitch(latents, heard.pitch)
        return model.wavenet.loss(targets, read, heard.speaker).item() * NATS_TO_BITS

    assert bits.bits_true == pytest.approx(of(latents))
    assert bits.bits_shuffled == pytest.approx(of(latents.roll(1, 0)))
    assert bits.bits_zero == pytest.approx(of(torch.zeros_like(latents)))
    assert bits.bits_true == pytest.approx(model(heard).reconstruction.item())


def test_the_spectrum_is_said_of_the_true_one():
    """Its error is part of the total: of the clip's own spectrum, mean and all, not of what the encoder hears."""
    model, heard = model_of(full_config()), full_batch()
    perturbation = Perturbation(0.2, 3.0)
    torch.manual_seed(1)
    losses = model(heard, perturbation)
    spectrum = model.encoder.spectrum(heard.waveform, heard.mean)
    torch.manual_seed(1)
    encoded = model.encoder.of_spectrum(perturbation(spectrum, 16000))
    assert torch.equal(losses.encoded, encoded)
    read = model.with_pitch(losses.quantized.latents, heard.pitch)
    said = model.wavenet.conditioner.with_spectrum(read, heard.speaker)[1]
    error = F.mse_loss(said.unflatten(2, (2, 16)).flatten(1, 2), model.encoder.filterbank(heard.waveform))
    expected = losses.reconstruction + (losses.quantized.cost + 0.5 * error) * NATS_TO_BITS
    torch.testing.assert_close(losses.total, expected)


def test_every_parameter_that_learns_gets_a_gradient():
    """Data parallelism relies on it; with the codebook idle and the decoder saying a part, too."""
    for quantize, spoken in ((True, None), (False, 2)):
        model = model_of(full_config())
        model(full_batch(), Perturbation(0.2, 3.0), quantize, spoken).total.backward()
        for name, parameter in model.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name
        assert all(p.grad.abs().sum() > 0 for p in model.encoder.parameters() if p.requires_grad)


@pytest.mark.parametrize("units", [1, 3, 7])
def test_targets_and_conditioning_are_cut_at_the_same_units(units):
    """Numbered by their units, they stay together, whatever their rates; each clip has a place of its own."""
    torch.manual_seed(0)
    number = torch.arange(7)
    targets = number.repeat_interleave(10).expand(40, 2, -1)
    conditioning = number.repeat_interleave(4)[:, None].expand(40, 3, -1, 5).double()
    cut, frames = spoken_part(targets, conditioning, 7, units)
    assert cut.shape == (40, 2, 10 * units)
    assert frames.shape == (40, 3, 4 * units, 5)
    first = cut[:, 0, 0]
    expected = first[:, None] + torch.arange(units)
    assert torch.equal(cut[:, 1], expected.repeat_interleave(10, 1))
    assert torch.equal(frames[:, 2, :, 4], expected.repeat_interleave(4, 1).double())
    assert set(first.tolist()) == set(range(8 - units))


def test_all_is_spoken_by_default():
    model, heard = model_of(full_config()), full_batch()
    torch.manual_seed(0)
    torch.testing.assert_close(model(heard, spoken_units=4).total, model(heard).total)
    assert model(heard, spoken_units=1).reconstruction != model(heard).reconstruction
    assert model(heard, spoken_units=1).quantized.cost == model(heard).quantized.cost


def test_a_batch_splits_with_all_that_is_known_of_it():
    first, second = full_batch().split(2)
    whole = full_batch()
    assert len(first.speaker) == 2
    for name in ("waveform", "speaker", "mean", "pitch"):
        assert torch.equal(torch.cat([getattr(first, name), getattr(second, name)]), getattr(whole, name)), name
    (alone,) = Heard(whole.waveform, whole.speaker).split(3)
    assert alone.mean is None
    assert alone.pitch is None
