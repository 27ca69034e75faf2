"""What the units cost in bits, and how far their speech is from the recording."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audio_vq.analysis.measures.encoded import EncodedUtterance
from audio_vq.audio.features import log_mel
from audio_vq.codec.prior import unit_bits
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.units import run_lengths

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE
    from audio_vq.unit_prior import UnitPrior

DECODED = 8  # utterances
DECODED_SECONDS = 2.0  # of each, from its beginning
FRAME_SECONDS = 0.01
MEL_RANGE_DB = 60.0  # below the loudest band of the recording; what is weaker counts as that weak
DB_PER_NEPER = 20 / np.log(10)
BOOTSTRAP_RESAMPLES = 1000


@dataclass(frozen=True)
class IdealCode:
    """Length of the units under one model of them, −log2 p of each: what an entropy coder would need."""

    bits_per_unit: float  # the model's cross-entropy, of all tracks together
    bits_per_second: float
    utterances: int


@dataclass(frozen=True)
class RunLengths:
    """How long units last before another follows, in any group, in units."""

    mean: float
    median: float
    p90: float
    repeated: float  # share of units equal to the one before


@dataclass(frozen=True)
class LogMelDistance:
    """Root mean square over 80 mel bands, mean over 10 ms frames, between recording and decoded units."""

    db: float
    ci95: tuple[float, float]  # by bootstrap over utterances
    other_utterance_db: float | None  # the same between recordings and decoded units of others; None of a single one
    utterances: int


@dataclass(frozen=True)
class UnitRates:
    """The contract's `rates`."""

    fixed_bits_per_second: float  # log2 of each track's size at the unit rate, summed
    unigram: IdealCode  # unit frequencies of the mapping utterances
    prior: IdealCode | None  # None: no prior was given, or it knows no speaker of the split
    runs: RunLengths
    audio_bits_per_sample: float | None  # of the decoder given the true units
    audio_bits_per_second: float | None
    mu_law_bits_per_second: float  # 8 bits per sample
    log_mel_distance: LogMelDistance | None  # None: no speaker of the split is known to the model

    def figures(self) -> dict[str, Any]:
        return asdict(self)


def unigram_rate(
    mapping: Sequence[np.ndarray], chosen: Sequence[np.ndarray], track_sizes: Sequence[int], unit_rate_hz: float
) -> IdealCode:
    """Codes `(tracks, time)` of the chosen utterances under the frequencies of the mapping ones.

    Every value of a track is counted once more than it occurs; the tracks' bits are added.
    """
    total = [np.zeros(each.shape[1]) for each in chosen]
    for track, size in enumerate(track_sizes):
        counts = np.bincount(np.concatenate([each[track] for each in mapping]), minlength=size) + 1
        bits = -np.log2(counts / counts.sum())
        total = [so_far + bits[each[track]] for so_far, each in zip(total, chosen, strict=True)]
    return _code(total, unit_rate_hz)


def prior_rate(prior: "UnitPrior", chosen: Sequence[EncodedUtterance], unit_rate_hz: float) -> IdealCode | None:
    """Units of those chosen utterances whose speaker the prior knows, under its probabilities; None of nobody's."""
    known = [each for each in chosen if each.utterance.speaker in prior.info.speakers]
    if not known:
        return None
    speakers = [prior.info.speaker_index(each.utterance.speaker) for each in known]
    return _code(unit_bits(prior.network, [each.code for each in known], speakers), unit_rate_hz)


def _code(bits: Sequence[np.ndarray], unit_rate_hz: float) -> IdealCode:
    """`bits` of each unit `(time,)`, per utterance."""
    per_unit = float(np.concatenate(bits).mean())
    return IdealCode(per_unit, per_unit * unit_rate_hz, len(bits))


def run_statistics(chosen: Sequence[np.ndarray]) -> RunLengths:
    lengths = np.concatenate([run_lengths(units).lengths for units in chosen])
    median, p90 = np.percentile(lengths, [50, 90])
    followers = sum(len(units) - 1 for units in chosen)
    repeated = int(lengths.sum() - len(lengths)) / followers if followers else 0.0
    return RunLengths(float(lengths.mean()), float(median), float(p90), repeated)


def log_mel_distance(
    model: "VQVAE", corpus: PreparedCorpus, chosen: Sequence[EncodedUtterance], *, seed: int
) -> LogMelDistance | None:
    """Decodes the beginnings of a few utterances, drawn by seed, in their own speakers' voices."""
    known = [each for each in chosen if each.utterance.speaker in model.speakers]
    if not known:
        return None
    order = np.random.default_rng(seed).permutation(len(known))
    some = [known[index] for index in order[:DECODED]]
    num_units = max(1, round(DECODED_SECONDS * model.unit_rate_hz))
    units = [each.code[..., :num_units] for each in some]
    decoded = model.decode_many(units, [each.utterance.speaker for each in some], seed=seed)
    recordings = [corpus.waveform(each.utterance) for each in some]
    distances = np.array([mel_distance_db(*pair, model.sample_rate) for pair in zip(recordings, decoded, strict=True)])
    others = zip(recordings, [*decoded[1:], decoded[0]], strict=True)
    other_db = float(np.mean([mel_distance_db(*pair, model.sample_rate) for pair in others]))
    resamples = np.random.default_rng(seed).integers(len(some), size=(BOOTSTRAP_RESAMPLES, len(some)))
    low, high = np.percentile(distances[resamples].mean(axis=1), [2.5, 97.5])
    return LogMelDistance(
        db=float(distances.mean()),
        ci95=(float(low), float(high)),
        other_utterance_db=other_db if len(some) > 1 else None,
        utterances=len(some),
    )


def mel_distance_db(recording: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float:
    """Of the stretch that both have: root mean square over bands, mean over frames, in dB."""
    length = min(len(recording), len(decoded))
    hop = round(FRAME_SECONDS * sample_rate)
    one, other = (DB_PER_NEPER * log_mel(each[:length], sample_rate, hop) for each in (recording, decoded))
    floor = one.max() - MEL_RANGE_DB
    difference = np.maximum(one, floor) - np.maximum(other, floor)
    return float(np.sqrt((difference**2).mean(axis=0)).mean())
