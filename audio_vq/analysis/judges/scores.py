"""From what judges heard to the figures of conversion.json: pure functions of impressions.

Every figure of a clip is a numerator over a denominator; the figure of a condition is the sum of the one over the
sum of the other, its interval a bootstrap over recordings: clips made of the same recording are drawn together.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audio_vq.analysis.alignment.lexicon import spoken_words
from audio_vq.analysis.judges.panel import Impression
from audio_vq.audio.features import PITCH_HOP_SECONDS, fundamental_frequency
from audio_vq.audio.waveform import Waveform

CONDITIONS = {
    "converted": "the source recording in the target's voice",
    "reconstructed": "the source recording in its own speaker's voice",
    "real_target": "a real recording of the target speaker, of another text",
    "real_source": "the source recording itself",
}
FIGURES = {
    "target_similarity": "Cosine of the Resemblyzer embeddings of the clip and of the target speaker: the mean over "
    "some of the speaker's training recordings, without any that is heard in the comparison. A clip without voice "
    "is similar to nobody: 0.",
    "source_similarity": "The same with the source speaker.",
    "target_preferred": "Share of clips that are nearer to the target than to the source speaker.",
    "character_error_rate": "Insertions, deletions and substitutions that turn the transcript into what PocketSphinx "
    "hears, per character of the transcript (blanks count, letters are lower case).",
    "character_error_rate_shuffled": "The same against the transcript of another pair: what a clip scores that says "
    "something else.",
    "dnsmos": "DNSMOS of signal, background and overall, 1 (bad) to 5; silence gets 1. Clips shorter than its "
    "window of 9.01 s are repeated to fill it.",
    "f0_median_error_semitones": "Median over frames voiced in both of the distance, at most 12, between the F0 of the "
    "clip and the F0 it should have, then mean over clips; 12 where no frame is voiced in both. It should have the "
    "source's contour, moved for `converted` and `real_source` by the distance between the median F0 of the two "
    "speakers' training recordings: real_source is what leaving the pitch alone scores. For real_target it is the "
    "target's median: what a voice without melody scores.",
    "voicing_agreement": "Frames voiced in both the clip and the source, over frames voiced in either. Not defined for "
    "real_target, whose text is another.",
    "asked_pitch_error_semitones": "Median over frames voiced in both of the distance between the F0 of the clip and "
    "the contour that its model was asked for, at most 12, then mean over clips; 12 where no frame is voiced in both. "
    "Only models with pitch are asked for one.",
    "asked_voicing_agreement": "Frames voiced in both the clip and the contour asked for, over frames voiced in "
    "either.",
    "mel_cepstral_distortion": "Distance in dB between 13 mel cepstra, without the 0th, of the speech of the clip and "
    "of the target's own recording of the same sentence, aligned by dynamic time warping; only where the corpus has "
    "one. The model may have been trained on that recording: here it is only what is measured against. "
    "`reconstructed` is held against the recording it was made of: what units and decoder cost. real_source is what "
    "leaving the voice alone scores. Where neither recording has a text, those of one name say the same sentence.",
    "mel_cepstral_distortion_shuffled": "The same to a recording of the target that says something else: chance.",
}
MARK_NAMES = ("sig", "bak", "ovrl")
OCTAVE = 12.0  # semitones
BOOTSTRAP_RESAMPLES = 1000

Ratio = tuple[float, float]  # numerator, denominator; the denominator is 0 where there is nothing to measure
NOTHING: Ratio = (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Contour:
    """F0 that a clip should have: frame i from i / frames_per_second on."""

    hertz: np.ndarray  # (frames,), 0 where unvoiced
    frames_per_second: float


@dataclass(frozen=True)
class PitchAgreement:
    """How well a clip keeps to a contour."""

    error_semitones: float  # median over frames voiced in both; NaN where there are none
    voiced_alike: float  # frames voiced in both over frames voiced in either; 1 where neither has a voice


@dataclass(frozen=True, eq=False)
class SpeakerReference:
    """Reference recordings of a speaker, by name."""

    recordings: Mapping[str, Impression]

    def embedding(self, excluded: Collection[str]) -> np.ndarray | None:
        """Of unit length, without the recordings named; None where none with a voice is left."""
        kept = [each.embedding for name, each in self.recordings.items() if name not in excluded]
        mean = np.sum(kept, axis=0) if kept else np.zeros(1)
        length = float(np.linalg.norm(mean))
        return mean / length if length > 0 else None

    def median_semitones(self) -> float:
        """Median F0 in semitones above 1 Hz; NaN where no recording is voiced."""
        frames = [semitones(each.f0) for each in self.recordings.values()]
        voiced = np.concatenate([each[~np.isnan(each)] for each in frames]) if frames else np.zeros(0)
        return float(np.median(voiced)) if len(voiced) else np.nan


@dataclass(frozen=True, eq=False)
class Comparison:
    """A clip of a condition, and what it is compared to."""

    impression: Impression
    text: str  # its transcript; empty where it is not known
    other_text: str  # that of another clip; empty where there is none
    source: SpeakerReference
    target: SpeakerReference
    excluded: tuple[str, ...]  # reference recordings that are heard in the comparison
    expected: np.ndarray  # (frames,) semitones, NaN where unvoiced; one frame where it is constant


def score(heard: Comparison) -> dict[str, Ratio]:
    """The figures of one clip; DNSMOS' three as `dnsmos.sig` and so on."""
    impression = heard.impression
    assert impression.words is not None
    assert impression.marks is not None
    to_target = _similarity(impression, heard.target, heard.excluded)
    to_source = _similarity(impression, heard.source, heard.excluded)
    both = min(to_target[1], to_source[1])
    figures = {
        "target_similarity": to_target,
        "source_similarity": to_source,
        "target_preferred": (float(to_target[0] > to_source[0]) * both, both),
        "character_error_rate": _character_errors(heard.text, impression.words),
        "character_error_rate_shuffled": _character_errors(heard.other_text, impression.words),
        "f0_median_error_semitones": _f0_error(impression.f0, heard.expected),
        "voicing_agreement": _voicing_agreement(impression.f0, heard.expected),
    }
    return figures | {f"dnsmos.{name}": (getattr(impression.marks, name), 1.0) for name in MARK_NAMES}


