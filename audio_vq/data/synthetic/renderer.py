"""One voice speaks its sentences: samples and phone segments, exact to the sample."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio_vq.audio import Waveform, from_pcm16, normalise_loudness, to_pcm16
from audio_vq.data.synthetic.espeak import Espeak, Speech
from audio_vq.data.synthetic.phones import SILENCE, STOPS, arpabet
from audio_vq.data.synthetic.voices import Voice

MARGIN_SECONDS = 0.1  # of silence at both ends
QUIET = 3  # 16-bit steps: what espeak-ng leaves in a closure or pause
SHORTEST_GAP_SECONDS = 0.004
SHORTEST_PAUSE_SECONDS = 0.02
EQUALISER_HZ = (0, 1000, 2500, 4500, 8000)
EQUALISER_TAPS = 65
ROOM_NOISE_DB = -62.0  # digital silence would be unlike any recording
LOUDNESS_DB = -23.0


@dataclass(frozen=True)
class Segment:
    start: int  # sample
    label: str


@dataclass(frozen=True)
class Interval:
    start_seconds: float
    end_seconds: float
    label: str  # ARPAbet or SIL


@dataclass(frozen=True)
class Line:
    """A sentence for one speaker."""

    id: str
    text: str


@dataclass(frozen=True)
class Script:
    """All that one speaker says."""

    voice: Voice
    lines: tuple[Line, ...]
    data: Path  # of espeak-ng, with the voice's variant
    sample_rate: int  # Hz
    seed: int


@dataclass(frozen=True)
class Rendered:
    line: Line
    voice: Voice
    samples: npt.NDArray[np.int16]  # (time,)
    intervals: tuple[Interval, ...]  # contiguous, from 0 to the duration


def render(script: Script) -> list[Rendered]:
    """Speak a script. Only in a process that has not spoken before is the result always the same."""
    voice = script.voice
    number = int(voice.name[1:])
    engine = Espeak(script.data, voice.identifier, rate=voice.rate, seed=1000 * script.seed + number)
    played_rate = engine.sample_rate * voice.warp
    # a ratio of small numbers, so that resampling is exact and so are the times
    ratio = Fraction(script.sample_rate / played_rate).limit_denominator(400)
    rendered = []
    for index, line in enumerate(script.lines):
        speech = engine.speak(line.text)
        segments = find_segments(speech, engine.sample_rate, rhotic=voice.accent.rhotic)
        clip, segments = with_margins(speech.samples, segments, round(MARGIN_SECONDS * played_rate))
        waveform = normalise_loudness(_filtered(from_pcm16(clip), voice, engine.sample_rate, ratio), LOUDNESS_DB)
        noise = np.random.default_rng([script.seed, number, index]).standard_normal(len(waveform), np.float32)
        samples = to_pcm16(waveform + np.float32(10 ** (ROOM_NOISE_DB / 20)) * noise)
        intervals = _intervals(segments, ratio, len(samples), script.sample_rate)
        rendered.append(Rendered(line, voice, samples, intervals))
    return rendered
