"""Waveforms: float32 arrays `(time,)` with values in [-1, 1]."""

import numpy as np
import numpy.typing as npt

from audio_vq.errors import UserError

Waveform = npt.NDArray[np.float32]

PCM_SCALE = 32768  # 16-bit full scale


def checked_waveform(waveform: npt.ArrayLike) -> Waveform:
    """As float32 `(time,)`; 16-bit integers are brought to [-1, 1].

    Raises:
        UserError: other shapes or types, no samples, NaN or infinite samples.
    """
    array = np.asarray(waveform)
    if array.ndim != 1 or array.size == 0:
        raise UserError(f"waveform of shape {array.shape}; expected (time,) with at least one sample")
    if array.dtype == np.int16:
        return from_pcm16(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"waveform of {array.dtype}; expected floating-point samples in [-1, 1], or int16")
    if not np.isfinite(array).all() or np.abs(array).max() > np.finfo(np.float32).max:
        raise UserError("the waveform holds NaN or infinite samples")
    return array.astype(np.float32)


def to_pcm16(waveform: Waveform) -> npt.NDArray[np.int16]:
    """The nearest 16-bit samples; `from_pcm16` is its inverse on them."""
    if not np.isfinite(waveform).all():
        raise ValueError("NaN or infinite samples have no 16-bit value")
    scaled = np.round(np.asarray(waveform, np.float32) * PCM_SCALE)
    return np.clip(scaled, -PCM_SCALE, PCM_SCALE - 1).astype(np.int16)


def from_pcm16(samples: npt.NDArray[np.int16]) -> Waveform:
    return samples.astype(np.float32) / np.float32(PCM_SCALE)
