"""The WaveNet one step at a time in plain PyTorch: what the fast samplers are held against."""

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
        self.time = 0  # steps so far
        self.said = []  # classes (batch, bands) of each step
        weight = wavenet.embedding.weight
        silence = weight.new_zeros(batch, weight.shape[1])
        # step t lies at t modulo length
        self.rings = [[silence] * ((wavenet.kernel_size - 1) * dilation) for dilation in wavenet.dilations]
        layers = cast("list[GatedLayer]", list(wavenet.layers))
        self.layers = [(layer.dilation, layer.weight.unbind(), layer.residual) for layer in layers]

    @torch.no_grad()
    def step(self, previous: Tensor, conditioning: Tensor) -> Tensor:
        """Logits `(batch, bands, classes)` after the classes `previous` `(batch, bands)`.

        Conditioning is `(batch, rows, 2R)`.
        """
        wavenet = self.wavenet
        tables = wavenet.embedding.weight.split(wavenet.classes)  # (classes, R), one per band, again for each pitch tap
        x = sum(table[said] for table, said in zip(tables, previous.unbind(1), strict=False))  # (B, R)
        if self.time:
            self.said.append(previous)
        if wavenet.pitch_taps:
            x = x + torch.stack(
                [self._one_period_ago(tables, clip, int(period)) for clip, period in enumerate(conditioning[:, -1, 0])]
            )
        gates = []
        for (dilation, taps, residual), ring, frame in zip(
            self.layers, self.rings, conditioning.unbind(1), strict=False
        ):
            z = F.linear(x, taps[0]) + frame  # (B, 2R)
            for k in range(1, len(taps)):
                z = z + F.linear(ring[(self.time - k * dilation) % len(ring)], taps[k])
            if ring:
                ring[self.time % len(ring)] = x
            a, b = z.chunk(2, 1)
            gates.append(torch.tanh(a) * torch.sigmoid(b))
            if residual is not None:
                x = x + residual(gates[-1])
        self.time += 1
        skip = F.relu(wavenet.skip(torch.cat(gates, 1)))
        logits = wavenet.output(F.relu(wavenet.hidden(skip)))
        return torch.stack(logits.chunk(wavenet.bands.bands, 1), 1)

    def _one_period_ago(self, tables: tuple[Tensor, ...], clip: int, period: int) -> Tensor:
        """`(R,)`"""
        taps, bands, total = self.wavenet.pitch_taps, self.wavenet.bands.bands, torch.zeros(())
        for tap in range(taps):
            ago = self.time - period + tap - taps // 2
            for band in range(bands):
                there = period > 0 and ago >= 0
                table = tables[(1 + tap) * bands + band]
                total = total + (table[self.said[ago][clip, band]] if there else tables[-1][0])
        return total