def pitch_figures(f0: np.ndarray, wanted: Contour | None) -> dict[str, Ratio]:
    """The figures of a clip that was asked for a contour; `f0` in Hz every 10 ms, NaN where unvoiced."""
    if wanted is None:
        return {"asked_pitch_error_semitones": NOTHING, "asked_voicing_agreement": NOTHING}
    agreement = _agreement(f0, wanted)
    error = OCTAVE if np.isnan(agreement.error_semitones) else min(OCTAVE, agreement.error_semitones)
    return {
        "asked_pitch_error_semitones": (error, 1.0),
        "asked_voicing_agreement": (agreement.voiced_alike, 1.0),
    }


def pitch_agreement(waveform: Waveform, sample_rate: int, wanted: Contour) -> PitchAgreement:
    """How well a waveform `(time,)` keeps to a contour, as pYIN hears it; frames beyond either's end do not count."""
    return _agreement(fundamental_frequency(waveform, sample_rate), wanted)


def _agreement(f0: np.ndarray, wanted: Contour) -> PitchAgreement:
    times = np.arange(len(f0)) * PITCH_HOP_SECONDS
    frames = np.floor(times * wanted.frames_per_second + 1e-6).astype(np.int64)  # 0.29 * 100 is a little below 29
    inside = frames < len(wanted.hertz)
    heard, frames = f0[inside], frames[inside]
    asked = wanted.hertz[frames] > 0
    clip = ~np.isnan(heard)
    both, either = asked & clip, asked | clip
    centres = (np.flatnonzero(wanted.hertz > 0) + 0.5) / wanted.frames_per_second
    error = np.nan
    if both.any():  # between the centres of frames the contour is a line
        line = np.interp(times[inside][both], centres, semitones(wanted.hertz[wanted.hertz > 0]))
        error = float(np.median(np.abs(semitones(heard[both]) - line)))
    return PitchAgreement(error, float(both.sum() / either.sum()) if either.any() else 1.0)


