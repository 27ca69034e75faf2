import math

import pytest
import torch

from audio_vq.models.encoder import ChannelNorm, Encoder, Filterbank, gabor_filters

PRESETS = {64: [2] * 6, 128: [2] * 7, 320: [4, 4, 5, 4], 640: [5, 4, 4, 4, 2]}


def small(strides, filterbank=None, layer_norm=True, residual_blocks=1):
    torch.manual_seed(0)
    return Encoder(strides, 6, 4, residual_blocks, layer_norm, filterbank).double()


@pytest.mark.parametrize("hop", PRESETS)
def test_time_shrinks_by_the_hop_length(hop):
    encoder = small(PRESETS[hop])
    assert encoder.hop_length == hop == math.prod(PRESETS[hop])
    assert encoder(torch.randn(2, 3 * hop).double()).shape == (2, 4, 3)


def with_filterbank():
    return small([2, 2], Filterbank(8, 16000, 160))


@pytest.mark.parametrize("make", [lambda: small([2, 3, 2], residual_blocks=2), with_filterbank])
def test_a_unit_depends_on_its_reach_only(make):
    """The gradient of one latent is zero outside `reach` around its stretch, and the bound is not idle."""
    encoder = make()
    hop, reach, middle = encoder.hop_length, encoder.reach, 12
    waveform = torch.randn(1, 25 * hop).double().requires_grad_()
    encoder(waveform)[0, :, middle].sum().backward()
    touched = torch.nonzero(waveform.grad[0]).flatten()
    first, last = middle * hop - touched[0].item(), touched[-1].item() - (middle + 1) * hop + 1
    assert 0 < max(first, last) <= reach < 2 * max(first, last) + 2 * hop


@pytest.mark.parametrize("make", [lambda: small([2, 3, 2]), with_filterbank])
def test_latents_do_not_depend_on_company(make):
    """Alone, in a batch, and inside a longer recording: the same latents, but within reach of the ends."""
    encoder = make()
    hop = encoder.hop_length
    edge = -(-encoder.reach // hop)
    recording = torch.randn(1, 30 * hop).double()
    alone = encoder(recording)
    batch = encoder(torch.cat([torch.randn(1, 30 * hop).double(), recording]))[1:]
    torch.testing.assert_close(batch, alone, rtol=1e-12, atol=1e-12)
    padded = torch.cat([torch.zeros(1, 7 * hop), recording, torch.zeros(1, 4 * hop)], 1)
    inside = encoder(padded)[..., 7 : 7 + 30]
    torch.testing.assert_close(inside[..., edge:-edge], alone[..., edge:-edge], rtol=1e-12, atol=1e-12)


def test_gabor_filters_have_unit_gain_at_their_centres():
    rate, window, filters = 16000, 400, 40
    kernel = gabor_filters(filters, rate, window)[:, 0].double()
    response = torch.fft.rfft(torch.complex(kernel[:filters], kernel[filters:]).real, 16384).abs()
    centres = response.argmax(1)
    assert (centres.diff() > 0).all()  # ordered in frequency
    time = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    for f in (5, 20, 35):
        angle = 2 * math.pi * centres[f] / 16384 * time
        gain = (torch.complex(kernel[f], kernel[filters + f]) * torch.exp(-1j * angle)).sum().abs()
        assert gain == pytest.approx(1.0, abs=0.01)


def test_filterbank_hears_a_tone_where_it_is():
    bank = Filterbank(40, 16000, 160)
    time = torch.arange(16000) / 16000
    peaks = [bank(0.1 * torch.sin(2 * math.pi * hertz * time)[None])[0].mean(1).argmax() for hertz in (300, 1000, 4000)]
    assert peaks[0] < peaks[1] < peaks[2]


def test_channel_norm_normalises_each_time_step():
    x = torch.randn(2, 16, 9) * 5 + 3
    y = ChannelNorm(16)(x)
    torch.testing.assert_close(y.mean(1), torch.zeros(2, 9), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var(1, unbiased=False), torch.ones(2, 9), rtol=1e-3, atol=1e-3)
