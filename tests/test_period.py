"""One pitch period ago: how long it is, and that a decoder sees what was said then."""

import pytest
import torch

from audio_vq.config import EncoderConfig, ModelConfig, QuantizerConfig, WaveNetConfig
from audio_vq.models.period import LOWEST_HZ, PitchPeriod
from audio_vq.models.vqvae import build_vqvae, pitch_channels
from audio_vq.pitch import PitchRange, contour_of

RATE, CLASSES = 16000, 32


@pytest.fixture
def period():
    period = PitchPeriod(2, step_rate=4000, shortest=2)
    period.fit([(100.0, 2.0), (200.0, 4.0)])
    return period


def test_periods_by_hand(period):
    voiced, up = torch.tensor([[1.0, 1.0, -1.0, 1.0]]), torch.tensor([[0.0, 3.0, 0.0, -9.0]])
    latents = torch.stack([torch.randn(1, 4), voiced, up], 1)
    man, woman = period(latents, torch.tensor([0]))[0], period(latents, torch.tensor([1]))[0]
    lowest = 4000 / LOWEST_HZ
    # three spreads up are half an octave for him, a whole one for her; nine down are below all that is asked for
    assert man.tolist() == [40, round(40 / 2**0.5), 0, lowest]
    assert woman.tolist() == [20, 10, 0, lowest]


def test_short_periods_have_a_limit():
    period = PitchPeriod(1, step_rate=500, shortest=3)
    period.fit([(400.0, 2.0)])
    assert period(torch.ones(1, 2, 1), torch.tensor([0])).item() == 3


def test_periods_of_pitch_classes_are_those_of_the_contour(period):
    classes = torch.arange(CLASSES)[None]
    periods = period(pitch_channels(classes, CLASSES), torch.tensor([1]))[0]
    hertz = torch.from_numpy(contour_of(classes[0].numpy(), PitchRange(200.0, 4.0), CLASSES))
    torch.testing.assert_close(periods[1:], (4000 / hertz[1:]).round().clamp(2, 80))
    assert periods[0] == 0


@pytest.mark.parametrize("taps", [1, 3])
def test_a_step_sees_what_was_said_one_period_ago(taps):
    config = ModelConfig(
        RATE,
        mu_law_classes=16,
        pitch=CLASSES,
        encoder=EncoderConfig(strides=[160], channels=4),
        quantizer=QuantizerConfig(8, 8),
        wavenet=WaveNetConfig(2, 2, 2, 2, 8, 8, pitch_taps=taps),
    )
    wavenet = build_vqvae(config, 1).wavenet
    wavenet.conditioner.period.fit([(500.0, 2.0)])  # periods of some 16 steps
    targets = torch.randint(16, (1, 2, 3 * 80))
    pitch = torch.tensor([[12, 0, 20]])
    latents = torch.cat([torch.randn(1, 8, 3), pitch_channels(pitch, CLASSES)], 1)
    speaker = torch.tensor([0])
    periods = wavenet.conditioner.period(latents, speaker)[0].int().tolist()
    seen = wavenet.seen(targets, wavenet.conditioner(latents, speaker))[0]
    tables = wavenet.embedding.weight.split(16)
    assert len(tables) == 2 * (1 + taps) + 1
    for t in (0, 5, 79, 80, 100, 159, 170, 239):
        expected = (
            [wavenet.silence, wavenet.silence + 16] if t == 0 else [targets[0, 0, t - 1], 16 + targets[0, 1, t - 1]]
        )
        for tap in range(taps):
            ago = t - periods[t // 80] + tap - taps // 2
            for band in range(2):
                table = 2 * (1 + tap) + band
                there = periods[t // 80] and ago >= 0
                expected.append(16 * table + targets[0, band, ago] if there else 16 * 2 * (1 + taps))
        assert seen[t].tolist() == [int(row) for row in expected], t
