"""Long recordings, cut at their pauses into pieces of an utterance's length."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from audio_vq.audio.waveform import Waveform

LONG_SECONDS = 30.0  # what lasts longer is cut
LONGEST_PIECE_SECONDS = 20.0
SHORTEST_PIECE_SECONDS = 5.0
FRAME_SECONDS = 0.01
PAUSE_SECONDS = 0.3  # between phrases


@dataclass(frozen=True)
class Piece:
    start: int  # sample
    stop: int


def pieces(waveform: Waveform, sample_rate: int) -> list[Piece]:
    """The whole of a recording in pieces of 5 to 20 s, cut where it is quietest around; one piece up to 30 s."""
    if len(waveform) <= LONG_SECONDS * sample_rate:
        return [Piece(0, len(waveform))]
    frame = round(FRAME_SECONDS * sample_rate)
    loudness = _smooth_power(waveform, frame)
    shortest, longest = (round(seconds / FRAME_SECONDS) for seconds in (SHORTEST_PIECE_SECONDS, LONGEST_PIECE_SECONDS))
    cuts = [0]  # frames
    while len(loudness) - cuts[-1] > longest:
        first = cuts[-1] + shortest
        last = min(cuts[-1] + longest, len(loudness) - shortest)
        cuts.append(first + int(loudness[first:last].argmin()))
    bounds = [cut * frame for cut in cuts] + [len(waveform)]
    return [Piece(start, stop) for start, stop in pairwise(bounds)]


def _smooth_power(waveform: Waveform, frame: int) -> Waveform:
    """Mean square around every frame, over the length of a pause, `(frames,)`."""
    whole = waveform[: len(waveform) // frame * frame].reshape(-1, frame)
    power = np.einsum("ft,ft->f", whole, whole)
    around = round(PAUSE_SECONDS / FRAME_SECONDS) | 1  # odd: as much before as after
    return np.convolve(power, np.ones(around, np.float32), mode="same")
