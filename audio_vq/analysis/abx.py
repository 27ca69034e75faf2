"""ABX: is a triphone nearer to another of its kind than to one with a different phone in the middle?"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class AbxErrors:
    """Error rates: 0 is perfect, 0.5 is chance. None where no speaker, or no two, say the same context twice."""

    within_speaker: float | None  # A, B and X by one speaker
    within_ci95: tuple[float, float] | None  # by bootstrap over contexts (phone before, phone after)
    across_speaker: float | None  # A and B by one speaker, X by another
    across_ci95: tuple[float, float] | None

    def figures(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class AbxScores:
    """ABX of the units, as distances between their codebook vectors, beside other representations."""

    units: AbxErrors
    others: dict[str, AbxErrors]  # latents, mfcc_kmeans, random_units
    utterances: int  # measured on
    speakers: int
    tokens: int  # triphones compared
    contexts: int
    measured_on: str  # for people

    def figures(self) -> dict[str, Any]:
        """The contract's `abx`."""
        counts = {name: getattr(self, name) for name in ("utterances", "speakers", "tokens", "contexts", "measured_on")}
        return self.units.figures() | {"from_latents": self.others["latents"].figures()} | counts
