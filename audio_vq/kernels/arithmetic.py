"""The one exponential of all kernels: neither branches nor calls, so that loops over it become vector instructions."""

import math

import numpy as np

from audio_vq.kernels.compiling import INLINED, compiled

_F = np.float32

LOG2_E = _F(1 / math.log(2))  # exp(x) = exp2(x · LOG2_E)
_MAGIC = _F(1.5 * 2**23 + 127)  # added to n, leaves n + 127 in the last bits
_POLYNOMIAL = tuple(_F(math.log(2) ** k / math.factorial(k)) for k in range(1, 8))  # of 2^r behind its 1


@compiled(**INLINED, fastmath={"contract"})
def exp2(x: float) -> np.float32:
    """2^x of a float32, |x| ≤ 126, to a relative 2e-7; those of other sizes are the caller's to clip.

    2^x = 2^n · 2^r with n = round(x): n by the bits of a float's exponent, 2^r by Taylor's series.
    """
    shifted = _F(x + _MAGIC)
    r = x - (shifted - _MAGIC)  # |r| ≤ 1/2
    c1, c2, c3, c4, c5, c6, c7 = _POLYNOMIAL
    p = ((((((c7 * r + c6) * r + c5) * r + c4) * r + c3) * r + c2) * r + c1) * r + _F(1)
    return p * np.int32(shifted.view(np.int32) << 23).view(np.float32)
