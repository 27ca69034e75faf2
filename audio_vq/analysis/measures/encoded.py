"""Utterances as every measure sees them: units, pitch, latents, acoustic features and phones."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from audio_vq.analysis.alignment.alignments import Alignment
from audio_vq.analysis.measures.acoustics import Acoustics, describe
from audio_vq.analysis.measures.phones import frame_centres, label_frames
from audio_vq.analysis.measures.selection import AlignedCorpus
from audio_vq.codec.encode import encode_sources
from audio_vq.data.prepared import Utterance, corpus_sources
from audio_vq.progress import ProgressBar

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE


@dataclass(frozen=True, eq=False)
class EncodedUtterance:
    utterance: Utterance
    units: np.ndarray  # (groups, num_units) int64
    pitch: np.ndarray | None  # (num_units,) int64 classes, of models with pitch
    alignment: Alignment | None
    latents: np.ndarray  # (num_units, dim) float32: the groups' channels one after another
    acoustics: Acoustics

    @property
    def num_units(self) -> int:
        return self.units.shape[1]

    def latents_of(self, group: int) -> np.ndarray:
        """The channels that this group's units stand for, `(num_units, dim / groups)`."""
        return np.split(self.latents, len(self.units), axis=1)[group]

    @property
    def tracks(self) -> np.ndarray:
        """All that the code holds, `(tracks, num_units)`: units of each group, then pitch."""
        return self.units if self.pitch is None else np.vstack([self.units, self.pitch])

    @property
    def code(self) -> np.ndarray:
        """The same in the form that models take: of one track `(num_units,)`."""
        return self.tracks if len(self.tracks) > 1 else self.tracks[0]


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
            code, alignment = encoding.sequence, source.alignment(utterance)
            encoded.append(EncodedUtterance(utterance, code.groups, code.pitch, alignment, encoding.latents.T, sound))
            bar.advance()
    return tuple(encoded)


def phones_of(each: EncodedUtterance, hop_length: int, sample_rate: int) -> np.ndarray:
    """A phone for each unit of an utterance that has an alignment, `(num_units,)` strings."""
    assert each.alignment is not None
    centres = frame_centres(each.num_units, hop_length, each.utterance.num_samples, sample_rate)
    return label_frames(each.alignment, centres, each.utterance.offset_seconds)


def vectors(units: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """What units `(groups, num_units)` stand for in a codebook `(groups, K, dim / groups)`: `(num_units, dim)`."""
    return np.concatenate([book[row] for book, row in zip(codebook, units, strict=True)], axis=1)


def combinations(units: np.ndarray) -> np.ndarray:
    """A number for each combination of units `(groups, num_units)` that occurs here, `(num_units,)`.

    They tell where anything changes; the same number stands for something else in another utterance.
    """
    return units[0] if len(units) == 1 else np.unique(units, axis=1, return_inverse=True)[1].reshape(-1)
