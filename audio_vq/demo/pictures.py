"""What the page draws of speech: spectrogram, pitch, units in their colours; and the same in words.

Units that sound alike have like colours: hue, colourfulness and lightness of a unit are the first three principal
components of its group's codebook.
"""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audio_vq.audio.features import log_mel
from audio_vq.audio.waveform import Waveform
from audio_vq.pitch import F0
from audio_vq.units import Units

MELS = 64
RANGE_DB = 70.0  # below the loudest, that the spectrogram shows
FRAMES_PER_SECOND = 100  # of the spectrogram
COLOUR = "oklch({:.3f} {:.3f} {:.0f})"  # lightness, chroma, hue in degrees (Ottosson 2020)


@dataclass(frozen=True)
class Picture:
    """A recording as the page shows it."""

    spectrogram: bytes  # frame by frame, MELS levels each, 255 the loudest
    seconds: float
    units: Units  # (tracks, units)
    f0: F0  # (units,), 0 where unvoiced; empty of models without pitch
    text: str  # for those who do not see it

    def as_json(self) -> dict[str, Any]:
        return {
            "spectrogram": base64.b64encode(self.spectrogram).decode(),
            "mels": MELS,
            "seconds": round(self.seconds, 4),
            "units": self.units.tolist(),
            "f0": [round(float(each), 1) for each in self.f0],
            "text": self.text,
        }


def picture_of(waveform: Waveform, sample_rate: int, units: Units, f0: F0) -> Picture:
    """Of a waveform with its units `(tracks, units)` and their pitch in Hz."""
    decibels = 20 / np.log(10) * log_mel(waveform, sample_rate, sample_rate // FRAMES_PER_SECOND, MELS)
    levels = np.clip((decibels - decibels.max() + RANGE_DB) / RANGE_DB, 0, 1)
    seconds = len(waveform) / sample_rate
    spectrogram = np.round(255 * levels).astype(np.uint8).T.tobytes()
    return Picture(spectrogram, seconds, units, f0, _in_words(seconds, units, f0))


def _in_words(seconds: float, units: Units, f0: F0) -> str:
    count, different = units.shape[1], len(np.unique(units, axis=1).T)
    words = f"{seconds:.1f} seconds of sound as {count} units, {different} of them different."
    voiced = f0[f0 > 0]
    if voiced.size:
        low, median, high = np.percentile(voiced, [5, 50, 95])
        words += (
            f" Voiced for {100 * voiced.size / len(f0):.0f} per cent of the time, at {low:.0f} to {high:.0f} hertz, "
            f"half of it above {median:.0f}."
        )
    return words


def unit_colours(codebook: npt.NDArray[np.float32]) -> list[list[str]]:
    """A colour for each unit of each group, of a codebook `(groups, units, dim)`."""
    return [[COLOUR.format(*colour) for colour in _colours(vectors)] for vectors in codebook]


def _colours(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    centred = (vectors - vectors.mean(0)).astype(np.float64)
    components = min(3, *centred.shape)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    placed = np.zeros((len(vectors), 3))
    placed[:, :components] = (left * scale)[:, :components]
    placed /= np.maximum(placed.std(0), 1e-9)
    distance = np.hypot(placed[:, 0], placed[:, 1])
    return np.stack(
        [
            0.76 + 0.08 * np.tanh(placed[:, 2]),
            0.03 + 0.09 * np.tanh(distance / 1.5),
            np.degrees(np.arctan2(placed[:, 1], placed[:, 0])) % 360,
        ],
        axis=1,
    )
