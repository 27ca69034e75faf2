"""Excerpts of scored utterances for the report: to look at and to listen to."""

import base64
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from audio_vq.analysis import plots
from audio_vq.analysis.analyze import Analysis, EncodedUtterance
from audio_vq.audio import log_mel, write_audio

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE

EXCERPT_SECONDS = 3.0
EXCERPTS = 3
MEL_HOP_SECONDS = 0.01

INTRODUCTION = (
    f"The first {EXCERPT_SECONDS:g} seconds of up to {EXCERPTS} scored utterances: the recording, and what "
    "the decoder makes of its units."
)
CAPTION = (
    "Log-mel spectrogram (25 ms windows every 10 ms), phones of the alignment, and units. A unit has the "
    "colour of the phone it is mapped to: where the two strips agree, the unit was read as the right kind of "
    "sound. Numbers are unit indices; repeated units are drawn as one box."
)


@dataclass(frozen=True)
class Player:
    name: str
    wav: str  # base64


@dataclass(frozen=True)
class Sample:
    svg: Markup
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


def make_sample(model: "VQVAE", analysis: Analysis, each: EncodedUtterance, number: int, *, seed: int) -> Sample:
    corpus, utterance = analysis.selection.scored_corpus.corpus, each.utterance
    length = min(utterance.num_samples, round(EXCERPT_SECONDS * corpus.sample_rate))
    waveform = corpus.waveform(utterance, 0, length)
    units = each.units[: -(-length // analysis.hop_length)]
    known = utterance.speaker in model.speakers
    speaker = utterance.speaker if known else model.speakers[0]
    decoded = model.decode(units, speaker, seed=seed)[:length]
    voice = "own voice" if known else f"{speaker}'s voice, as {utterance.speaker} is unknown to the model"
    figure = plots.draw_excerpt(_excerpt(analysis, each, waveform, units))
    svg = plots.to_svg(figure, f"excerpt{number}", f"Spectrogram, phones and units of {utterance.id}")
    return Sample(
        svg=Markup(svg),  # noqa: S704 (our own drawing)
        players=(
            Player("recording", _wav_base64(waveform, corpus.sample_rate)),
            Player(f"decoded from its units, {voice}", _wav_base64(decoded, corpus.sample_rate)),
        ),
    )


def _excerpt(analysis: Analysis, each: EncodedUtterance, waveform: np.ndarray, units: np.ndarray) -> plots.Excerpt:
    assert each.alignment is not None
    sample_rate = analysis.selection.scored_corpus.corpus.sample_rate
    seconds = len(waveform) / sample_rate
    starts = each.alignment.boundaries[:-1] - each.utterance.offset_seconds
    ends = each.alignment.boundaries[1:] - each.utterance.offset_seconds
    inside = (ends > 0) & (starts < seconds)
    return plots.Excerpt(
        title=f"{each.utterance.id}, speaker {each.utterance.speaker}",
        log_mel=log_mel(waveform, sample_rate, round(MEL_HOP_SECONDS * sample_rate)),
        sample_rate=sample_rate,
        seconds=seconds,
        units=units,
        seconds_per_unit=1 / analysis.unit_rate_hz,
        unit_phones=analysis.phones.unit_phones,
        phone_starts=np.maximum(starts[inside], 0.0),
        phones=tuple(np.array(each.alignment.labels)[inside].tolist()),
    )


def _wav_base64(waveform: np.ndarray, sample_rate: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.wav"
        write_audio(path, waveform, sample_rate)
        return base64.b64encode(path.read_bytes()).decode()
