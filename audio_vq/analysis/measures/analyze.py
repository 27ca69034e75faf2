"""What a model's units say: measured on a prepared corpus; of phones, where it has alignments."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from audio_vq import units as unit_statistics
from audio_vq.analysis.measures.abx_scores import AbxScores, score_abx
from audio_vq.analysis.measures.baselines import MfccKmeans, fit_mfcc_kmeans, score_baselines
from audio_vq.analysis.measures.conditioning import latents_used
from audio_vq.analysis.measures.coverage import Coverages, check_coverage
from audio_vq.analysis.measures.encoded import EncodedUtterance, combinations, encode_utterances, phones_of
from audio_vq.analysis.measures.groups import GroupScores, PitchUse, score_changes
from audio_vq.analysis.measures.phones import PhoneScores
from audio_vq.analysis.measures.rates import UnitRates, log_mel_distance, prior_rate, run_statistics, unigram_rate
from audio_vq.analysis.measures.reading import Side, Sides, UnitsOf, counted, read_code
from audio_vq.analysis.measures.segments import BoundaryScores
from audio_vq.analysis.measures.selection import Selection, at_most
from audio_vq.analysis.measures.speakers import SpeakerLeakage, speaker_leakage
from audio_vq.progress import ProgressBar, progress_bar

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE
    from audio_vq.unit_prior import UnitPrior

T = TypeVar("T")
MEASURES = 8  # that take their time
MOST_HOURS = 2.0  # of mapping and of scored utterances each; a seed draws them where there are more


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything measured; `metrics()` is the contract's metrics.json.

    Its keys, each explained where its class is defined: `phones` and `baselines` in reading.py and baselines.py,
    `coverage`, `segments` and `rates` in the files of these names, `groups` and `pitch` in groups.py, `abx` in
    abx_scores.py, `speaker_leakage` in speakers.py. What is not in `groups` is of all groups together. Without
    alignments `coverage`, `phones`, `segments` and `abx` are None and not in metrics.json, and of the
    baselines only the use of k-means' centres is known.
    """

    selection: Selection
    coverage: Coverages | None
    unit_rate_hz: float
    hop_length: int
    groups: tuple[GroupScores, ...]  # of each group alone
    pitch: PitchUse | None  # None: the model has no pitch
    scored: tuple[EncodedUtterance, ...]  # all with an alignment where there are any
    phones: PhoneScores | None
    baselines: dict[str, PhoneScores]  # see baselines.py; empty without alignments
    segments: BoundaryScores | None
    kmeans_segments: BoundaryScores | None
    kmeans_counts: np.ndarray  # (groups, K) use of each centre in the scored utterances
    latents_used: dict[str, float | None] | None  # None: no speaker of the split is known to the model
    abx: AbxScores | None
    speaker_leakage: SpeakerLeakage | None  # None: there are no two speakers with enough utterances
    rates: UnitRates

    @property
    def codebook_size(self) -> int:
        return len(self.groups[0].counts)

    @property
    def counts(self) -> tuple[np.ndarray, ...]:
        """Use of each value of each track."""
        pitch = (self.pitch.counts,) if self.pitch else ()
        return (*(group.counts for group in self.groups), *pitch)

    def metrics(self) -> dict[str, Any]:
        return {
            "unit_rate_hz": self.unit_rate_hz,
            "codebook_size": self.codebook_size,
            **_use([group.counts for group in self.groups]),
            "bits_per_second": self.rates.fixed_bits_per_second,
            "entropy_bits_per_second": _entropy(self.counts, self.unit_rate_hz),
            **self._of_phones(),
            "groups": [group.figures(self.unit_rate_hz) for group in self.groups],
            "pitch": self.pitch and self.pitch.figures(self.unit_rate_hz),
            "speaker_leakage": self.speaker_leakage and self.speaker_leakage.figures(),
            "latents_used": self.latents_used,
            "rates": self.rates.figures(),
            "baselines": {name: self._baseline(name) for name in self.baselines or ("mfcc_kmeans",)},
            "split": self.selection.split,
            "mapping": self.selection.mapping_name,
            "mapping_utterances": len(self.selection.mapping),
            "scored_utterances": len(self.selection.scored),
        }

    def _of_phones(self) -> dict[str, Any]:
        """What alignments allow to measure."""
        if not (self.phones and self.coverage and self.segments and self.abx):
            return {}
        skipped = len(self.selection.chosen) - len(self.selection.scored)
        read_by = "counting" if len(self.groups) == 1 else "probe"
        return {
            "phones": self.phones.figures() | {"read_by": read_by, "skipped_utterances": skipped},
            "coverage": self.coverage.figures(),
            "segments": self.segments.figures(),
            "abx": self.abx.figures(),
        }

    def _baseline(self, name: str) -> dict[str, Any]:
        phones = self.baselines.get(name)
        abx = self.abx.others.get(name) if self.abx else None
        segments = self.kmeans_segments if name == "mfcc_kmeans" else None
        figures = (phones.figures() if phones else {}) | ({"abx": abx.figures()} if abx else {})
        figures |= {"segments": segments.figures()} if segments else {}
        if name != "mfcc_kmeans":
            return figures
        entropy = _entropy(self.kmeans_counts, self.unit_rate_hz)
        return figures | _use(self.kmeans_counts) | {"entropy_bits_per_second": entropy}


