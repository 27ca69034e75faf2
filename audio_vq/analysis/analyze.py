"""What a model's units say: measured on a prepared corpus with phone alignments."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from audio_vq import units as unit_statistics
from audio_vq.analysis.abx import AbxScores
from audio_vq.analysis.alignments import Alignment
from audio_vq.analysis.baselines import Encode, fit_latent_probe, fit_mfcc_kmeans, random_units
from audio_vq.analysis.phones import LabelledUnits, PhoneScores, frame_centres, label_frames, score_phones
from audio_vq.analysis.rates import Rates
from audio_vq.analysis.segments import BoundaryScores, score_boundaries, utterance_boundaries
from audio_vq.analysis.selection import AlignedCorpus, Selection
from audio_vq.analysis.speakers import SpeakerLeakage
from audio_vq.data.crops import CropSampler
from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.data.progress import ProgressBar, progress_bar

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE

CROP_SECONDS = 0.64
CROPS = 32
FIT_SECONDS = 3600.0  # of mapping audio from which baselines are fitted


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
    abx: AbxScores | None = None
    speaker_leakage: SpeakerLeakage | None = None  # None: there are no two speakers with enough utterances
    rates: Rates | None = None

    def metrics(self) -> dict[str, Any]:
        skipped = len(self.selection.chosen) - len(self.selection.scored)
        return {
            "unit_rate_hz": self.unit_rate_hz,
            "codebook_size": len(self.counts),
            "used_units": unit_statistics.used_units(self.counts),
            "perplexity": unit_statistics.perplexity(self.counts),
            "bits_per_second": unit_statistics.bits_per_second(len(self.counts), self.unit_rate_hz),
            "entropy_bits_per_second": unit_statistics.entropy_bits_per_second(self.counts, self.unit_rate_hz),
            "phones": self.phones.figures() | {"skipped_utterances": skipped},
            "segments": self.segments.figures(),
            "abx": self.abx and self.abx.figures(),
            "speaker_leakage": self.speaker_leakage and self.speaker_leakage.figures(),
            "latents_used": self.latents_used,
            "rates": self.rates and self.rates.figures(),
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
        baselines=_baselines(model, selection, map_frames, frames, seed=seed),
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
    model: "VQVAE",
    selection: Selection,
    mapping: Sequence[LabelledUnits],
    scored: Sequence[LabelledUnits],
    *,
    seed: int,
) -> dict[str, PhoneScores]:
    """The phone protocol on the same frames, with units of other origin."""
    rng = np.random.default_rng(seed)
    corpus = selection.mapping_corpus.corpus
    some = _about_an_hour(corpus, selection.mapping, rng)
    waveforms = [corpus.waveform(selection.mapping[index]) for index in some]
    kmeans = fit_mfcc_kmeans(
        waveforms,
        sample_rate=model.sample_rate,
        hop_length=model.hop_length,
        codebook_size=model.codebook_size,
        seed=seed,
    )
    phones = np.concatenate([mapping[index].phones for index in some])
    probe = fit_latent_probe(lambda waveform: model.latents(waveform, model.sample_rate), waveforms, phones)
    size = max(model.codebook_size, len(np.unique(phones)))
    encoders = {"mfcc_kmeans": kmeans} | ({"latent_probe": probe} if probe else {})

    def score(*sides: list[LabelledUnits]) -> PhoneScores:
        return score_phones(*sides, codebook_size=size, seed=seed)

    def random(frames: LabelledUnits) -> LabelledUnits:
        return replace(frames, units=random_units(len(frames.units), model.codebook_size, rng))

    scores = {"random_units": score([random(each) for each in mapping], [random(each) for each in scored])}
    for name, encode in encoders.items():
        with progress_bar(name.replace("_", " "), total=len(mapping) + len(scored), completed=0) as bar:
            taught = _encode(encode, selection.mapping_corpus, selection.mapping, bar)
            heard = _encode(encode, selection.scored_corpus, selection.scored, bar)
        scores[name] = score(_with_units(mapping, taught), _with_units(scored, heard))
    return scores


def _with_units(frames: Sequence[LabelledUnits], encoded: Sequence[EncodedUtterance]) -> list[LabelledUnits]:
    return [replace(each, units=other.units) for each, other in zip(frames, encoded, strict=True)]


def _about_an_hour(corpus: PreparedCorpus, utterances: Sequence[Utterance], rng: np.random.Generator) -> list[int]:
    """Indices of utterances in random order, so many as begin within the first hour."""
    order = rng.permutation(len(utterances))
    samples = np.array([utterances[index].num_samples for index in order])
    begins = (np.cumsum(samples) - samples) / corpus.sample_rate
    return [int(index) for index in order[begins < FIT_SECONDS]]


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
