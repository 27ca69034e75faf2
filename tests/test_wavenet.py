import pytest
import torch
from torch.nn import functional as F

from audio_vq.models.gated import gated_convolution
from audio_vq.models.wavenet import Conditioner, WaveNet

HOP = 4


def wavenet(layers=5, cycle=3, kernel=2, channels=6, speakers=3, frames_per_unit=2, context=5, speaker_channels=4):
    torch.manual_seed(0)
    conditioner = Conditioner(7, speakers, layers, channels, context, frames_per_unit, speaker_channels)
    return WaveNet(16, layers, cycle, kernel, channels, 8, HOP, conditioner).double()


def inputs(units=10, batch=2):
    torch.manual_seed(1)
    per_unit = HOP * 2
    targets = torch.randint(0, 16, (batch, units * per_unit))
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


@pytest.mark.parametrize("kernel", [2, 3])
def test_receptive_field_is_exact(kernel):
    """Logits at t see samples t − receptive_field … t − 1, all of them and no other."""
    net = wavenet(layers=4, cycle=3, kernel=kernel)
    targets, latents, speaker = inputs(units=9, batch=1)
    field, at = net.receptive_field, targets.shape[1] - 1
    embedded = []
    net.embedding.register_forward_hook(lambda _m, _i, out: embedded.append(out.retain_grad() or out))
    net(targets, latents, speaker)[0, :, at].sum().backward()
    seen = torch.nonzero(embedded[0].grad[0].abs().sum(1)).flatten()
    # position p of the input holds sample p − 1
    assert (at - (seen - 1)).tolist() == list(range(field, 0, -1))


def test_later_samples_never_change_earlier_logits():
    net = wavenet()
    targets, latents, speaker = inputs()
    before = net(targets, latents, speaker)
    changed = targets.clone()
    changed[:, 40:] = (changed[:, 40:] + 1) % 16
    after = net(changed, latents, speaker)
    assert torch.equal(before[..., :41], after[..., :41])
    assert not torch.equal(before[..., 41], after[..., 41])


@pytest.mark.parametrize(("context", "frames"), [(0, 1), (5, 1), (5, 2), (5, 4)])
def test_latents_reach_only_their_neighbourhood(context, frames):
    """Conditioning depends on units as far as the stated reach, and no further."""
    conditioner = Conditioner(7, 3, 5, 6, context, frames, 4).double()
    latents = torch.randn(1, 7, 10).double().requires_grad_()
    conditioner(latents, torch.tensor([0]))[0, :, 5 * frames : 6 * frames].sum().backward()
    touched = torch.nonzero(latents.grad[0].abs().sum(0)).flatten().tolist()
    assert touched == list(range(5 - conditioner.reach, 5 + conditioner.reach + 1))


def test_a_sample_hears_its_own_latents_and_few_later_ones():
    """The conditioning network sees one unit, and one frame of the next, to either side."""
    net = wavenet()
    targets, latents, speaker = inputs()
    latents.requires_grad_()
    net(targets, latents, speaker)[0, :, 5 * HOP * 2].sum().backward()  # first sample of unit 5, frame 10
    touched = torch.nonzero(latents.grad[0].abs().sum(0)).flatten().tolist()
    assert max(touched) <= 6
    assert 5 in touched


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
        for layer in conditioner.context:
            if hasattr(layer, "bias"):
                layer.bias.fill_(-100.0)
    latents = torch.randn(1, 7, 6).double().requires_grad_()
    conditioner(latents, torch.zeros(1, dtype=torch.int64)).sum().backward()
    assert (latents.grad != 0).all()


@pytest.mark.parametrize("frames", [1, 4])
def test_the_conditioning_network_begins_as_loud_as_without(frames):
    """Through three convolutions latents move the decoder as much at first as they would straight."""
    torch.manual_seed(0)
    latents, speaker = torch.randn(8, 32, 50), torch.zeros(8, dtype=torch.int64)

    def loudness(**network):
        return Conditioner(32, 2, 4, 32, speaker_channels=4, **network)(latents, speaker).std((0, 2)).mean()

    with torch.no_grad():
        assert 0.7 < loudness(channels=64, frames_per_unit=frames) / loudness() < 1.6
