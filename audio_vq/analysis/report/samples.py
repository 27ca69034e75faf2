"""Excerpts of scored utterances for the report: to look at, and to hear stretch by stretch."""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.image import imsave

from audio_vq.analysis.alignment.alignments import find_alignment
from audio_vq.analysis.alignment.words import find_words
from audio_vq.analysis.measures.analyze import Analysis
from audio_vq.analysis.measures.encoded import EncodedUtterance
from audio_vq.analysis.measures.phones import PhoneScores
from audio_vq.analysis.report.atlas import mel_band
from audio_vq.analysis.report.phone_classes import phone_class
from audio_vq.audio.features import log_mel
from audio_vq.audio.files import flac_bytes
from audio_vq.audio.waveform import Waveform
from audio_vq.data.prepared import Utterance
from audio_vq.units import run_lengths

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE

EXCERPT_SECONDS = 3.0
EXCERPTS = 3
MEL_HOP_SECONDS = 0.01
DYNAMIC_RANGE = np.log(10 ** (70 / 20))  # shown, 70 dB below the loudest

INTRODUCTION = (
    f"The first {EXCERPT_SECONDS:g} seconds of up to {EXCERPTS} scored utterances: the recording, and what "
    "the decoder makes of its units. Click a word, a phone or a unit to hear exactly that stretch, of the one or "
    "the other; arrow keys walk along a strip, Enter plays."
)
INTRODUCTION_WITHOUT_PHONES = INTRODUCTION.replace("a word, a phone or a unit", "a unit")
CAPTION_WITHOUT_PHONES = (
    "Log-mel spectrogram (25 ms windows every 10 ms) and units. Numbers are unit indices; repeated units are drawn as "
    "one box."
)
CAPTION = (
    "Log-mel spectrogram (25 ms windows every 10 ms), words, phones of the alignment, and units. A unit has the "
    "colour of the phone it is mapped to: where the two strips agree, the unit was read as the right kind of "
    "sound. Numbers are unit indices; repeated units are drawn as one box."
)


@dataclass(frozen=True)
class Box:
    """A labelled stretch of an excerpt, in seconds from its beginning."""

    text: str
    start: float
    end: float
    phone_class: str | None = None  # its colour
    unit: int | None = None
    detail: str = ""


@dataclass(frozen=True)
class Strip:
    name: str
    each: str  # what one box is
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Tick:
    text: str
    place: float  # 0 to 1 along the axis


@dataclass(frozen=True)
class Player:
    key: str
    name: str
    flac: str  # base64


@dataclass(frozen=True)
class Sample:
    id: str
    speaker: str
    text: str | None  # the sentence
    seconds: float
    spectrogram: str  # base64 PNG, low frequencies at the bottom
    hertz: tuple[Tick, ...]  # kHz, from the bottom
    times: tuple[Tick, ...]  # seconds
    strips: tuple[Strip, ...]
    players: tuple[Player, ...]


def pick_utterances(scored: Iterable[EncodedUtterance]) -> list[EncodedUtterance]:
    """A few utterances, of different speakers as far as there are."""
    turns: dict[str, int] = {}
    ranked = []
    for each in scored:
        turn = turns.setdefault(each.utterance.speaker, 0)
        turns[each.utterance.speaker] += 1
        ranked.append((turn, each))
    return [each for _, each in sorted(ranked, key=lambda pair: pair[0])[:EXCERPTS]]


