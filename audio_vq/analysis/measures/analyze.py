"""What a model's units say: measured on a prepared corpus with phone alignments."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from audio_vq import units as unit_statistics
from audio_vq.analysis.measures.abx import AbxScores, abx_of_nothing, abx_of_units, abx_of_vectors
from audio_vq.analysis.measures.baselines import MfccKmeans, Side, fit_mfcc_kmeans, score_baselines
from audio_vq.analysis.measures.coverage import Coverages, check_coverage
from audio_vq.analysis.measures.encoded import EncodedUtterance, encode_utterances, label
from audio_vq.analysis.measures.phones import PhoneScores, score_phones
from audio_vq.analysis.measures.rates import UnitRates, log_mel_distance, prior_rate, run_statistics, unigram_rate
from audio_vq.analysis.measures.segments import BoundaryScores, score_boundaries, utterance_boundaries
from audio_vq.analysis.measures.selection import Selection, at_most
from audio_vq.analysis.measures.speakers import SpeakerLeakage, speaker_leakage
from audio_vq.analysis.measures.triphones import AlignedFrames, comparable, find_triphones
from audio_vq.data.crops import CropSampler
from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.progress import progress_bar

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE
    from audio_vq.unit_prior import UnitPrior

CROP_SECONDS = 0.64
CROPS = 32
MOST_HOURS = 2.0  # of mapping and of scored utterances each; a seed draws them where there are more


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything measured; `metrics()` is the contract's metrics.json.

    Its keys, each explained where its class is defined: `phones` and `baselines` in phones.py and baselines.py,
    `coverage`, `segments`, `abx` and `rates` in the files of these names, `speaker_leakage` in speakers.py.
    """

    selection: Selection
    coverage: Coverages
    unit_rate_hz: float
    hop_length: int
    counts: np.ndarray  # (codebook_size,) use of each unit in the chosen split
    scored: tuple[EncodedUtterance, ...]  # with an alignment, all
    phones: PhoneScores
    baselines: dict[str, PhoneScores]  # mfcc_kmeans, random_units; latent_probe, unit_probe
    segments: BoundaryScores
    kmeans_segments: BoundaryScores
    kmeans_counts: np.ndarray  # (codebook_size,) use of each centre in the scored utterances
    latents_used: dict[str, float | None] | None  # None: no speaker of the split is known to the model
    abx: AbxScores
    speaker_leakage: SpeakerLeakage | None  # None: there are no two speakers with enough utterances
    rates: UnitRates

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
            "coverage": self.coverage.figures(),
            "segments": self.segments.figures(),
            "abx": self.abx.figures(),
            "speaker_leakage": self.speaker_leakage and self.speaker_leakage.figures(),
            "latents_used": self.latents_used,
            "rates": self.rates.figures(),
            "baselines": {name: scores.figures() | self._beside(name) for name, scores in self.baselines.items()},
            "split": self.selection.split,
            "mapping": self.selection.mapping_name,
            "mapping_utterances": len(self.selection.mapping),
            "scored_utterances": len(self.selection.scored),
        }

    def _beside(self, name: str) -> dict[str, Any]:
        """What is known of a baseline besides phones."""
        errors = self.abx.others.get(name)
        abx = {"abx": errors.figures()} if errors else {}
        if name != "mfcc_kmeans":
            return abx
        return abx | {
            "segments": self.kmeans_segments.figures(),
            "used_units": unit_statistics.used_units(self.kmeans_counts),
            "perplexity": unit_statistics.perplexity(self.kmeans_counts),
            "entropy_bits_per_second": unit_statistics.entropy_bits_per_second(self.kmeans_counts, self.unit_rate_hz),
        }


def analyze(model: "VQVAE", selection: Selection, *, seed: int, prior: "UnitPrior | None" = None) -> Analysis:
    """Encode the selected utterances, each once, and take all measures.

    `prior`, of this model's units, is for their entropy-coded rate.
    """
    hop_length, codebook_size = model.hop_length, model.codebook_size
    selection = at_most(selection, MOST_HOURS, seed=seed)
    coverage = check_coverage(selection)
    with progress_bar("encoding", total=len(selection.mapping) + len(selection.chosen), completed=0) as bar:
        mapping = _side(model, encode_utterances(model, selection.mapping_corpus, selection.mapping, bar))
        chosen = encode_utterances(model, selection.scored_corpus, selection.chosen, bar)
    scored = _side(model, [each for each in chosen if each.alignment is not None])
    kmeans = fit_mfcc_kmeans(mapping.encoded, codebook_size, seed=seed)
    kmeans_units = [kmeans.units(each.acoustics.mfcc) for each in scored.encoded]
    together = _one_corpus(selection, mapping.encoded, chosen)
    bits = latents_used(model, selection.scored_corpus.corpus, selection.chosen, seed=seed)
    return Analysis(
        selection=selection,
        coverage=coverage,
        unit_rate_hz=model.unit_rate_hz,
        hop_length=hop_length,
        counts=unit_statistics.usage((each.units for each in chosen), codebook_size),
        scored=scored.encoded,
        phones=score_phones(mapping.labelled, scored.labelled, codebook_size=codebook_size, seed=seed),
        baselines=score_baselines(mapping, scored, kmeans, codebook_size, seed=seed),
        segments=_segments(model, scored.encoded, [each.units for each in scored.encoded]),
        kmeans_segments=_segments(model, scored.encoded, kmeans_units),
        kmeans_counts=unit_statistics.usage(kmeans_units, codebook_size),
        latents_used=bits,
        abx=_abx(model, scored.encoded, together, kmeans, seed=seed),
        speaker_leakage=speaker_leakage(
            together, [kmeans.units(each.acoustics.mfcc) for each in together], codebook_size, seed=seed
        ),
        rates=_rates(model, selection, (mapping.encoded, chosen), bits, prior, seed=seed),
    )


