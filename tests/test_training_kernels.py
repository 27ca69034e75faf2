"""The compiled training loss against what anyone would write."""

import copy

import numpy as np
import pytest
import torch
from numba import njit

from audio_vq.bench.training import PlainWaveNet, plain_vqvae
from audio_vq.config import EncoderConfig, ModelConfig, QuantizerConfig, WaveNetConfig
from audio_vq.kernels import cpu, products
from audio_vq.models import compiled_loss
from audio_vq.models.vqvae import build_vqvae
from audio_vq.models.wavenet import Conditioner, WaveNet

HOP = 16
# float32 keeps 2^-24 of every product; a gradient is a sum of some hundred of them, in another order, through a
# dozen products in a row: that their errors add up to fifty times one rounding has never been near
FLOAT32 = 50 * 2.0**-24
needs_bfloat16 = pytest.mark.skipif(not cpu.HAS_BFLOAT16, reason="this CPU does not multiply bfloat16")


def wavenet(layers=3, channels=32, skip=48, classes=64, kernel=2, cycle=6, hop=HOP):
    torch.manual_seed(0)
    conditioner = Conditioner(7, 3, layers, channels, speaker_channels=4)
    return WaveNet(classes, layers, cycle, kernel, channels, skip, hop, conditioner)


def inputs(units=6, classes=64, hop=HOP):
    torch.manual_seed(1)
    return torch.randint(0, classes, (3, units * hop)), torch.randn(3, 7, units), torch.arange(3)


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
def compiled(monkeypatch):
    """Counts the calls of the compiled loss: a test that never reached it would prove nothing."""
    calls = []
    original = compiled_loss.compiled_loss

    def counting(*arguments):
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr("audio_vq.models.wavenet.compiled_loss", counting)
    return calls


def assert_equal(net, arguments, tolerance):
    loss, found = gradients(net, *arguments)
    expected_loss, expected = plain_oracle(net, *arguments)
    assert loss == pytest.approx(expected_loss, rel=tolerance)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert distance(gradient, expected[name].reshape(gradient.shape)) < tolerance, name


# dilations within a tile, across tiles, beyond the clip; a second cycle; one layer; widths of one vector and of three
@pytest.mark.parametrize(
    "sizes", [{}, {"layers": 9, "cycle": 8}, {"layers": 1}, {"channels": 16, "skip": 16, "classes": 16}]
)
def test_loss_and_gradients_equal_conv1d(sizes, compiled):
    assert_equal(wavenet(**sizes), inputs(classes=sizes.get("classes", 64)), FLOAT32)
    assert len(compiled) == 1


@needs_bfloat16
def test_bfloat16_stays_near(compiled):
    """Products in bfloat16 change the gradient about as much as exact products of weights kept in bfloat16.

    That is several percent in a fresh network: a rounding is enough to turn ReLUs that stand near zero.
    """
    net, arguments = wavenet(layers=9, cycle=8), inputs()
    expected_loss, expected = plain_oracle(net, *arguments)
    net.bfloat16_products = True
    loss, found = gradients(net, *arguments)
    assert len(compiled) == 1
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


def test_several_tiles_in_a_frame(compiled, monkeypatch):
    monkeypatch.setattr(compiled_loss, "CACHE", 0)
    assert compiled_loss.tile_length(HOP * 3, 3, 32) == products.ROWS
    assert_equal(wavenet(hop=HOP * 3), inputs(hop=HOP * 3), FLOAT32)


@pytest.mark.parametrize("sizes", [{"channels": 24}, {"skip": 20}, {"kernel": 3}, {"kernel": 1}, {"hop": 12}])
def test_sizes_that_do_not_suit_take_the_plain_path(sizes, compiled):
    arguments = inputs(hop=sizes.get("hop", HOP))
    assert_equal(wavenet(**sizes), arguments, FLOAT32)
    assert not compiled


@pytest.mark.parametrize("channels", [24, 32])
def test_autocast_stays_near(channels, compiled):
    """As Accelerate trains with mixed precision: the plain path, which GPUs take as well, and the compiled one."""
    net, arguments = wavenet(channels=channels), inputs()
    expected_loss, expected = plain_oracle(net, *arguments)
    with torch.autocast("cpu", torch.bfloat16):
        loss = net.loss(*arguments)
    loss.backward()
    assert len(compiled) == (channels == 32)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected_loss, rel=2.0**-9)
    for name, parameter in net.named_parameters():
        assert parameter.grad.dtype == torch.float32
        # several roundings of 2^-9 on the way, and ReLUs that they turn
        assert distance(parameter.grad, expected[name].reshape(parameter.shape)) < 0.2, name


