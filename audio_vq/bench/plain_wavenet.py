"""The WaveNet's training loss as plain torch has it: what the fused one is measured against, and proven equal to."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audio_vq.models.vqvae import VQVAEModel
from audio_vq.models.wavenet import GatedLayer, WaveNet


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
        self.frame_length, self.seen = wavenet.frame_length, wavenet.seen
        self.bands, self.conditioner = wavenet.bands, wavenet.conditioner
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
        return self.conditioned_loss(targets, self.conditioner(latents, speaker))

    def conditioned_loss(self, targets: Tensor, conditioning: Tensor) -> Tensor:
        """As `WaveNet.conditioned_loss`."""
        x = self.embedding(self.seen(targets, conditioning)).sum(2).transpose(1, 2)  # (B, R, T)
        total = torch.zeros(())
        for layer, frames in zip(self.layers, conditioning[:, : len(self.layers)].unbind(1), strict=True):
            x, skip = layer(x, frames.transpose(1, 2).repeat_interleave(self.frame_length, 2))  # (B, 2R, T)
            total = total + skip
        logits = self.output(F.relu(self.hidden(F.relu(total))))
        return F.cross_entropy(logits.unflatten(1, (self.bands.bands, -1)).transpose(1, 2), targets)


@torch.no_grad()
def _take_over(conv: nn.Conv1d, weight: Tensor, bias: Tensor | None) -> None:
    conv.weight.copy_(weight)
    if conv.bias is not None and bias is not None:
        conv.bias.copy_(bias)


class RowsWaveNet(nn.Module):
    """The best that plain torch offers: time before channels, a sample's past and present side by side in a row.

    Both taps are then one `F.linear`, and so are the skip connections of all layers. Kernel size 2; it trains the
    parameters of the WaveNet that it is given.
    """

    def __init__(self, wavenet: WaveNet, *, bfloat16: bool = False, compiled: bool = False) -> None:
        super().__init__()
        self.wavenet, self.embedding = wavenet, wavenet.embedding
        self.bands, self.conditioner = wavenet.bands, wavenet.conditioner
        self.in_bfloat16 = bfloat16
        self._loss = torch.compile(self._rows_loss) if compiled else self._rows_loss

    def loss(self, targets: Tensor, latents: Tensor, speaker: Tensor) -> Tensor:
        """As `WaveNet.loss`."""
        return self.conditioned_loss(targets, self.conditioner(latents, speaker))

    def conditioned_loss(self, targets: Tensor, conditioning: Tensor) -> Tensor:
        """As `WaveNet.conditioned_loss`."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.in_bfloat16):
            return self._loss(targets, conditioning)

    def _rows_loss(self, targets: Tensor, conditioning: Tensor) -> Tensor:
        wavenet, time, gates = self.wavenet, targets.shape[2], []
        x = wavenet.embedding(wavenet.seen(targets, conditioning)).sum(2)  # (B, T, R)
        for layer, frames in zip(wavenet.layers, conditioning[:, : len(wavenet.layers)].unbind(1), strict=True):
            assert isinstance(layer, GatedLayer)
            past = F.pad(x, (0, 0, layer.dilation, 0))[:, :time]
            z = F.linear(torch.cat([past, x], 2), torch.cat([layer.weight[1], layer.weight[0]], 1))
            z = (z.unflatten(1, (frames.shape[1], -1)) + frames[:, :, None]).flatten(1, 2)
            tanh, sigmoid = z.chunk(2, 2)
            gates.append(torch.tanh(tanh) * torch.sigmoid(sigmoid))
            x = x + layer.residual(gates[-1]) if layer.residual else x
        logits = wavenet.output(F.relu(wavenet.hidden(F.relu(wavenet.skip(torch.cat(gates, 2))))))
        each = logits.unflatten(2, (self.bands.bands, -1)).flatten(0, 2)  # (B · T · bands, classes)
        return F.cross_entropy(each.float(), targets.transpose(1, 2).flatten())


def with_decoder(model: VQVAEModel, wavenet: nn.Module) -> VQVAEModel:
    """The model, from now on around another decoder."""
    model.wavenet = wavenet  # type: ignore[assignment]
    return model