def _side(model: "VQVAE", encoded: Sequence[EncodedUtterance]) -> Side:
    return Side(tuple(encoded), tuple(label(each, model.hop_length, model.sample_rate) for each in encoded))


def _one_corpus(
    selection: Selection, mapping: Sequence[EncodedUtterance], chosen: Sequence[EncodedUtterance]
) -> list[EncodedUtterance]:
    """What was chosen, and what teaches where it is of the same corpus; measures that learn no map may use it."""
    same = selection.mapping_corpus is selection.scored_corpus
    return [*chosen, *(mapping if same else ())]


def _segments(model: "VQVAE", scored: Iterable[EncodedUtterance], units: Iterable[np.ndarray]) -> BoundaryScores:
    return score_boundaries(
        utterance_boundaries(
            its_units,
            each.alignment,
            hop_length=model.hop_length,
            num_samples=each.utterance.num_samples,
            sample_rate=model.sample_rate,
            offset_seconds=each.utterance.offset_seconds,
        )
        for each, its_units in zip(scored, units, strict=True)
        if each.alignment is not None
    )


def _abx(
    model: "VQVAE",
    scored: Sequence[EncodedUtterance],
    together: Sequence[EncodedUtterance],
    kmeans: MfccKmeans,
    *,
    seed: int,
) -> AbxScores:
    """On the scored utterances; on all with an alignment where those have but one speaker."""
    alone = len({each.utterance.speaker for each in scored}) < 2
    some = [each for each in together if each.alignment is not None] if alone else scored
    spoken = [
        AlignedFrames(each.utterance.speaker, each.alignment, each.utterance.offset_seconds, len(each.units))
        for each in some
        if each.alignment is not None
    ]
    tokens = comparable(find_triphones(spoken, model.hop_length / model.sample_rate), seed=seed)
    units = np.concatenate([each.units for each in some])
    kmeans_units = np.concatenate([kmeans.units(each.acoustics.mfcc) for each in some])
    return AbxScores(
        units=abx_of_units(tokens, units, model.codebook, seed=seed),
        others={
            "latents": abx_of_vectors(tokens, np.concatenate([each.latents for each in some]), seed=seed),
            "mfcc_kmeans": abx_of_units(tokens, kmeans_units, kmeans.centres, seed=seed),
            "random_units": abx_of_nothing(tokens, model.codebook, seed=seed),
        },
        utterances=len(some),
        speakers=len(tokens.speakers),
        tokens=len(tokens),
        contexts=len(np.unique(tokens.context)),
        measured_on="scored and mapping utterances (those scored have one speaker)" if alone else "scored utterances",
    )


def _rates(
    model: "VQVAE",
    selection: Selection,
    encoded: tuple[Sequence[EncodedUtterance], Sequence[EncodedUtterance]],
    bits: dict[str, float | None] | None,
    prior: "UnitPrior | None",
    *,
    seed: int,
) -> UnitRates:
    (mapping, chosen), rate = encoded, model.unit_rate_hz
    units = [each.units for each in chosen]
    per_sample = bits["bits_true"] if bits else None
    return UnitRates(
        fixed_bits_per_second=unit_statistics.bits_per_second(model.codebook_size, rate),
        unigram=unigram_rate([each.units for each in mapping], units, model.codebook_size, rate),
        prior=prior_rate(prior, chosen, rate) if prior else None,
        runs=run_statistics(units),
        audio_bits_per_sample=per_sample,
        audio_bits_per_second=None if per_sample is None else per_sample * model.sample_rate,
        mu_law_bits_per_second=8.0 * model.sample_rate,
        log_mel_distance=log_mel_distance(model, selection.scored_corpus.corpus, chosen, seed=seed),
    )


def latents_used(
    model: "VQVAE", corpus: PreparedCorpus, utterances: Sequence[Utterance], *, seed: int
) -> dict[str, float | None] | None:
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
    # None: there is no other speaker, or no other crop
    return {name: None if getattr(bits, name) is None else float(getattr(bits, name)) for name in names}
