"""Sound for the unit atlas: the most typical stretches of every unit, each with a little of what surrounds it."""

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from audio_vq.analysis.measures.analyze import Analysis
from audio_vq.analysis.measures.encoded import EncodedUtterance
from audio_vq.analysis.report.atlas import Atlas, Stretch, UnitEntry
from audio_vq.audio.files import opus_bytes
from audio_vq.progress import progress_bar

CONTEXT_SECONDS = 0.2  # before and after the stretch
GAP_SECONDS = 0.04  # of silence between the clips of one unit, which share one file
LONGEST_SECONDS = 0.4  # of a stretch; what is longer is cut
BUDGET_SECONDS = 720.0  # of all clips together, about 4 MB of base64 and 20 seconds of one core


@dataclass(frozen=True)
class ClipPlace:
    offset: float  # seconds of its beginning in the unit's file
    seconds: float
    start: float  # of the stretch, from the clip's beginning
    end: float
    phones: tuple[tuple[str, float, float], ...]  # label, start, end, from the clip's beginning

    def to_json(self) -> dict[str, Any]:
        places = {name: round(getattr(self, name), 4) for name in ("offset", "seconds", "start", "end")}
        return places | {"phones": [[label, round(start, 3), round(end, 3)] for label, start, end in self.phones]}


def make_clips(analysis: Analysis, atlas: Atlas) -> dict[str, Any]:
    """Unit → {`opus`: base64, `clips`: as many as the budget allows, in the order of `typical`}."""
    corpus = analysis.selection.scored_corpus.corpus
    sounding = [entry for entry in atlas.units if entry.typical]
    # the rarest go without where not even one each fits
    sounding.sort(key=lambda entry: -entry.count)
    most = clips_per_unit(len(sounding), atlas.seconds_per_unit)

    def clip(entry: UnitEntry) -> tuple[str, dict[str, Any]]:
        waveform, places = _join(analysis, atlas, entry.typical[:most])
        sound = base64.b64encode(opus_bytes(waveform, corpus.sample_rate)).decode()
        return str(entry.unit), {"opus": sound, "clips": [place.to_json() for place in places]}

    clips = {}
    with (
        progress_bar("clips", total=len(sounding), completed=0) as bar,
        ThreadPoolExecutor(torch.get_num_threads()) as pool,  # the encoder lets go of Python's lock
    ):
        for unit, sounds in pool.map(clip, sounding[: _affordable(atlas.seconds_per_unit)]):
            clips[unit] = sounds
            bar.advance()
    return clips


def clips_per_unit(units: int, seconds_per_unit: float) -> int:
    """How many fit, at least one."""
    return max(1, _affordable(seconds_per_unit) // max(1, units))


def _affordable(seconds_per_unit: float) -> int:
    return int(BUDGET_SECONDS / (2 * CONTEXT_SECONDS + GAP_SECONDS + 1.5 * seconds_per_unit))


def _join(analysis: Analysis, atlas: Atlas, stretches: Sequence[Stretch]) -> tuple[np.ndarray, list[ClipPlace]]:
    corpus = analysis.selection.scored_corpus.corpus
    rate = corpus.sample_rate
    gap = np.zeros(round(GAP_SECONDS * rate), np.float32)
    pieces, clips, offset = [], [], 0
    for stretch in stretches:
        each = atlas.utterances[stretch.utterance]
        start = stretch.start * analysis.hop_length
        end = min(start + stretch.length * analysis.hop_length, start + round(LONGEST_SECONDS * rate))
        first = max(0, start - round(CONTEXT_SECONDS * rate))
        last = min(each.utterance.num_samples, end + round(CONTEXT_SECONDS * rate))
        clips.append(
            ClipPlace(
                offset=offset / rate,
                seconds=(last - first) / rate,
                start=(start - first) / rate,
                end=(min(end, last) - first) / rate,
                phones=_phones(each, first / rate, last / rate),
            )
        )
        pieces += [corpus.waveform(each.utterance, first, last - first), gap]
        offset += last - first + len(gap)
    return np.concatenate(pieces), clips


def _phones(each: EncodedUtterance, first: float, last: float) -> tuple[tuple[str, float, float], ...]:
    """Phones between two times of the prepared utterance, from the first of them on."""
    if each.alignment is None:
        return ()
    times = (each.alignment.boundaries - each.utterance.offset_seconds).tolist()
    return tuple(
        (label, max(start, first) - first, min(end, last) - first)
        for label, (start, end) in zip(each.alignment.labels, pairwise(times), strict=True)
        if start < last and end > first
    )