def _use(groups: Iterable[np.ndarray]) -> dict[str, float]:
    """Of the group that uses fewest, and the mean perplexity."""
    groups = list(groups)
    return {
        "used_units": min(unit_statistics.used_units(counts) for counts in groups),
        "perplexity": float(np.mean([unit_statistics.perplexity(counts) for counts in groups])),
    }


def _entropy(tracks: Iterable[np.ndarray], unit_rate_hz: float) -> float:
    return sum(unit_statistics.entropy_bits_per_second(counts, unit_rate_hz) for counts in tracks)


def analyze(model: "VQVAE", selection: Selection, *, seed: int, prior: "UnitPrior | None" = None) -> Analysis:
    """Encode the selected utterances, each once, and take all measures that their alignments allow.

    `prior`, of this model's units, is for their entropy-coded rate.
    """
    selection = at_most(selection, MOST_HOURS, seed=seed)
    coverage = check_coverage(selection) if selection.aligned else None
    with progress_bar("encoding", total=len(selection.mapping) + len(selection.chosen), completed=0) as bar:
        mapping = encode_utterances(model, selection.mapping_corpus, selection.mapping, bar)
        chosen = encode_utterances(model, selection.scored_corpus, selection.chosen, bar)
    with progress_bar("measuring", total=MEASURES) as bar:
        return _measured(model, selection, coverage, (mapping, chosen), prior, bar, seed=seed)


