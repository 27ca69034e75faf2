"""What a model's units say: measured on a prepared corpus with phone alignments."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from audio_vq import units as unit_statistics
from audio_vq.analysis.alignments import Alignment
from audio_vq.analysis.baselines import fit_mfcc_kmeans, random_units
from audio_vq.analysis.phones import LabelledUnits, PhoneScores, frame_centres, label_frames, score_phones
from audio_vq.analysis.segments import BoundaryScores, score_boundaries, utterance_boundaries
from audio_vq.analysis.selection import AlignedCorpus, Selection
from audio_vq.data.crops import CropSampler
from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.data.progress import ProgressBar, progress_bar

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE

CROP_SECONDS = 0.64
CROPS = 32
KMEANS_SECONDS = 3600.0  # of mapping audio from which the k-means centres are fitted

Encode = Callable[[np.ndarray], np.ndarray]  # waveform (time,) → units (num_units,)


@dataclass(frozen=True, eq=False)
class EncodedUtterance:
    utterance: Utterance
    units: np.ndarray  # (num_units,) int64
    alignment: Alignment | None


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything measured; `metrics()` is the contract's metrics.json."""

    selection: Selection
    unit_rate_hz: float
    hop_length: int
    counts: np.ndarray  # (codebook_size,) use of each unit in the chosen split
    scored: tuple[EncodedUtterance, ...]  # with an alignment, all
    phones: PhoneScores
    baselines: dict[str, PhoneScores]
    segments: BoundaryScores
    latents_used: dict[str, float] | None  # None: no speaker of the split is known to the model

    def metrics(self) -> dict[str, Any]:
        skipped = len(self.selection.chosen) - len(self.selection.scored)
        return {
            "unit_rate_hz": self.unit_rate_hz,
            "codebook_size": len(self.counts),
            "used_units": unit_statistics.used_units(self.counts),
            "perplexity": unit_statistics.perplexity(self.counts),
            "bits_per_second": unit_statistics.bits_per_second(len(self.counts), self.unit_rate_hz),
            "entropy_bits_per_second": unit_statistics.entropy_bits_per_second(
                self.counts, self.unit_rate_hz
            ),
            "phones": self.phones.figures() | {"skipped_utterances": skipped},
            "segments": self.segments.figures(),
            "latents_used": self.latents_used,
            "baselines": {name: scores.figures() for name, scores in self.baselines.items()},
            "split": self.selection.split,
            "mapping": self.selection.mapping_name,
            "mapping_utterances": len(self.selection.mapping),
            "scored_utterances": len(self.selection.scored),
        }


def analyze(model: "VQVAE", selection: Selection, *, seed: int) -> Analysis:
    """Encode the selected utterances and take all measures."""
    hop_length, codebook_size = model.hop_length, model.codebook_size

    def encode(waveform: np.ndarray) -> np.ndarray:
        return np.asarray(model.encode(waveform, model.sample_rate))

    with progress_bar("encoding", total=len(selection.mapping) + len(selection.chosen), completed=0) as bar:
        mapping = _encode(encode, selection.mapping_corpus, selection.mapping, bar)
        chosen = _encode(encode, selection.scored_corpus, selection.chosen, bar)
    scored = tuple(each for each in chosen if each.alignment is not None)
    map_frames = [_label(each, hop_length, model.sample_rate) for each in mapping]
    frames = [_label(each, hop_length, model.sample_rate) for each in scored]
    return Analysis(
        selection=selection,
        unit_rate_hz=model.unit_rate_hz,
        hop_length=hop_length,
        counts=unit_statistics.usage((each.units for each in chosen), codebook_size),
        scored=scored,
        phones=score_phones(map_frames, frames, codebook_size=codebook_size, seed=seed),
        baselines=_baselines(selection, map_frames, frames, hop_length, codebook_size, seed=seed),
        segments=_segments(scored, hop_length, model.sample_rate),
        latents_used=latents_used(model, selection.scored_corpus.corpus, selection.chosen, seed=seed),
    )


