import math

import pytest
import torch
from torch.nn import functional as F

from audio_vq.models.bands import Bands
from audio_vq.models.conditioner import Conditioner
from audio_vq.models.gated import gated_convolution
from audio_vq.models.wavenet import WaveNet

FRAME = 4  # steps


def wavenet(layers=5, cycle=3, kernel=2, channels=6, bands=1):
    torch.manual_seed(0)
    conditioner = Conditioner(7, 3, layers, channels, channels=5, frames_per_unit=2, speaker_channels=4)
    return WaveNet(Bands(bands, 16), layers, cycle, kernel, channels, 8, FRAME, conditioner).double()


def inputs(units=10, batch=2, bands=1):
    torch.manual_seed(1)
    targets = torch.randint(0, 16, (batch, bands, units * FRAME * 2))
    return targets, torch.randn(batch, 7, units).double(), torch.arange(batch) % 3


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_gated_convolution_equals_conv1d(kernel):
    torch.manual_seed(0)
    x, conditioning = torch.randn(2, 24, 5).double(), torch.randn(2, 6, 10).double()
    weight = torch.randn(kernel, 10, 5).double()
    got = gated_convolution(x, weight, conditioning, 4)
    # Conv1d's last tap is the present
    z = F.conv1d(F.pad(x.transpose(1, 2), ((kernel - 1) * 4, 0)), weight.flip(0).permute(1, 2, 0), dilation=4)
    z = z + conditioning.repeat_interleave(4, 1).transpose(1, 2)
    expected = torch.tanh(z[:, :5]) * torch.sigmoid(z[:, 5:])
    torch.testing.assert_close(got, expected.transpose(1, 2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 3), (3, 2), (3, 100)])
def test_gated_convolution_gradient(kernel, dilation):
    torch.manual_seed(0)
    x, conditioning = torch.randn(2, 8, 3).double(), torch.randn(2, 4, 6).double()
    weight = torch.randn(kernel, 6, 3).double()
    arguments = [tensor.requires_grad_() for tensor in (x, weight, conditioning)]
    assert torch.autograd.gradcheck(lambda *a: gated_convolution(*a, dilation), arguments)


@pytest.mark.parametrize("bands", [1, 2, 4])
@pytest.mark.parametrize("kernel", [2, 3])
def test_receptive_field_is_exact(kernel, bands):
    """Logits at step t see so many steps before it, all of them and no other, and these so much of the waveform."""
    net = wavenet(layers=4, cycle=3, kernel=kernel, bands=bands)
    targets, latents, speaker = inputs(units=9, batch=1, bands=bands)
    at = targets.shape[2] - 1
    embedded = []
    net.embedding.register_forward_hook(lambda _m, _i, out: embedded.append(out.retain_grad() or out))
    net(targets, latents, speaker)[0, ..., at].sum().backward()
    seen = torch.nonzero(embedded[0].grad[0].abs().sum((1, 2))).flatten()
    steps = 1 + (kernel - 1) * (1 + 2 + 4 + 1)
    # position p of the input holds step p − 1
    assert (at - (seen - 1)).tolist() == list(range(steps, 0, -1))
    waveform = torch.randn(1, targets.shape[2] * bands).requires_grad_()
    net.bands.float().split(waveform)[0, :, at - steps].sum().backward()
    reach = at * bands - torch.nonzero(waveform.grad[0]).min().item()
    assert reach <= net.receptive_field < reach + 2  # a filter's first tap may be zero


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_later_steps_never_change_earlier_logits(bands):
    """A class of any band changes all bands' logits from the next step on, and none before: not its own step's."""
    net = wavenet(bands=bands)
    targets, latents, speaker = inputs(bands=bands)
    before = net(targets, latents, speaker)
    assert before.shape == (2, 16, *targets.shape[1:])
    for band in range(bands):
        changed = targets.clone()
        changed[:, band, 40] = (changed[:, band, 40] + 1) % 16
        after = net(changed, latents, speaker)
        assert torch.equal(before[..., :41], after[..., :41])
        for other in range(bands):
            assert not torch.equal(before[..., other, 41], after[..., other, 41])


def test_bands_have_tables_of_their_own():
    """The same class says something else in another band, and what bands say is summed."""
    net, (targets, latents, speaker) = wavenet(bands=2), inputs(bands=2)
    swapped = targets.flip(1)
    assert not torch.allclose(net(targets, latents, speaker), net(swapped, latents, speaker))
    with torch.no_grad():
        net.embedding.weight[16:] = net.embedding.weight[:16]
    torch.testing.assert_close(net(targets, latents, speaker), net(swapped, latents, speaker))


