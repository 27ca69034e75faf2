"""Mu-law companding (ITU-T G.711): the classes of samples."""

import math

from torch import Tensor


def mu_law_encode(waveform: Tensor, classes: int = 256) -> Tensor:
    """Samples in [-1, 1] (beyond is clipped), any shape → int64 classes of the same shape.

    Companding with μ = classes − 1 (ITU-T G.711), rounded so that zero has a class of its own, `classes // 2`: digital
    silence stays silent. With an even number, class 0 is that of no sample.
    """
    mu, levels = classes - 1, (classes - 1) // 2
    companded = waveform.sign() * (mu * waveform.abs().clamp(max=1)).log1p() / math.log1p(mu)
    return (companded * levels).round().long() + classes // 2


def mu_law_decode(indices: Tensor, classes: int = 256) -> Tensor:
    """Classes in [0, classes), any shape → float32 samples of the same shape, in [-1, 1]."""
    mu, levels = classes - 1, (classes - 1) // 2
    companded = ((indices - classes // 2).float() / levels).clamp(-1, 1)
    return companded.sign() * (companded.abs() * math.log1p(mu)).expm1() / mu