def _measured(
    model: "VQVAE",
    selection: Selection,
    coverage: Coverages | None,
    encoded: tuple[tuple[EncodedUtterance, ...], tuple[EncodedUtterance, ...]],
    prior: "UnitPrior | None",
    bar: ProgressBar,
    *,
    seed: int,
) -> Analysis:
    def took(measure: T) -> T:
        bar.advance()
        return measure

    (mapping, chosen), codebook, codebook_size = encoded, model.codebook, model.codebook_size
    scored = tuple(each for each in chosen if each.alignment is not None) if selection.aligned else chosen
    sides = Sides(_side(model, mapping), _side(model, scored)) if selection.aligned else None
    kmeans = took(fit_mfcc_kmeans(mapping, codebook_size, model.groups, seed=seed))
    together = _one_corpus(selection, mapping, chosen)
    bits = took(latents_used(model, selection.scored_corpus.corpus, selection.chosen, seed=seed))
    abx = took(score_abx(scored, together, codebook, kmeans, 1 / model.unit_rate_hz, seed=seed) if sides else None)
    pitch = [each.pitch for each in chosen if each.pitch is not None]
    kmeans_units = [kmeans.units_of(each) for each in together]
    leakage = took(speaker_leakage(together, kmeans_units, codebook_size, model.pitch_classes, seed=seed))

    def changes(units_of: UnitsOf) -> BoundaryScores | None:
        return score_changes(scored, units_of, model.hop_length, model.sample_rate) if sides else None

    return Analysis(
        selection=selection,
        coverage=coverage,
        unit_rate_hz=model.unit_rate_hz,
        hop_length=model.hop_length,
        groups=took(_groups(model, sides, chosen, abx, leakage, seed=seed)),
        pitch=PitchUse(unit_statistics.usage(pitch, model.pitch_classes)) if pitch else None,
        scored=scored,
        phones=took(
            read_code(sides, lambda each: each.units, model.groups, codebook_size, seed=seed) if sides else None
        ),
        baselines=took(score_baselines(sides, kmeans, codebook_size, seed=seed) if sides else {}),
        segments=changes(lambda each: each.units),
        kmeans_segments=changes(kmeans.units_of),
        kmeans_counts=_kmeans_use(kmeans, scored),
        latents_used=bits,
        abx=abx,
        speaker_leakage=leakage,
        rates=took(_rates(model, selection, (mapping, chosen), bits, prior, seed=seed)),
    )


def _side(model: "VQVAE", encoded: tuple[EncodedUtterance, ...]) -> Side:
    return Side(encoded, tuple(phones_of(each, model.hop_length, model.sample_rate) for each in encoded))


def _one_corpus(
    selection: Selection, mapping: Sequence[EncodedUtterance], chosen: Sequence[EncodedUtterance]
) -> list[EncodedUtterance]:
    """What was chosen, and what teaches where it is of the same corpus; measures that learn no map may use it."""
    same = selection.mapping_corpus is selection.scored_corpus
    return [*chosen, *(mapping if same else ())]


def _kmeans_use(kmeans: MfccKmeans, scored: Sequence[EncodedUtterance]) -> np.ndarray:
    units = np.concatenate([kmeans.units_of(each) for each in scored], axis=1)
    return np.stack([unit_statistics.usage([row], kmeans.centres.shape[1]) for row in units])


def _groups(
    model: "VQVAE",
    sides: Sides | None,
    chosen: Sequence[EncodedUtterance],
    abx: AbxScores | None,
    leakage: SpeakerLeakage | None,
    *,
    seed: int,
) -> tuple[GroupScores, ...]:
    def of_group(group: int) -> GroupScores:
        counts = unit_statistics.usage((each.units[group] for each in chosen), model.codebook_size)
        speakers = leakage.groups[group] if leakage else None
        if not (sides and abx):
            return GroupScores(counts, phones=None, segments=None, abx=None, speakers=speakers)
        scored = sides.scored.encoded
        return GroupScores(
            counts=counts,
            phones=counted(sides, lambda each: each.units[group], model.codebook_size, seed=seed),
            segments=score_changes(scored, lambda each: each.units[[group]], model.hop_length, model.sample_rate),
            abx=abx.groups[group],
            speakers=speakers,
        )

    return tuple(of_group(group) for group in range(model.groups))


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
    per_sample = bits["bits_true"] if bits else None
    tracks = [each.tracks for each in mapping], [each.tracks for each in chosen]
    return UnitRates(
        fixed_bits_per_second=model.bits_per_second,
        unigram=unigram_rate(*tracks, model.track_sizes, rate),
        prior=prior_rate(prior, chosen, rate) if prior else None,
        runs=run_statistics([combinations(each.units) for each in chosen]),
        audio_bits_per_sample=per_sample,
        audio_bits_per_second=None if per_sample is None else per_sample * model.sample_rate,
        mu_law_bits_per_second=8.0 * model.sample_rate,
        log_mel_distance=log_mel_distance(model, selection.scored_corpus.corpus, chosen, seed=seed),
    )
