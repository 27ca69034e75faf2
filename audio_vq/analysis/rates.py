"""What the units cost in bits, and how far their speech is from the recording."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class CodedRate:
    """Units written by an arithmetic coder under one model of them."""

    bits_per_unit: float
    bits_per_second: float
    ideal_bits_per_second: float  # the model's cross-entropy
    utterances: int


@dataclass(frozen=True)
class RunLengths:
    """How long units last before another follows, in units."""

    mean: float
    median: float
    p90: float
    repeated: float  # share of units equal to the one before


@dataclass(frozen=True)
class LogMelDistance:
    """Root mean square over 80 mel bands, mean over 10 ms frames, between recording and decoded units."""

    db: float
    ci95: tuple[float, float]  # by bootstrap over utterances
    other_utterance_db: float  # the same between recordings and the decoded units of other utterances
    utterances: int


@dataclass(frozen=True)
class Rates:
    """The contract's `rates`."""

    fixed_bits_per_second: float  # log2 K at the unit rate
    unigram: CodedRate  # unit frequencies of the mapping utterances
    prior: CodedRate | None
    runs: RunLengths
    audio_bits_per_sample: float | None  # of the decoder given the true units
    audio_bits_per_second: float | None
    mu_law_bits_per_second: float  # 8 bits per sample
    log_mel_distance: LogMelDistance | None  # None: no speaker of the split is known to the model

    def figures(self) -> dict[str, Any]:
        return asdict(self)
