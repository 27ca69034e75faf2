import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from audio_vq.models.encoder import (
    SHARED_FROM,
    Convolution,
    Encoder,
    Filterbank,
    ResidualBlock,
    gabor_filters,
    padded_rows,
)

PRESETS = {64: [2] * 6, 128: [2] * 7, 320: [4, 4, 5, 4], 640: [5, 4, 4, 4, 2]}


def small(strides, filterbank=None, layer_norm=True, residual_blocks=1):
    torch.manual_seed(0)
    return Encoder(strides, 6, 4, residual_blocks, layer_norm, filterbank).double()


def plain(encoder, waveform):
    """The encoder written with torch's convolutions, `(batch, channels, time)` throughout."""
    x = waveform[:, None]
    if encoder.filterbank:
        bank = encoder.filterbank
        x = plain_convolution(x, bank.kernel, None, bank.stride)
        energy = x[:, : bank.filters] ** 2 + x[:, bank.filters :] ** 2
        pool = bank.pool.expand(bank.filters, 1, -1)
        energy = plain_convolution(energy, pool, None, bank.OVERSAMPLING, groups=bank.filters)
        x = (torch.log(energy + 1e-9) + 12) / 4
    return plain_layers(encoder.layers, x)


def plain_layers(layers, x):
    for layer in layers:
        if isinstance(layer, ResidualBlock):
            x = x + plain_layers(layer.layers, x)
        elif isinstance(layer, Convolution):
            x = plain_convolution(x, layer.weight, layer.bias, layer.stride[0])
        elif isinstance(layer, nn.LayerNorm):
            mean, variance = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
            x = (x - mean) / torch.sqrt(variance + layer.eps) * layer.weight[:, None] + layer.bias[:, None]
        else:
            assert isinstance(layer, nn.ReLU | nn.Identity)
            x = layer(x)
    return x


def plain_convolution(x, weight, bias, stride, groups=1):
    """Padded so that time shrinks by exactly `stride`; where the padding is odd, the longer one is on the right."""
    zeros = weight.shape[2] - stride
    return F.conv1d(F.pad(x, (zeros // 2, zeros - zeros // 2)), weight, bias, stride, groups=groups)


@pytest.mark.parametrize("filterbank", [None, (8, 16000, 160), (8, 22050, 220)])
@pytest.mark.parametrize("layer_norm", [True, False])
def test_equals_torch_convolutions(filterbank, layer_norm):
    """Values and gradients; at 22.05 kHz the filterbank's window of 551 is no multiple of its stride of 55."""
    encoder = small([2, 3, 2], Filterbank(*filterbank) if filterbank else None, layer_norm, residual_blocks=2)
    waveform = 0.1 * torch.randn(2, 5 * encoder.hop_length, dtype=torch.float64)
    latents, expected = encoder(waveform), plain(encoder, waveform)
    torch.testing.assert_close(latents, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(expected)
    parameters = list(encoder.parameters())
    gradients = torch.autograd.grad((latents * direction).sum(), parameters)
    torch.testing.assert_close(
        gradients, torch.autograd.grad((expected * direction).sum(), parameters), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("time", [2, 14, 16])
def test_wide_convolutions_equal_torch_too(time):
    """Where two places share a product; an odd number of places as well."""
    convolution = Convolution(SHARED_FROM // 2, 8, 4, 2).double()
    x = torch.randn(2, time, SHARED_FROM // 2, dtype=torch.float64, requires_grad=True)
    y = convolution(x)
    expected = plain_convolution(x.transpose(1, 2), convolution.weight, convolution.bias, 2).transpose(1, 2)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(y)
    inputs = [x, *convolution.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad((y * direction).sum(), inputs),
        torch.autograd.grad((expected * direction).sum(), inputs),
        rtol=1e-10, atol=1e-10,
    )  # fmt: skip


@pytest.mark.parametrize("channels", [64, SHARED_FROM // 2])
def test_float32_errs_as_sums_of_products_err(channels):
    """Each output within n · ε/2 of Σ |w·x| + |bias|, n its number of terms (Higham 2002, eq. 3.5).

    Shared products add up A(p − q) and (A + B)q: |A|(|p| + |q|) + (|A| + |B|)|q|, and likewise for the other place,
    with two more roundings of each factor.
    """
    convolution = Convolution(channels, 32, 4, 2)
    x = torch.randn(1, 200, channels)
    exact = plain_convolution(x.double().transpose(1, 2), convolution.weight.double(), convolution.bias.double(), 2)
    rows = padded_rows(x.abs().double(), 2, 1, 1)  # (1, 101, 2C)
    first, second = convolution.weight.abs().double().transpose(1, 2).flatten(1).chunk(2, 1)
    p, q = rows[:, :-1], rows[:, 1:]
    size, roundings = F.linear(p, first) + F.linear(q, second), 4 * channels + 1
    if channels == SHARED_FROM // 2:
        even, odd = F.linear(p + q, first), F.linear(p + q, second)
        both = first + second
        even, odd = even[:, 0::2] + F.linear(q, both)[:, 0::2], odd[:, 1::2] + F.linear(p, both)[:, 1::2]
        size, roundings = torch.stack([even, odd], 2).flatten(1, 2), roundings + 2
    bound = roundings * torch.finfo(torch.float32).eps / 2 * (size + convolution.bias.abs())
    assert ((convolution(x).double() - exact.transpose(1, 2)).abs() <= bound).all()


def with_filterbank():
    return small([2, 2], Filterbank(8, 16000, 160))


@pytest.mark.parametrize("make", [lambda: small([2, 3, 2], residual_blocks=2), with_filterbank])
def test_silence_beyond_a_recording_is_its_end(make):
    """A recording with zeros around it, marked as outside, has the latents of the recording alone: at its ends too."""
    encoder = make()
    hop = encoder.hop_length
    recording = torch.randn(2, 9 * hop).double()
    inside = torch.zeros(2, 20)
    inside[0, 4:13] = 1
    inside[1, 7:16] = 1
    waveform = torch.zeros(2, 20 * hop).double()
    waveform[0, 4 * hop : 13 * hop], waveform[1, 7 * hop : 16 * hop] = recording
    latents = encoder(waveform, inside)
    ours = torch.stack([latents[0, :, 4:13], latents[1, :, 7:16]])
    torch.testing.assert_close(ours, encoder(recording), rtol=1e-12, atol=1e-12)
    assert (encoder(waveform)[0, :, 4:13] - ours[0]).abs().max() > 1e-6  # unmarked, the ends differ


@pytest.mark.parametrize("hop", PRESETS)
def test_time_shrinks_by_the_hop_length(hop):
    encoder = small(PRESETS[hop])
    assert encoder.hop_length == hop == math.prod(PRESETS[hop])
    assert encoder(torch.randn(2, 3 * hop).double()).shape == (2, 4, 3)


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
    peaks = [bank(0.1 * torch.sin(2 * math.pi * hertz * time)[None])[0].mean(0).argmax() for hertz in (300, 1000, 4000)]
    assert peaks[0] < peaks[1] < peaks[2]