def summarise(clips: Sequence[Mapping[str, Ratio]], recordings: Sequence[str], *, seed: int) -> dict[str, Any]:
    """The figures of a condition, in the form of conversion.json: each with value, n and ci95.

    Args:
        clips: what `score` returned.
        recordings: name of the recording each clip was made of.
        seed: of the bootstrap.
    """
    names = [name for name in FIGURES if name != "dnsmos"]
    figures = {name: _figure([clip[name] for clip in clips], recordings, seed) for name in names}
    marks = {name: _figure([clip[f"dnsmos.{name}"] for clip in clips], recordings, seed) for name in MARK_NAMES}
    return figures | {"dnsmos": marks}


def semitones(f0: np.ndarray) -> np.ndarray:
    """Hz → semitones above 1 Hz."""
    return OCTAVE * np.log2(np.asarray(f0, np.float64))


def edit_distance(reference: str, heard: str) -> int:
    """Levenshtein's."""
    row = list(range(len(heard) + 1))
    for deleted, wanted in enumerate(reference, 1):
        before, row[0] = row[0], deleted
        for position, letter in enumerate(heard, 1):
            changed = before + (letter != wanted)
            before = row[position]
            row[position] = min(changed, row[position] + 1, row[position - 1] + 1)
    return row[-1]


def _similarity(impression: Impression, voice: SpeakerReference, excluded: Collection[str]) -> Ratio:
    reference = voice.embedding(excluded)
    return NOTHING if reference is None else (float(impression.embedding @ reference), 1.0)


def _character_errors(text: str, words: str) -> Ratio:
    wanted = " ".join(spoken_words(text))
    return (float(edit_distance(wanted, words)), float(len(wanted))) if wanted else NOTHING


def _f0_error(f0: np.ndarray, expected: np.ndarray) -> Ratio:
    if np.isnan(expected).all():
        return NOTHING
    length = len(f0) if len(expected) == 1 else min(len(f0), len(expected))
    distance = np.abs(semitones(f0[:length]) - expected[:length])
    voiced = distance[~np.isnan(distance)]
    return (min(OCTAVE, float(np.median(voiced))) if len(voiced) else OCTAVE), 1.0


def _voicing_agreement(f0: np.ndarray, expected: np.ndarray) -> Ratio:
    if len(expected) == 1 or np.isnan(expected).all():
        return NOTHING
    length = min(len(f0), len(expected))
    clip, wanted = ~np.isnan(f0[:length]), ~np.isnan(expected[:length])
    return float((clip & wanted).sum() / (clip | wanted).sum()), 1.0


def _figure(ratios: Sequence[Ratio], recordings: Sequence[str], seed: int) -> dict[str, Any]:
    clusters: dict[str, list[Ratio]] = {}
    for ratio, recording in zip(ratios, recordings, strict=True):
        if ratio[1] > 0:
            clusters.setdefault(recording, []).append(ratio)
    if not clusters:
        return {"value": None, "n": 0, "ci95": None}
    sums = np.array([np.sum(cluster, axis=0) for cluster in clusters.values()])  # (recordings, 2)
    count = len(sums)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=BOOTSTRAP_RESAMPLES)
    drawn = draws @ sums  # (resamples, 2)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    value = float(sums[:, 0].sum() / sums[:, 1].sum())
    return {"value": value, "n": sum(map(len, clusters.values())), "ci95": [float(low), float(high)]}
