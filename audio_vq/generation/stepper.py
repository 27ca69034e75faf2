"""The WaveNet one sample at a time in plain PyTorch: for GPUs, and the baseline of `audio-vq bench`."""

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from audio_vq.models.wavenet import GatedLayer, WaveNet


class TorchStepper:
    """Keeps the past inputs of every layer for a batch of clips; any device, any precision.

    Args:
        wavenet: whose weights are used as they are.
        batch: number of clips.
    """

    def __init__(self, wavenet: WaveNet, batch: int) -> None:
        self.wavenet = wavenet
        self.time = 0  # samples so far
        weight = wavenet.embedding.weight
        self.rings = [
            weight.new_zeros((wavenet.kernel_size - 1) * dilation, batch, weight.shape[1])
            for dilation in wavenet.dilations
        ]  # sample t lies at t modulo length

    @torch.no_grad()
    def step(self, previous: Tensor, conditioning: Tensor) -> Tensor:
        """Logits `(batch, classes)` after the classes `previous` `(batch,)`.

        Conditioning is `(batch, layers, 2R)`.
        """
        wavenet = self.wavenet
        x = wavenet.embedding(previous)  # (B, R)
        gates = []
        layers = cast("list[GatedLayer]", list(wavenet.layers))
        for layer, ring, frame in zip(layers, self.rings, conditioning.unbind(1), strict=True):
            z = torch.addmm(frame, x, layer.weight[0].T)  # (B, 2R)
            for k in range(1, wavenet.kernel_size):
                z.addmm_(ring[(self.time - k * layer.dilation) % len(ring)], layer.weight[k].T)
            if len(ring):
                ring[self.time % len(ring)] = x
            a, b = z.chunk(2, 1)
            gates.append(torch.tanh(a) * torch.sigmoid(b))
            if layer.residual is not None:
                x = x + layer.residual(gates[-1])
        self.time += 1
        skip = F.relu(wavenet.skip(torch.cat(gates, 1)))
        return wavenet.output(F.relu(wavenet.hidden(skip)))