@pytest.mark.parametrize(("channels", "frames"), [(0, 1), (5, 1), (5, 2), (5, 4)])
def test_latents_reach_only_their_neighbourhood(channels, frames):
    """Conditioning depends on units as far as the stated reach, and no further."""
    conditioner = Conditioner(7, 3, 5, 6, channels, frames, 4).double()
    latents = torch.randn(1, 7, 10).double().requires_grad_()
    conditioner(latents, torch.tensor([0]))[0, :, 5 * frames : 6 * frames].sum().backward()
    touched = torch.nonzero(latents.grad[0].abs().sum(0)).flatten().tolist()
    assert touched == list(range(5 - conditioner.reach, 5 + conditioner.reach + 1))


def test_the_spectrum_is_said_beside_the_same_conditioning():
    """By unit, from what the conditioning is made of, within the same reach."""
    torch.manual_seed(0)
    conditioner = Conditioner(7, 3, 5, 6, channels=5, frames_per_unit=2, speaker_channels=4, spectrum=11).double()
    latents, speaker = torch.randn(2, 7, 10).double().requires_grad_(), torch.tensor([0, 2])
    conditioning, spectrum = conditioner.with_spectrum(latents, speaker)
    assert torch.equal(conditioning, conditioner(latents, speaker))
    assert spectrum.shape == (2, 10, 11)
    spectrum[0, 5].sum().backward()
    touched = torch.nonzero(latents.grad[0].abs().sum(0)).flatten().tolist()
    assert set(touched) <= set(range(5 - conditioner.reach, 5 + conditioner.reach + 1))
    assert not torch.allclose(spectrum, conditioner.with_spectrum(latents, speaker.flip(0))[1])


def test_a_voice_can_be_led_away_from_the_average():
    torch.manual_seed(0)
    conditioner = Conditioner(7, 3, 5, 6, channels=5, speaker_channels=4, spectrum=11).double()
    speakers, table = torch.arange(3), conditioner.speaker.weight
    assert torch.equal(conditioner.voice(speakers), table)
    torch.testing.assert_close(conditioner.voice(speakers, 0.5), 1.5 * table - 0.5 * table.mean(0))
    torch.testing.assert_close(conditioner.voice(speakers, -1.0), table.mean(0).expand(3, -1))
    latents = torch.randn(1, 7, 10).double().expand(3, -1, -1)
    for say in (conditioner, conditioner.said_spectrum):
        average = say(latents, speakers, -1.0)
        torch.testing.assert_close(average[0], average[2])
        assert not torch.allclose(say(latents, speakers, 0.5), say(latents, speakers))


def test_units_and_speaker_matter():
    net = wavenet()
    targets, latents, speaker = inputs()
    before = net(targets, latents, speaker)
    assert not torch.allclose(before, net(targets, latents.roll(1, 0), speaker))
    assert not torch.allclose(before, net(targets, latents, (speaker + 1) % 3))


def test_one_hot_speaker_is_fixed():
    conditioner = Conditioner(7, 3, 2, 4, speaker_channels=0)
    assert torch.equal(conditioner.speaker.weight, torch.eye(3))
    assert not conditioner.speaker.weight.requires_grad


def test_the_conditioning_network_cannot_die():
    """However negative its activations become, the decoder still hears the latents, and they get gradients."""
    conditioner = Conditioner(7, 2, 3, 4, channels=5, frames_per_unit=2, speaker_channels=4).double()
    with torch.no_grad():
        for layer in (conditioner.network.before, conditioner.network.middle, conditioner.network.split):
            layer.bias.fill_(-100.0)
    latents = torch.randn(1, 7, 6).double().requires_grad_()
    conditioner(latents, torch.zeros(1, dtype=torch.int64)).sum().backward()
    assert (latents.grad != 0).all()


@pytest.mark.parametrize("frames", [1, 4])
def test_the_conditioning_network_begins_as_loud_as_without(frames):
    """Through four convolutions latents move the decoder as much at first as they would straight, or somewhat more.

    What one of them adds to what it reads makes it √2 times as loud.
    """
    torch.manual_seed(0)
    latents, speaker = torch.randn(8, 32, 50), torch.zeros(8, dtype=torch.int64)

    def loudness(**network):
        return Conditioner(32, 2, 4, 32, speaker_channels=4, **network)(latents, speaker).std((0, 2)).mean()

    with torch.no_grad():
        assert 0.7 < loudness(channels=64, frames_per_unit=frames) / loudness() < 1.6 * math.sqrt(2)
