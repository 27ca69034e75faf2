"""Utterances as every measure sees them: units, latents, acoustic features and phones."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from audio_vq.analysis.alignment.alignments import Alignment
from audio_vq.analysis.measures.acoustics import Acoustics, describe
from audio_vq.analysis.measures.phones import LabelledUnits, frame_centres, label_frames
from audio_vq.analysis.measures.selection import AlignedCorpus
from audio_vq.codec.encode import encode_sources
from audio_vq.data.prepared import Utterance, corpus_sources
from audio_vq.progress import ProgressBar

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE


@dataclass(frozen=True, eq=False)
class EncodedUtterance:
    utterance: Utterance
    units: np.ndarray  # (num_units,) int64
    alignment: Alignment | None
    latents: np.ndarray  # (num_units, dim) float32
    acoustics: Acoustics


def encode_utterances(
    model: "VQVAE", source: AlignedCorpus, utterances: Sequence[Utterance], bar: ProgressBar
) -> tuple[EncodedUtterance, ...]:
    """Each utterance encoded once, all cores at work."""

    def acoustics(utterance: Utterance) -> Acoustics:
        return describe(source.corpus.waveform(utterance), model.sample_rate, model.hop_length)

    encoded = []
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        described = pool.map(acoustics, utterances)
        encodings = encode_sources(model.codec, corpus_sources(source.corpus, utterances), with_latents=True)
        for utterance, encoding, sound in zip(utterances, encodings, described, strict=True):
            assert encoding.latents is not None
            units, alignment = encoding.sequence.units, source.alignment(utterance)
            encoded.append(EncodedUtterance(utterance, units, alignment, encoding.latents.T, sound))
            bar.advance()
    return tuple(encoded)


def label(each: EncodedUtterance, hop_length: int, sample_rate: int) -> LabelledUnits:
    """A phone for each unit of an utterance that has an alignment."""
    assert each.alignment is not None
    centres = frame_centres(len(each.units), hop_length, each.utterance.num_samples, sample_rate)
    phones = label_frames(each.alignment, centres, each.utterance.offset_seconds)
    return LabelledUnits(each.utterance.id, each.units, phones)
