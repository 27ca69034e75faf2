import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from audio_vq.models.convolution import SHARED_FROM, Convolution, padded_rows
from audio_vq.models.encoder import Encoder, ResidualBlock
from audio_vq.models.filterbank import LOG_SCALE, Filterbank, Perturbation, gabor_filters, mean_spectrum

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
    latents = encoder(waveform, inside=inside)
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


# ---- what tells voices and microphones apart


def centred():
    torch.manual_seed(0)
    return Encoder([2], 16, 4, 1, layer_norm=True, filterbank=Filterbank(40, 16000, 160), centred=True)


def noises(seed=0, seconds=1.0):
    """Noise that changes its level and colour every 50 ms, `(1, time)`."""
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(round(seconds / 0.05)):
        spectrum = rng.standard_normal(401) + 1j * rng.standard_normal(401)
        colour = np.exp(-0.5 * ((np.arange(401) - rng.uniform(20, 380)) / 60) ** 2) + 0.2
        pieces.append(rng.uniform(0.2, 1) * np.fft.irfft(spectrum * colour))
    return torch.from_numpy(4 * np.concatenate(pieces)).float()[None]


def heard_by(encoder, waveform):
    """Latents of a recording with the mean spectrum that it has."""
    with torch.no_grad():
        return encoder(waveform, mean_spectrum(encoder.filterbank(waveform)[0])[None])


def test_a_microphone_is_hardly_heard():
    """A fixed filter moves the latents of a centred encoder a tenth as far as those of one that is not."""
    encoder, waveform = centred(), noises()
    through = F.conv1d(F.pad(waveform[:, None], (2, 0)), torch.tensor([[[0.1, -0.35, 0.5]]]))[:, 0]  # treble up
    latents, filtered = (heard_by(encoder, each) for each in (waveform, through))
    with torch.no_grad():
        plain, plain_filtered = (encoder(each, torch.zeros(1, 40)) for each in (waveform, through))
    assert (filtered - latents)[..., 1:-1].std() < 0.1 * (plain_filtered - plain)[..., 1:-1].std()
    assert (filtered - latents)[..., 1:-1].std() < 0.1 * latents.std()


def test_level_is_hardly_heard():
    encoder, waveform = centred(), noises()
    # but for the floor of −90 dB
    torch.testing.assert_close(heard_by(encoder, 0.25 * waveform), heard_by(encoder, waveform), rtol=0, atol=0.03)


def test_the_mean_is_that_of_speech():
    """Pauses, however long, do not move it; without speech there is a mean nevertheless."""
    speech = torch.randn(50, 8)
    pause = speech.mean(1).max() - 40 * math.log(10) / 10 / LOG_SCALE + torch.zeros(200, 8)  # 40 dB below
    torch.testing.assert_close(mean_spectrum(torch.cat([speech, pause])), mean_spectrum(speech))
    silence = Filterbank(8, 16000, 160)(torch.zeros(1, 1600))[0]
    torch.testing.assert_close(mean_spectrum(silence), silence[5])


def test_what_is_centred_is_a_filterbank_that_stays():
    assert not centred().filterbank.kernel.requires_grad
    assert small([2], Filterbank(8, 16000, 160)).filterbank.kernel.requires_grad


# ---- perturbation


def test_without_perturbation_nothing_changes():
    spectrum = torch.randn(2, 9, 40)
    assert torch.equal(Perturbation(0.0, 0.0)(spectrum, 16000), spectrum)
    # the last filter is made of its neighbour by a thousandth
    torch.testing.assert_close(Perturbation(1e-9, 1e-9)(spectrum, 16000), spectrum, rtol=0, atol=0.01)


@pytest.mark.parametrize("perturbation", [Perturbation(0.2, 0.0), Perturbation(0.0, 3.0), Perturbation(0.2, 3.0)])
def test_a_draw_per_clip_from_torchs_generator(perturbation):
    """The same for all frames of a clip, another for each clip, and the same again after the same seed."""
    spectrum = torch.randn(1, 1, 40).expand(3, 5, 40)
    torch.manual_seed(0)
    first, second = perturbation(spectrum, 16000), perturbation(spectrum, 16000)
    torch.manual_seed(0)
    assert torch.equal(perturbation(spectrum, 16000), first)
    assert not torch.equal(first, second)
    torch.testing.assert_close(first, first[:, :1].expand(3, 5, 40))
    assert not torch.allclose(first[0], first[1])
    assert not torch.allclose(first[1], first[2])


def resonance(hertz, width=0.12):
    """A log spectrum of 80 filters with one formant, `(filters,)`, and the filters' centres (Hz)."""
    mel = torch.linspace(2595 * math.log10(1 + 60 / 700), 2595 * math.log10(1 + 7760 / 700), 82)[1:-1]
    centres = 700 * (10 ** (mel / 2595) - 1)
    return torch.exp(-0.5 * ((centres / hertz).log() / width) ** 2), centres


@settings(max_examples=20, deadline=None)
@given(hertz=st.floats(500, 3000), warp=st.floats(0.05, 0.3), draw=st.sampled_from([0.0, 0.5, 1 - 1e-6]))
def test_formants_move_by_up_to_the_stated_share(hertz, warp, draw):
    """The draws at the ends move it up by 1 + warp and down by as much, the one in the middle nowhere."""
    spectrum, centres = resonance(hertz)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand", lambda *shape: torch.full(shape, draw))
        moved = Perturbation(warp, 0.0)(spectrum[None, None], 16000)[0, 0]
    log = centres.log()
    place = [(each * log).sum() / each.sum() for each in (spectrum, moved)]
    expected = -(2 * draw - 1) * math.log1p(warp)
    assert float(place[1] - place[0]) == pytest.approx(expected, abs=0.02)


def test_the_equaliser_is_as_loud_as_stated():
    """Each of five cosines, the first of them a change of level, has the stated standard deviation (dB of energy)."""
    torch.manual_seed(0)
    curves = Perturbation(0.0, 3.0)(torch.zeros(4000, 1, 64), 16000)[:, 0] * LOG_SCALE * 10 / math.log(10)
    place = (torch.arange(64) + 0.5) / 64
    for order in range(6):
        cosine = torch.cos(math.pi * order * place)
        amplitude = curves @ cosine / cosine.square().sum()
        expected = 3.0 if order < 5 else 0.0
        assert amplitude.std().item() == pytest.approx(expected, abs=0.15)  # of 4000 draws: 4 σ / √(2n)


def test_an_encoder_hears_the_perturbed_spectrum():
    encoder, waveform = centred(), noises()
    mean = torch.zeros(1, 40)
    torch.manual_seed(0)
    perturbed = encoder(waveform, mean, perturbation=Perturbation(0.2, 3.0))
    torch.manual_seed(0)
    expected = encoder.of_spectrum(Perturbation(0.2, 3.0)(encoder.spectrum(waveform, mean), 16000))
    assert torch.equal(perturbed, expected)
    assert not torch.allclose(perturbed, encoder(waveform, mean))
