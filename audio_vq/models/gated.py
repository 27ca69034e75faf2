"""The gated dilated convolution of one WaveNet layer, with a backward pass of its own.

Automatic differentiation would keep five tensors per layer and copy one for every shifted slice; this keeps two (the
input, and the two activations side by side). `tests/test_wavenet.py` holds it against `Conv1d` and `gradcheck`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def gated_convolution(x: Tensor, weight: Tensor, conditioning: Tensor, dilation: int) -> Tensor:
    """tanh(z[:R]) ⊙ σ(z[R:]) with z_t = Σ_k W_k x_{t − k·dilation} + c_frame(t) (van den Oord et al. 2016, eq. 3).

    Args:
        x: `(batch, time, R)`.
        weight: `(taps, 2R, R)`; tap k lies k · dilation samples back, before the beginning is zero.
        conditioning: `(batch, frames, 2R)`, constant within a frame of time / frames samples.
        dilation: in samples.

    Returns:
        `(batch, time, R)`.
    """
    if torch.is_autocast_enabled(x.device.type):  # autocast looks at products, and this has its own inside
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight, conditioning = x.to(dtype), weight.to(dtype), conditioning.to(dtype)
    gate: Tensor = _GatedConvolution.apply(x, weight, conditioning, dilation)
    return gate


class _GatedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, conditioning: Tensor, dilation: int) -> Tensor:
        taps, channels = len(weight), x.shape[2]
        # all taps in one product: rows hold a sample's present and past side by side
        z = _with_past(x, taps, dilation) @ weight.transpose(0, 1).flatten(1).T  # (B, T, 2R)
        z.unflatten(1, (conditioning.shape[1], -1)).add_(conditioning[:, :, None])
        tanh, sigmoid = z[..., :channels].tanh_(), z[..., channels:].sigmoid_()
        ctx.save_for_backward(x, weight, z)
        ctx.dilation, ctx.frames = dilation, conditioning.shape[1]
        return tanh * sigmoid

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, z = ctx.saved_tensors
        (taps, _, channels), time = weight.shape, x.shape[1]
        tanh, sigmoid = z[..., :channels], z[..., channels:]
        through = grad * sigmoid
        dz = torch.cat([through * (1 - tanh.square()), through * tanh * (1 - sigmoid)], 2)
        dx = dz @ weight[0]
        for k in range(1, taps):
            shift = min(k * ctx.dilation, time)
            dx[:, : time - shift] += dz[:, shift:] @ weight[k]
        rows = _with_past(x, taps, ctx.dilation).flatten(0, 1)
        dweight = (dz.flatten(0, 1).T @ rows).unflatten(1, (taps, channels)).transpose(0, 1)
        return dx, dweight, dz.unflatten(1, (ctx.frames, -1)).sum(2), None


def _with_past(x: Tensor, taps: int, dilation: int) -> Tensor:
    """`(batch, time, R)` → `(batch, time, taps · R)`: every sample beside those k · dilation before it."""
    time = x.shape[1]
    shifts = (min(k * dilation, time) for k in range(taps))
    return torch.cat([F.pad(x[:, : time - shift], (0, 0, shift, 0)) for shift in shifts], 2)
