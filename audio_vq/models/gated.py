"""The gated dilated convolution of one WaveNet layer, with a backward pass of its own.

Automatic differentiation would keep five tensors per layer and copy one for every shifted slice; this keeps one (the
two activations side by side) and works on views. `tests/test_wavenet.py` holds it against `Conv1d` and `gradcheck`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class GatedConvolution(torch.autograd.Function):
    """tanh(z[:R]) ⊙ σ(z[R:]) with z_t = Σ_k W_k x_{t − k·dilation} + c_frame(t) (van den Oord et al. 2016, eq. 3).

    Args:
        x: `(batch, time, R)`.
        weight: `(taps, 2R, R)`; tap k lies k · dilation samples back, before the beginning is zero.
        conditioning: `(batch, frames, 2R)`, constant within a frame of time / frames samples.
        dilation: in samples.

    Returns:
        `(batch, time, R)`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, conditioning: Tensor, dilation: int) -> Tensor:
        batch, time, channels = x.shape
        z = torch.mm(x.reshape(-1, channels), weight[0].t()).view(batch, time, 2 * channels)
        for shift, tap in _shifts(weight, dilation, time):
            for i in range(batch):  # one clip at a time: its shifted slice is a matrix as it lies
                z[i, shift:].addmm_(x[i, :-shift], tap.t())
        frames = conditioning.shape[1]
        z.view(batch, frames, -1, 2 * channels).add_(conditioning[:, :, None])
        tanh, sigmoid = z[..., :channels].tanh_(), z[..., channels:].sigmoid_()
        ctx.save_for_backward(x, weight, z)
        ctx.dilation, ctx.frames = dilation, frames
        return tanh * sigmoid

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, z = ctx.saved_tensors
        batch, time, channels = x.shape
        tanh, sigmoid = z[..., :channels], z[..., channels:]
        dz = torch.empty_like(z)
        torch.mul(grad, sigmoid, out=dz[..., :channels])
        dz[..., :channels].mul_(1 - tanh.square())  # d tanh
        torch.mul(grad, tanh, out=dz[..., channels:])
        dz[..., channels:].mul_(sigmoid).mul_(1 - sigmoid)  # d σ
        rows = dz.view(-1, 2 * channels)
        dx = torch.mm(rows, weight[0]).view(batch, time, channels)
        dweight = torch.zeros_like(weight)
        torch.mm(rows.t(), x.reshape(-1, channels), out=dweight[0])
        for k, (shift, tap) in enumerate(_shifts(weight, ctx.dilation, time), 1):
            for i in range(batch):
                dx[i, :-shift].addmm_(dz[i, shift:], tap)
                dweight[k].addmm_(dz[i, shift:].t(), x[i, :-shift])
        return dx, dweight, dz.view(batch, ctx.frames, -1, 2 * channels).sum(2), None


def _shifts(weight: Tensor, dilation: int, time: int) -> list[tuple[int, Tensor]]:
    """Past taps that reach into the clip: (samples back, weight)."""
    return [(k * dilation, weight[k]) for k in range(1, len(weight)) if k * dilation < time]
