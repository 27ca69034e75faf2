"""One voice speaks its sentences: samples, pitch and phone segments, exact to the sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio_vq.audio.waveform import Waveform, from_pcm16, to_pcm16
from audio_vq.data.corpora.synthetic.voices import Voice
from audio_vq.espeak import SILENCE, STOPS, Espeak, Speech, arpabet
from audio_vq.loudness import normalise_loudness
from audio_vq.pitch import F0, track

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
class PhoneInterval:
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
    pitch: F0  # (frames,)
    intervals: tuple[PhoneInterval, ...]  # contiguous, from 0 to the duration


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
        pitch = track(from_pcm16(samples), script.sample_rate)
        rendered.append(Rendered(line, voice, samples, pitch, intervals))
    return rendered


def find_segments(speech: Speech, sample_rate: int, *, rhotic: bool) -> list[Segment]:
    """Phones and pauses of an utterance, each up to where the next begins.

    espeak-ng marks where a phoneme's own sound begins. Silence just before a mark is the closure of a stop or
    affricate, and otherwise, if it is long enough, a pause.
    """
    loud = np.abs(speech.samples.astype(np.int32)) > QUIET
    segments = [Segment(0, SILENCE)]
    for phoneme in speech.phonemes:
        label = arpabet(phoneme.name, rhotic=rhotic)
        if label is None:
            continue
        last, start = segments[-1], phoneme.start
        before = loud[last.start : start][::-1]
        quiet = int(before.argmax()) if before.any() else len(before)  # samples of silence before the mark
        if last.label != SILENCE and quiet >= SHORTEST_GAP_SECONDS * sample_rate:
            if label in STOPS or label == SILENCE:
                start -= quiet
            elif quiet >= SHORTEST_PAUSE_SECONDS * sample_rate:
                segments.append(Segment(start - quiet, SILENCE))
        if label != SILENCE or segments[-1].label != SILENCE:
            segments.append(Segment(start, label))
    ends = [segment.start for segment in segments[1:]] + [len(speech.samples)]
    return [segment for segment, end in zip(segments, ends, strict=True) if end > segment.start]


def with_margins(
    samples: npt.NDArray[np.int16], segments: Sequence[Segment], margin: int
) -> tuple[npt.NDArray[np.int16], list[Segment]]:
    """Exactly `margin` samples of silence before the first phone and after the last, zeros where need be."""
    spoken = [segment for segment in segments if segment.label != SILENCE]
    first = spoken[0].start
    end = segments[-1].start if segments[-1].label == SILENCE else len(samples)
    padded = np.pad(samples, margin)  # sample i of the utterance is now at i + margin
    shifted = [Segment(segment.start - first + margin, segment.label) for segment in segments]
    inside = [segment for segment in shifted if margin <= segment.start < end - first + margin]
    ends = [Segment(0, SILENCE), Segment(end - first + margin, SILENCE)]
    return padded[first : end + 2 * margin], [ends[0], *inside, ends[1]]


def _filtered(waveform: Waveform, voice: Voice, sample_rate: int, ratio: Fraction) -> Waveform:
    """Equalise, then resample by the ratio, which includes the voice's warp."""
    from scipy.signal import firwin2, lfilter, resample_poly

    gains = [10 ** (gain / 20) for gain in (*voice.equaliser_db, voice.equaliser_db[-1])]
    taps = firwin2(EQUALISER_TAPS, [*EQUALISER_HZ, sample_rate / 2], gains, fs=sample_rate)
    delay = EQUALISER_TAPS // 2
    equalised = lfilter(taps, 1.0, np.append(waveform, np.zeros(delay)))[delay:]
    resampled = resample_poly(equalised, ratio.numerator, ratio.denominator)
    return np.asarray(resampled, dtype=np.float32)


def _intervals(
    segments: Sequence[Segment], ratio: Fraction, num_samples: int, sample_rate: int
) -> tuple[PhoneInterval, ...]:
    starts = [float(segment.start * ratio) / sample_rate for segment in segments]
    bounds = [*starts, num_samples / sample_rate]
    return tuple(
        PhoneInterval(start, end, segment.label)
        for segment, (start, end) in zip(segments, pairwise(bounds), strict=True)
    )