def _encode(
    encode: Encode, source: AlignedCorpus, utterances: Sequence[Utterance], bar: ProgressBar
) -> tuple[EncodedUtterance, ...]:
    encoded = []
    for utterance in utterances:
        units = encode(source.corpus.waveform(utterance))
        encoded.append(EncodedUtterance(utterance, units, source.alignment(utterance)))
        bar.advance()
    return tuple(encoded)


def _label(each: EncodedUtterance, hop_length: int, sample_rate: int) -> LabelledUnits:
    assert each.alignment is not None
    centres = frame_centres(len(each.units), hop_length, each.utterance.num_samples, sample_rate)
    phones = label_frames(each.alignment, centres, each.utterance.offset_seconds)
    return LabelledUnits(each.utterance.id, each.units, phones)


def _segments(scored: Iterable[EncodedUtterance], hop_length: int, sample_rate: int) -> BoundaryScores:
    return score_boundaries(
        utterance_boundaries(
            each.units,
            each.alignment,
            hop_length=hop_length,
            num_samples=each.utterance.num_samples,
            sample_rate=sample_rate,
            offset_seconds=each.utterance.offset_seconds,
        )
        for each in scored
        if each.alignment is not None
    )


def _baselines(
    selection: Selection,
    mapping: Sequence[LabelledUnits],
    scored: Sequence[LabelledUnits],
    hop_length: int,
    codebook_size: int,
    *,
    seed: int,
) -> dict[str, PhoneScores]:
    """The phone protocol on the same frames, with units of other origin."""
    rng = np.random.default_rng(seed)
    corpus = selection.mapping_corpus.corpus
    kmeans = fit_mfcc_kmeans(
        _some_waveforms(corpus, selection.mapping, rng),
        sample_rate=corpus.sample_rate,
        hop_length=hop_length,
        codebook_size=codebook_size,
        seed=seed,
    )
    with progress_bar("MFCC k-means", total=len(mapping) + len(scored), completed=0) as bar:
        sides = [
            _encode(kmeans, source, utterances, bar)
            for source, utterances in (
                (selection.mapping_corpus, selection.mapping),
                (selection.scored_corpus, selection.scored),
            )
        ]
    clustered = [
        [replace(frames, units=each.units) for frames, each in zip(side, encoded, strict=True)]
        for side, encoded in zip((mapping, scored), sides, strict=True)
    ]
    drawn = [
        [replace(frames, units=random_units(len(frames.units), codebook_size, rng)) for frames in side]
        for side in (mapping, scored)
    ]
    return {
        "mfcc_kmeans": score_phones(*clustered, codebook_size=codebook_size, seed=seed),
        "random_units": score_phones(*drawn, codebook_size=codebook_size, seed=seed),
    }


def _some_waveforms(
    corpus: PreparedCorpus, utterances: Sequence[Utterance], rng: np.random.Generator
) -> Iterable[np.ndarray]:
    """Waveforms in random order, about an hour of them at most."""
    order = [utterances[index] for index in rng.permutation(len(utterances))]
    begins = np.cumsum([0, *(each.num_samples for each in order[:-1])]) / corpus.sample_rate
    within = takewhile(lambda pair: pair[1] < KMEANS_SECONDS, zip(order, begins, strict=True))
    return (corpus.waveform(utterance) for utterance, _ in within)


def latents_used(
    model: "VQVAE", corpus: PreparedCorpus, utterances: Sequence[Utterance], *, seed: int
) -> dict[str, float] | None:
    """Bits per waveform sample under true and under wrong conditions, on crops by speakers the model knows.

    None where the model knows none of the speakers.
    """
    known = tuple(each for each in utterances if each.speaker in model.speakers)
    if not known:
        return None
    most = max(each.num_samples for each in known)
    crop_length = min(round(CROP_SECONDS * model.sample_rate), most) // model.hop_length * model.hop_length
    if crop_length == 0:
        return None
    known_corpus = replace(corpus, utterances=known)
    crops = CropSampler(known_corpus, "all", crop_length, batch_size=1, seed=seed).fixed(CROPS)
    speakers = torch.tensor([model.speakers.index(corpus.speakers[index]) for index in crops.speaker])
    bits = model.conditioning_bits(crops.waveform, speakers)
    names = ("bits_true", "bits_shuffled", "bits_zero", "bits_wrong_speaker")
    return {name: float(getattr(bits, name)) for name in names}
