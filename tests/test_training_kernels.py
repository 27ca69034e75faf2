"""The fused training loss against what anyone would write."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from audio_vq.bench.plain_wavenet import PlainWaveNet, RowsWaveNet, with_decoder
from audio_vq.config import EncoderConfig, ModelConfig, QuantizerConfig, WaveNetConfig
from audio_vq.kernels import cpu
from audio_vq.models import fused_loss
from audio_vq.models.bands import Bands
from audio_vq.models.conditioner import Conditioner
from audio_vq.models.period import PitchPeriod
from audio_vq.models.vqvae import Heard, build_vqvae
from audio_vq.models.wavenet import WaveNet

FRAME = 16  # steps
# float32 keeps 2^-24 of every product; a gradient is a sum of some hundred of them, in another order, through a
# dozen products in a row: that their errors add up to fifty times one rounding has never been near
FLOAT32 = 50 * 2.0**-24


def wavenet(layers=3, channels=32, skip=48, classes=64, kernel=2, cycle=6, frame=FRAME, bands=1, taps=0):
    torch.manual_seed(0)
    period = PitchPeriod(3, step_rate=1000, shortest=1 + taps // 2) if taps else None  # of some 7 steps
    conditioner = Conditioner(7, 3, layers, channels, speaker_channels=4, period=period)
    net = WaveNet(Bands(bands, classes), layers, cycle, kernel, channels, skip, frame, conditioner, taps)
    torch.nn.init.normal_(net.embedding.weight.data[bands * classes :], std=0.5)
    return net


def inputs(units=6, classes=64, frame=FRAME, bands=1):
    torch.manual_seed(1)
    return torch.randint(0, classes, (3, bands, units * frame)), torch.randn(3, 7, units), torch.arange(3)


def gradients(net, *arguments, dtype=torch.float32):
    """Loss, and gradients of latents and parameters by name."""
    targets, latents, speaker = arguments
    net.zero_grad()
    latents = latents.to(dtype, copy=True).requires_grad_()
    loss = net.loss(targets, latents, speaker)
    loss.backward()
    found = {name: parameter.grad.double() for name, parameter in net.named_parameters() if parameter.requires_grad}
    return loss.item(), found | {"latents": latents.grad.double()}


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


def plain_oracle(net, *arguments):
    """By `nn.Conv1d` in float64."""
    loss, found = gradients(PlainWaveNet(copy.deepcopy(net)).double(), *arguments, dtype=torch.float64)
    expected = {name: grad for name, grad in found.items() if not name.startswith("layers")}
    for i in range(len(net.layers)):
        expected[f"layers.{i}.weight"] = found[f"layers.{i}.dilated.weight"].permute(2, 0, 1).flip(0)
        expected |= {name: grad for name, grad in found.items() if name.startswith(f"layers.{i}.residual")}
    skips = [found[f"layers.{i}.skip.weight"] for i in range(len(net.layers))]
    expected |= {"skip.weight": torch.cat(skips, 1), "skip.bias": found["layers.0.skip.bias"]}
    return loss, expected


@pytest.fixture
def fused(monkeypatch):
    """The types of products in calls of the fused loss: a test that never reached it would prove nothing."""
    calls = []
    original = fused_loss.FusedLoss.__call__

    def counting(self, *arguments, bfloat16):
        calls.append("bfloat16" if bfloat16 else "float32")
        return original(self, *arguments, bfloat16=bfloat16)

    monkeypatch.setattr(fused_loss.FusedLoss, "__call__", counting)
    return calls


@pytest.fixture
def bfloat16(monkeypatch):
    """A processor that multiplies bfloat16; torch emulates it on others."""
    monkeypatch.setattr(cpu, "HAS_BFLOAT16", True)


def assert_equal(net, arguments, tolerance):
    loss, found = gradients(net, *arguments)
    expected_loss, expected = plain_oracle(net, *arguments)
    assert loss == pytest.approx(expected_loss, rel=tolerance)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert distance(gradient, expected[name].reshape(gradient.shape)) < tolerance, name


# dilations within a tile, across tiles, beyond the clip; a second cycle; one layer; widths that fill no vectors
@pytest.mark.parametrize(
    "sizes",
    [{}, {"layers": 9, "cycle": 8}, {"layers": 1}, {"channels": 5, "skip": 7, "classes": 11}, {"frame": 12}],
)
@pytest.mark.parametrize("bands", [1, 2, 4])
@pytest.mark.parametrize("tile", [32, 40, 1024])  # divides the clip, leaves a rest, exceeds it
def test_loss_and_gradients_equal_conv1d(sizes, bands, tile, fused, monkeypatch):
    monkeypatch.setattr(fused_loss, "TILE", tile)
    of_inputs = {name: sizes[name] for name in ("classes", "frame") if name in sizes}
    assert_equal(wavenet(**sizes, bands=bands), inputs(**of_inputs, bands=bands), FLOAT32)
    assert fused == ["float32"]


@pytest.mark.parametrize("bands", [1, 2, 4])
@pytest.mark.parametrize("taps", [1, 3])
def test_pitch_taps_too(taps, bands, fused, monkeypatch):
    monkeypatch.setattr(fused_loss, "TILE", 40)
    assert_equal(wavenet(taps=taps, bands=bands), inputs(bands=bands), FLOAT32)
    assert fused == ["float32"]


def test_frozen_weights_leave_the_gradient_of_latents_as_it_is(fused):
    net, arguments = wavenet(bands=2), inputs(bands=2)
    _, learning = gradients(net, *arguments)
    for parameter in (*net.layers.parameters(), *net.skip.parameters(), *net.hidden.parameters()):
        parameter.requires_grad_(False)
    for parameter in (*net.output.parameters(), *net.embedding.parameters()):
        parameter.requires_grad_(False)
    _, frozen = gradients(net, *arguments)
    assert fused == ["float32", "float32"]
    assert {name.split(".")[0] for name in frozen} == {"conditioner", "latents"}
    for name, gradient in frozen.items():
        assert torch.equal(gradient, learning[name]), name


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_bfloat16_stays_near(bands, fused, bfloat16):
    """Products in bfloat16 change the gradient about as much as exact products of weights kept in bfloat16.

    That is several percent in a fresh network: a rounding is enough to turn ReLUs that stand near zero.
    """
    net, arguments = wavenet(layers=9, cycle=8, bands=bands), inputs(bands=bands)
    expected_loss, expected = plain_oracle(net, *arguments)
    net.bfloat16_products = True
    loss, found = gradients(net, *arguments)
    assert fused == ["bfloat16"]
    assert loss == pytest.approx(expected_loss, rel=2.0**-9)
    with torch.no_grad():
        for part in (net.layers, net.skip, net.hidden, net.output):
            for parameter in part.parameters():
                parameter.copy_(parameter.bfloat16().float())
    rounded = plain_oracle(net, *arguments)[1]
    found, expected, rounded = (
        torch.cat([each[name].flatten() for name in expected]) for each in (found, expected, rounded)
    )
    assert FLOAT32 < distance(found, expected) < 2 * distance(rounded, expected)


@pytest.mark.parametrize("bands", [1, 4])
@pytest.mark.parametrize("kernel", [1, 3])
def test_other_kernel_sizes_take_the_plain_path(kernel, bands, fused):
    assert_equal(wavenet(kernel=kernel, bands=bands), inputs(bands=bands), FLOAT32)
    assert not fused


@pytest.mark.parametrize(("kernel", "calls"), [(3, []), (2, ["bfloat16"])])
@pytest.mark.parametrize("bands", [1, 4])
def test_autocast_stays_near(kernel, calls, bands, fused, bfloat16):
    """As Accelerate trains with mixed precision: the plain path, which GPUs take as well, and the fused one."""
    net, arguments = wavenet(kernel=kernel, bands=bands), inputs(bands=bands)
    expected_loss, expected = plain_oracle(net, *arguments)
    with torch.autocast("cpu", torch.bfloat16):
        loss = net.loss(*arguments)
    loss.backward()
    assert fused == calls
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected_loss, rel=2.0**-9)
    for name, parameter in net.named_parameters():
        assert parameter.grad.dtype == torch.float32
        # several roundings of 2^-9 on the way, and ReLUs that they turn
        assert distance(parameter.grad, expected[name].reshape(parameter.shape)) < 0.2, name


def test_without_gradients_the_loss_is_the_same(fused, bfloat16):
    net, arguments = wavenet(), inputs()
    net.bfloat16_products = True  # for training: validation stays exact
    with torch.no_grad():
        loss = net.loss(*arguments).item()
    assert fused == ["float32"]
    assert loss == pytest.approx(plain_oracle(net, *arguments)[0], rel=FLOAT32)


@pytest.mark.parametrize("bands", [1, 4])
def test_the_best_of_plain_torch_computes_the_same(bands):
    net, arguments = wavenet(layers=9, cycle=8, bands=bands), inputs(bands=bands)
    expected_loss, expected = plain_oracle(net, *arguments)
    net.zero_grad()
    loss = RowsWaveNet(net).loss(*arguments)
    loss.backward()
    assert loss.item() == pytest.approx(expected_loss, rel=FLOAT32)
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            assert distance(parameter.grad.double(), expected[name].reshape(parameter.shape)) < FLOAT32, name


def test_the_loss_is_that_of_the_logits():
    """Of `forward`, in bands as well: each class against its own band's, all bands alike."""
    net, (targets, latents, speaker) = wavenet(bands=2), inputs(bands=2)
    surprise = -net(targets, latents, speaker).log_softmax(1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(net.loss(targets, latents, speaker), surprise.mean())


def test_a_step_does_not_depend_on_those_before():
    """Memory is kept between steps: clips of other lengths, in other precision, and a broken step leave no trace."""
    net, arguments = wavenet(), inputs()
    expected = gradients(net, *arguments)
    gradients(net, *inputs(units=4))
    broken = copy.deepcopy(net)
    with torch.no_grad():
        broken.layers[0].weight.fill_(torch.nan)
    broken.fused_loss = net.fused_loss
    gradients(broken, *arguments)
    loss, found = gradients(net, *arguments)
    assert loss == expected[0]
    for name, gradient in expected[1].items():
        assert torch.equal(found[name], gradient), name


def test_a_copy_has_memory_of_its_own():
    net = wavenet()
    gradients(net, *inputs())
    assert net.fused_loss._memory
    assert not copy.deepcopy(net).fused_loss._memory


def test_a_broken_weight_shows():
    """Limits that keep exponentials finite must not hide what is not a number."""
    net = wavenet()
    with torch.no_grad():
        net.layers[1].weight[0, 0, 0] = torch.nan
    assert net.loss(*inputs()).isnan()


def test_threads_do_not_change_a_bit():
    net, arguments = wavenet(), inputs()
    one = gradients(net, *arguments)
    torch.set_num_threads(3)
    try:
        three = gradients(net, *arguments)
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as pool:  # nor may threads yet to come find another number
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(1)
    assert one[0] == three[0]
    for name, gradient in one[1].items():
        assert torch.equal(gradient, three[1][name]), name


VQVAE = ModelConfig(
    encoder=EncoderConfig(strides=[4, 4], channels=16, residual_blocks=1, layer_norm=True),
    quantizer=QuantizerConfig(codebook_size=16, dim=8, groups=2),
    wavenet=WaveNetConfig(bands=2, layers=3, residual_channels=32, skip_channels=48, speaker_channels=4),
    mu_law_classes=64,
)


def vqvae():
    torch.manual_seed(0)
    return build_vqvae(VQVAE, num_speakers=2)


def test_the_whole_model_equals_one_of_conv1d(fused):
    """Encoder and codebook get the gradients they would get from `nn.Conv1d`."""
    model, heard = vqvae(), Heard(0.2 * torch.randn(2, 192), torch.tensor([0, 1]))
    plain = copy.deepcopy(model)
    plain = with_decoder(plain, PlainWaveNet(plain.wavenet))
    losses, expected = model(heard), plain(heard)
    assert losses.total.item() == pytest.approx(expected.total.item(), rel=FLOAT32)
    losses.total.backward()
    expected.total.backward()
    assert fused == ["float32"]
    for part in ("encoder", "quantizer", "wavenet.conditioner"):
        pairs = zip(model.get_submodule(part).named_parameters(), plain.get_submodule(part).parameters(), strict=True)
        for (name, parameter), other in pairs:
            if parameter.requires_grad:
                assert distance(parameter.grad, other.grad) < 10 * FLOAT32, f"{part}.{name}"  # both are float32


def test_training_in_bfloat16_follows_float32(bfloat16):
    """Thirty steps on one batch: the loss falls as in float32, to two percent of what it has fallen."""
    heard = Heard(torch.sin(torch.arange(2 * 256) / 5).reshape(2, 256) * 0.3, torch.tensor([0, 1]))
    curves = []
    for wanted in (False, True):
        model = vqvae()
        model.wavenet.bfloat16_products = wanted
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        curve = []
        for _ in range(30):
            optimizer.zero_grad()
            losses = model(heard)
            losses.total.backward()
            optimizer.step()
            curve.append(losses.reconstruction.item())
        curves.append(np.array(curve))
    fallen = curves[0][0] - curves[0][-1]
    assert fallen > 1
    assert not np.array_equal(*curves)
    assert np.abs(curves[1] - curves[0]).max() < 0.02 * fallen