def make_samples(model: "VQVAE", analysis: Analysis, group: int, *, seed: int) -> list[Sample]:
    """Excerpts of a few utterances; their units are decoded side by side. Units of this group are in the atlas."""
    rate = analysis.selection.scored_corpus.corpus.sample_rate
    picked = pick_utterances(analysis.scored)
    lengths = [min(each.utterance.num_samples, round(EXCERPT_SECONDS * rate)) for each in picked]
    codes = [each.code[..., : -(-length // analysis.hop_length)] for each, length in zip(picked, lengths, strict=True)]
    own = [each.utterance.speaker for each in picked]
    voices = [speaker if speaker in model.speakers else model.speakers[0] for speaker in own]
    decoded = model.decode_many(codes, voices, seed=seed)
    return [
        _sample(analysis, group, each, voice, waveform[:length])
        for each, voice, waveform, length in zip(picked, voices, decoded, lengths, strict=True)
    ]


def _sample(analysis: Analysis, group: int, each: EncodedUtterance, voice: str, decoded: Waveform) -> Sample:
    corpus, utterance = analysis.selection.scored_corpus.corpus, each.utterance
    waveform = corpus.waveform(utterance, 0, len(decoded))
    known = voice == utterance.speaker
    spoken = "own voice" if known else f"{voice}'s voice, as {utterance.speaker} is unknown to the model"
    seconds = len(decoded) / corpus.sample_rate
    return Sample(
        id=utterance.id,
        speaker=utterance.speaker,
        text=utterance.text,
        seconds=seconds,
        spectrogram=_spectrogram(waveform, corpus.sample_rate),
        hertz=_hertz(corpus.sample_rate),
        times=tuple(Tick(f"{time:g}", time / seconds) for time in np.arange(0, seconds + 1e-6, 0.5).tolist()),
        strips=tuple(strip for strip in _strips(analysis, group, each, seconds) if strip.boxes),
        players=(
            Player("recording", "recording", _flac(waveform, corpus.sample_rate)),
            Player("decoded", f"decoded from its units, {spoken}", _flac(decoded, corpus.sample_rate)),
        ),
    )


def _strips(analysis: Analysis, group: int, each: EncodedUtterance, seconds: float) -> Sequence[Strip]:
    alignment, utterance = each.alignment, each.utterance
    folder = analysis.selection.scored_corpus.folder
    if alignment is None or folder is None:
        return tuple(_unit_strips(analysis, group, each, seconds))
    path = find_alignment(folder, utterance.speaker, utterance.id)
    words = find_words(path, alignment, utterance.text) if path else ()
    starts, ends = alignment.boundaries[:-1].tolist(), alignment.boundaries[1:].tolist()
    phones = (
        Box(label, start, end, phone_class(label))
        for label, start, end in zip(alignment.labels, starts, ends, strict=True)
    )
    return (
        Strip("words", "word", _inside((Box(word.text, word.start, word.end) for word in words), utterance, seconds)),
        Strip("phones", "phone", _inside(phones, utterance, seconds)),
        *_unit_strips(analysis, group, each, seconds),
    )


def _inside(boxes: Iterable[Box], utterance: Utterance, seconds: float) -> tuple[Box, ...]:
    """Those in the excerpt, cut to it; their times are of the source recording."""
    offset = utterance.offset_seconds
    moved = (
        Box(box.text, max(0.0, box.start - offset), min(seconds, box.end - offset), box.phone_class) for box in boxes
    )
    return tuple(box for box in moved if box.end > box.start)


def _unit_strips(analysis: Analysis, group: int, each: EncodedUtterance, seconds: float) -> Iterable[Strip]:
    """One for each group; of the group that is in the atlas, boxes know their units."""
    several = len(each.units) > 1
    for number, units in enumerate(each.units[:, : math.ceil(seconds * analysis.unit_rate_hz - 1e-6)]):
        boxes = _unit_boxes(analysis.groups[number].phones, units, analysis.unit_rate_hz, seconds)
        known = boxes if number == group else tuple(replace(box, unit=None) for box in boxes)
        yield Strip(f"units {number}" if several else "units", "unit", known)


def _unit_boxes(phones: PhoneScores | None, units: np.ndarray, unit_rate_hz: float, seconds: float) -> tuple[Box, ...]:
    runs = run_lengths(units)
    ends = np.minimum(np.cumsum(runs.lengths) / unit_rate_hz, seconds)
    starts = np.concatenate([[0.0], ends[:-1]])
    boxes = []
    for unit, start, end in zip(runs.units.tolist(), starts.tolist(), ends.tolist(), strict=True):
        box = Box(str(unit), start, end, unit=unit)
        if phones:
            phone = phones.unit_phones[unit]
            box = replace(box, phone_class=phone_class(phone), detail=f"read as {phone}")
        boxes.append(box)
    return tuple(boxes)


def _spectrogram(waveform: Waveform, sample_rate: int) -> str:
    mel = log_mel(waveform, sample_rate, round(MEL_HOP_SECONDS * sample_rate))
    top = float(mel.max())
    buffer = io.BytesIO()
    imsave(buffer, mel, origin="lower", cmap=mpl.colormaps["magma"], vmin=top - DYNAMIC_RANGE, vmax=top, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def _hertz(sample_rate: int) -> tuple[Tick, ...]:
    bands = 80
    shown = [hz for hz in (250, 500, 1000, 2000, 4000, 8000) if hz < 0.9 * sample_rate / 2]
    return tuple(Tick(f"{hz / 1000:g}", (mel_band(hz, bands, sample_rate) + 0.5) / bands) for hz in shown)


def _flac(waveform: Waveform, sample_rate: int) -> str:
    return base64.b64encode(flac_bytes(waveform, sample_rate)).decode()
