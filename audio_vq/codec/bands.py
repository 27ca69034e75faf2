"""Band classes → waveform, block by block: the same samples however the steps are cut.

What `models/bands.Bands.decode` computes, within [−1, 1], with every sum in one order: elementwise operations round a
sample alike beside any others, which products and convolutions do not promise.
"""

import numpy as np
import numpy.typing as npt
import torch

from audio_vq.audio.waveform import Waveform
from audio_vq.models.bands import Bands
from audio_vq.models.mu_law import mu_law_decode

Classes = npt.NDArray[np.integer]


class BandStream:
    """Joins the classes `(bands, steps)` of one waveform as they come, `bands.reach` samples late.

    Args:
        bands: of the model.
        waiting: of a stream to be continued.

    Attributes:
        waiting: `(bands, ≤ 2 · reach in steps)`: the classes that samples to come depend on.
    """

    def __init__(self, bands: Bands, waiting: Classes | None = None) -> None:
        self._reach = bands.reach // bands.bands  # steps
        classes = torch.arange(bands.classes)
        self._levels = (mu_law_decode(classes, bands.classes) / bands.gain.cpu()[:, None]).numpy()  # (bands, classes)
        span = 2 * self._reach + 1  # steps that a sample depends on
        filters = np.zeros((bands.bands, span * bands.bands), np.float32)
        filters[:, : bands.synthesis.shape[1]] = bands.bands * bands.synthesis.cpu().numpy()
        # filters[band, k, phase]: weight of the k-th last of those steps
        self._filters = filters.reshape(bands.bands, span, bands.bands)
        self._silence = np.full((bands.bands, self._reach), bands.classes // 2, np.int16)  # around the waveform
        self.waiting = self._silence if waiting is None else waiting

    def push(self, classes: Classes) -> Waveform:
        """Takes further classes; returns the samples that depend on nothing still unknown."""
        known = np.concatenate([self.waiting, classes], 1, dtype=np.int16)
        self.waiting = known[:, max(0, known.shape[1] - 2 * self._reach) :].copy()
        return self._join(known)

    def finish(self) -> Waveform:
        """The last samples: silence follows."""
        return self.push(self._silence)

    def _join(self, classes: Classes) -> Waveform:
        bands, span, phases = self._filters.shape
        steps = max(0, classes.shape[1] - span + 1)
        samples, product = np.zeros((2, phases, steps), np.float32)
        for band in range(bands):
            signal = self._levels[band, classes[band]]
            for k in range(span):
                last = span - 1 - k
                np.multiply(self._filters[band, k, :, None], signal[last : last + steps], out=product)
                samples += product
        return samples.T.reshape(-1).clip(-1, 1)  # each band has only its own full scale


def joined(bands: Bands, classes: Classes) -> Waveform:
    """The waveform of all its classes `(bands, steps)`."""
    stream = BandStream(bands)
    return np.concatenate([stream.push(classes), stream.finish()])
