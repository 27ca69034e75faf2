"""How well a linear probe names the speaker of an utterance: the encoder should lose the speaker."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SpeakerLeakage:
    """Accuracies on held-out utterances, as many of each speaker."""

    accuracy: float  # from how often each unit occurs in the utterance
    ci95: tuple[float, float]  # of the accuracy, by bootstrap over utterances
    chance: float  # 1 / speakers
    from_unit_bigrams: float  # from how often each pair of units occurs
    from_latents: float  # from mean and deviation over time
    from_log_mel: float  # from mean and deviation over time
    speakers: int
    utterances: int

    def figures(self) -> dict[str, Any]:
        return asdict(self)
