"""A filter of first order: SciPy's would take longer to import than most recordings take to be filtered."""

import numpy as np
import numpy.typing as npt

from audio_vq.kernels.compiling import compiled

Floats = npt.NDArray[np.float64]


@compiled()
def high_passed(waveform: npt.NDArray[np.float32], gain: float, pole: float, state: Floats) -> Floats:
    """y[n] = gain · (x[n] − x[n−1]) + pole · y[n−1], to the last bit as `scipy.signal.lfilter` has it.

    `state` `(1,)` stands for what came before the first sample, and is left as what came before the next.
    """
    filtered = np.empty(len(waveform))
    kept = state[0]
    for n in range(len(waveform)):
        x = np.float64(waveform[n])
        filtered[n] = gain * x + kept
        kept = pole * filtered[n] - gain * x
    state[0] = kept
    return filtered
