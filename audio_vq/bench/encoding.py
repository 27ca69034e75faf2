"""How fast recordings become units."""

import time

import numpy as np

from audio_vq.pretrained import VQVAE


def measure_encoding(model: VQVAE, seconds: float) -> float:
    """Audio seconds encoded per second, of a recording of `seconds`, on all threads that torch was given."""
    waveform = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * model.sample_rate)).astype(np.float32)
    model.encode(waveform[: model.sample_rate], model.sample_rate)  # memory and threads, once
    begin = time.perf_counter()
    model.encode(waveform, model.sample_rate)
    return seconds / (time.perf_counter() - begin)
