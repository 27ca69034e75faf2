"""How fast one optimiser step is, against the same model with its decoder built from plain `nn.Conv1d`."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audio_vq.bench.measurement import Budget, Measurement, take_turns
from audio_vq.config import ModelConfig, TrainConfig, hop_length
from audio_vq.models.vqvae import VQVAEModel, build_vqvae
from audio_vq.models.wavenet import GatedLayer, WaveNet
from audio_vq.training.average import WeightAverage
from audio_vq.training.runs import keep_freed_memory

PLAIN, OURS, FLOAT32 = (
    "train_plain_audio_seconds_per_s",
    "train_audio_seconds_per_s",
    "train_float32_audio_seconds_per_s",
)
NAMES = (PLAIN, FLOAT32, OURS)
SPEAKERS = 8


class PlainLayer(nn.Module):
    """Dilated convolution, gate, and two convolutions of width one."""

    def __init__(self, layer: GatedLayer, skip: Tensor, skip_bias: Tensor | None) -> None:
        """`skip`: `(S, R)`."""
        super().__init__()
        taps, gates, channels = layer.weight.shape
        self.dilated = nn.Conv1d(channels, gates, taps, dilation=layer.dilation, bias=False)
        self.skip = nn.Conv1d(channels, len(skip), 1, bias=skip_bias is not None)
        self.residual = None if layer.residual is None else nn.Conv1d(channels, channels, 1)
        # a convolution's last tap is the present
        _take_over(self.dilated, layer.weight.flip(0).permute(1, 2, 0), None)
        _take_over(self.skip, skip[..., None], skip_bias)
        if self.residual and layer.residual:
            _take_over(self.residual, layer.residual.weight[..., None], layer.residual.bias)

    def forward(self, x: Tensor, conditioning: Tensor) -> tuple[Tensor, Tensor]:
        """The next layer's input and what goes to the output layers; all `(batch, channels, time)`."""
        past = (self.dilated.kernel_size[0] - 1) * self.dilated.dilation[0]
        tanh, sigmoid = (self.dilated(F.pad(x, (past, 0))) + conditioning).chunk(2, 1)
        gate = torch.tanh(tanh) * torch.sigmoid(sigmoid)
        return (x + self.residual(gate) if self.residual else x), self.skip(gate)


class PlainWaveNet(nn.Module):
    """What one would write first: `nn.Conv1d` padded on the left, skips added up, conditioning for every sample.

    It computes what the WaveNet computes whose weights and conditioner it takes over.
    """

    def __init__(self, wavenet: WaveNet) -> None:
        super().__init__()
        self.hop_length, self.silence = wavenet.hop_length, wavenet.silence
        self.conditioner = wavenet.conditioner
        self.embedding = nn.Embedding.from_pretrained(wavenet.embedding.weight.detach().clone(), freeze=False)
        skips = wavenet.skip.weight.chunk(len(wavenet.layers), 1)
        self.layers = nn.ModuleList()
        for layer, skip in zip(wavenet.layers, skips, strict=True):
            assert isinstance(layer, GatedLayer)
            self.layers.append(PlainLayer(layer, skip, None if len(self.layers) else wavenet.skip.bias))
        self.hidden, self.output = (
            nn.Conv1d(linear.in_features, linear.out_features, 1) for linear in (wavenet.hidden, wavenet.output)
        )
        _take_over(self.hidden, wavenet.hidden.weight[..., None], wavenet.hidden.bias)
        _take_over(self.output, wavenet.output.weight[..., None], wavenet.output.bias)

    def loss(self, targets: Tensor, latents: Tensor, speaker: Tensor) -> Tensor:
        """As `WaveNet.loss`."""
        previous = F.pad(targets[:, :-1], (1, 0), value=self.silence)
        x = self.embedding(previous).transpose(1, 2)  # (B, R, T)
        total = torch.zeros(())
        for layer, frames in zip(self.layers, self.conditioner(latents, speaker).unbind(1), strict=True):
            conditioning = frames.transpose(1, 2).repeat_interleave(self.hop_length, 2)  # (B, 2R, T)
            x, skip = layer(x, conditioning)
            total = total + skip
        return F.cross_entropy(self.output(F.relu(self.hidden(F.relu(total)))), targets)


@torch.no_grad()
def _take_over(conv: nn.Conv1d, weight: Tensor, bias: Tensor | None) -> None:
    conv.weight.copy_(weight)
    if conv.bias is not None and bias is not None:
        conv.bias.copy_(bias)


def plain_vqvae(model: VQVAEModel) -> VQVAEModel:
    """The same model, around a plain WaveNet; encoder, quantiser and conditioner are shared."""
    wavenet: nn.Module = PlainWaveNet(model.wavenet)
    return VQVAEModel(model.encoder, model.quantizer, wavenet, model.sample_rate)  # type: ignore[arg-type]


def measure_training(config: ModelConfig, budget: Budget, train: TrainConfig | None = None) -> list[Measurement]:
    """Steps on noise: how long they take does not depend on what is heard. Crops are cut to whole units."""
    train = train or TrainConfig()
    keep_freed_memory()
    models = {name: build_vqvae(config, SPEAKERS) for name in NAMES}
    models[PLAIN] = plain_vqvae(models[PLAIN])
    models[OURS].wavenet.bfloat16_products = True
    length = train.crop_length - train.crop_length % hop_length(config)
    waveform = 0.1 * torch.randn(train.batch_size, length)
    rates = take_turns({name: _step(model, waveform, train) for name, model in models.items()}, budget.seconds)
    context = {
        "batch": f"{train.batch_size} × {length} samples",
        "decoder": f"{config.wavenet.layers} layers, {config.wavenet.residual_channels} channels",
    }
    return [
        Measurement(PLAIN, rates.median(PLAIN), "s/s", context=context),
        *(Measurement(name, rates.median(name), "s/s", rates.ratio(name, PLAIN), PLAIN, context) for name in NAMES[1:]),
    ]


def _step(model: VQVAEModel, waveform: Tensor, train: TrainConfig) -> Callable[[], float]:
    """One step as in `training/loop.py`, which returns the seconds of audio it has seen."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=train.learning_rate, fused=True)
    average = WeightAverage(model, train.weight_average)
    speaker = torch.arange(len(waveform)) % SPEAKERS

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        losses = model(waveform, speaker)
        losses.total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), train.max_grad_norm)
        optimizer.step()
        model.quantizer.update(model.quantizer.statistics(losses.encoded, losses.quantized.units))
        average.update(model)
        return waveform.numel() / model.sample_rate

    return step