def test_without_gradients_the_loss_is_the_same(compiled):
    net, arguments = wavenet(), inputs()
    net.bfloat16_products = True  # for training: validation stays exact
    with torch.no_grad():
        loss = net.loss(*arguments).item()
    assert len(compiled) == 1
    assert loss == pytest.approx(plain_oracle(net, *arguments)[0], rel=FLOAT32)


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
    finally:
        torch.set_num_threads(1)
    assert one[0] == three[0]
    for name, gradient in one[1].items():
        assert torch.equal(gradient, three[1][name]), name


def vqvae():
    torch.manual_seed(0)
    return build_vqvae(
        ModelConfig(
            encoder=EncoderConfig(strides=[4, 4], channels=16, residual_blocks=1, layer_norm=True),
            quantizer=QuantizerConfig(codebook_size=16, dim=8),
            wavenet=WaveNetConfig(layers=3, residual_channels=32, skip_channels=48, speaker_channels=4),
            mu_law_classes=64,
        ),
        num_speakers=2,
    )


def test_the_whole_model_equals_one_of_conv1d(compiled):
    """Encoder and codebook get the gradients they would get from `nn.Conv1d`."""
    model, waveform, speaker = vqvae(), 0.2 * torch.randn(2, 192), torch.tensor([0, 1])
    plain = plain_vqvae(copy.deepcopy(model))
    losses, expected = model(waveform, speaker), plain(waveform, speaker)
    assert losses.total.item() == pytest.approx(expected.total.item(), rel=FLOAT32)
    losses.total.backward()
    expected.total.backward()
    assert len(compiled) == 1
    for part in ("encoder", "quantizer", "wavenet.conditioner"):
        pairs = zip(model.get_submodule(part).named_parameters(), plain.get_submodule(part).parameters(), strict=True)
        for (name, parameter), other in pairs:
            if parameter.requires_grad:
                assert distance(parameter.grad, other.grad) < 10 * FLOAT32, f"{part}.{name}"  # both are float32


@needs_bfloat16
def test_training_in_bfloat16_follows_float32():
    """Forty steps on one batch: the loss falls as in float32, to two percent of what it has fallen."""
    waveform, speaker = torch.sin(torch.arange(2 * 512) / 5).reshape(2, 512) * 0.3, torch.tensor([0, 1])
    curves = []
    for bfloat16 in (False, True):
        model = vqvae()
        model.wavenet.bfloat16_products = bfloat16
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        curve = []
        for _ in range(40):
            optimizer.zero_grad()
            losses = model(waveform, speaker)
            losses.total.backward()
            optimizer.step()
            curve.append(losses.reconstruction.item())
        curves.append(np.array(curve))
    fallen = curves[0][0] - curves[0][-1]
    assert fallen > 1
    assert not np.array_equal(*curves)
    assert np.abs(curves[1] - curves[0]).max() < 0.02 * fallen


@njit
def multiply(out, a, a_buffer, b, b_buffer):
    products.add_product(out, products.by_columns(a_buffer, a), products.by_rows(b_buffer, b))


@njit
def multiply_transposed(out, a, a_buffer, b, b_buffer):
    products.add_product(out, products.by_rows(a_buffer, a).T, products.by_rows(b_buffer, b))


@pytest.mark.parametrize(("m", "k", "n"), [(16, 2, 16), (16, 10, 48), (32, 64, 32)])
def test_products_and_operands(m, k, n):
    """Along columns and along rows, in both formats; float32 is exact on small whole numbers, as is bfloat16."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-8, 9, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    kinds = [(np.float32, 1)] + ([(np.int32, 2)] if cpu.HAS_BFLOAT16 else [])
    for kind, pair in kinds:
        out, transposed = np.ones((m, n), np.float32), np.zeros((m, n), np.float32)
        along_rows = np.empty((k // pair, n), kind)
        multiply(out, a, np.empty((m, k // pair), kind), b, along_rows)
        assert np.array_equal(out, a @ b + 1)
        multiply_transposed(transposed, np.ascontiguousarray(a.T), np.empty((k // pair, m), kind), b, along_rows)
        assert np.array_equal(transposed, a @ b)
