"""Any number of synthetic speakers, as espeak-ng voice variants. All numbers are our own."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Accent:
    voice: str  # espeak-ng's identifier
    name: str
    region: str
    rhotic: bool  # the R of "car" is spoken


AMERICAN = Accent("gmw/en-US", "American", "General", rhotic=True)
BRITISH = (
    Accent("gmw/en", "English", "General", rhotic=False),
    Accent("gmw/en", "English", "General", rhotic=False),
    Accent("gmw/en-GB-x-rp", "English", "Received Pronunciation", rhotic=False),
    Accent("gmw/en-GB-scotland", "Scottish", "General", rhotic=True),
    Accent("gmw/en-GB-x-gbclan", "English", "Lancaster", rhotic=False),
    Accent("gmw/en-GB-x-gbcwmd", "English", "West Midlands", rhotic=False),
)
VARIANT_PITCH = 0.88  # espeak-ng speaks so much higher than a variant's pitch line says


@dataclass(frozen=True)
class Voice:
    name: str
    gender: str  # M or F
    accent: Accent
    rate: int  # words per minute, before the warp
    # The audio is played faster by this factor, which moves all resonances: also those of fricatives and
    # bursts, which espeak-ng plays back from the same recordings whatever the voice.
    warp: float
    equaliser_db: tuple[float, ...]  # at the corners in renderer.EQUALISER_HZ: microphone, vocal effort
    variant: str  # text of the espeak-ng voice file

    @property
    def identifier(self) -> str:
        return f"{self.accent.voice}+{self.name}"


def make_voices(count: int, seed: int) -> list[Voice]:
    """`count` voices, genders in turn, half of them American.

    Pitch and tract length are stratified: no two voices of a gender share a stratum of either.
    """
    draw = random.Random(seed).random  # the one method promised to stay the same from one Python to the next

    def between(low: float, high: float) -> float:
        return low + (high - low) * draw()

    sizes = {"M": (count + 1) // 2, "F": count // 2}
    tract_stratum = {gender: sorted(range(size), key=lambda _: draw()) for gender, size in sizes.items()}
    voices = []
    for index in range(count):
        gender, rank = "MF"[index % 2], index // 2
        size = sizes[gender]
        low, high = (72.0, 150.0) if gender == "M" else (150.0, 250.0)  # Hz
        pitch = low * (high / low) ** ((rank + between(0.2, 0.8)) / size)
        shortest, longest = (0.86, 1.02) if gender == "M" else (1.02, 1.22)  # resonances over the average's
        stratum = (tract_stratum[gender][rank] + between(0.2, 0.8)) / size
        tract = shortest + (longest - shortest) * stratum
        # gender alternates by twos, accent by fours: each gender gets every accent
        accent = AMERICAN if index // 2 % 2 == 0 else BRITISH[index // 4 % len(BRITISH)]
        name = f"p9{index + 1:02d}"
        voices.append(_voice(name, gender, accent, pitch=pitch, tract=tract, between=between))
    return voices


def _voice(
    name: str,
    gender: str,
    accent: Accent,
    *,
    pitch: float,  # Hz
    tract: float,  # resonances over the average's
    between: Callable[[float, float], float],
) -> Voice:
    warp = round(tract**0.7, 3)  # the rest of the tract's scaling is in the formants
    span = pitch * between(0.25, 0.65)  # Hz
    low = round((pitch - 0.35 * span) / warp * VARIANT_PITCH)
    high = round((pitch + 0.65 * span) / warp * VARIANT_PITCH)
    lines = [
        "language variant",
        f"name {name}",
        f"gender {'male' if gender == 'M' else 'female'}",
        f"pitch {low} {high}",
        f"flutter {int(between(1, 6))}",
        f"roughness {int(between(0, 4))}",
    ]
    for formant in range(9):
        frequency = 100.0 if formant == 0 else 100 * tract / warp
        if 1 <= formant <= 5:
            frequency *= between(0.95, 1.05)
        height, width = round(between(75, 115)), round(between(85, 140))
        lines.append(f"formant {formant} {round(frequency)} {height} {width}")
    tone = [(600, 150, 200), (1200, 105, 160), (2000, 80, 140), (3200, 60, 130)]  # Hz, least, most
    lines.append("tone " + " ".join(f"{hertz} {round(between(low, high))}" for hertz, low, high in tone))
    lines.append(f"consonants {round(between(75, 125))} {round(between(75, 125))}")
    lines.append(f"voicing {round(between(85, 110))}")
    breath = between(-2, 2.5)  # about half of the voices have none
    if breath > 0:
        shares = (0, 1, 1.5, 1.5, 1.5, 1.2, 1, 1)  # per formant
        lines.append("breath " + " ".join(str(round(breath * share)) for share in shares))
    return Voice(
        name=name,
        gender=gender,
        accent=accent,
        rate=round(between(135, 190) / warp),
        warp=warp,
        equaliser_db=tuple(round(between(-4, 4), 2) for _ in range(5)),
        variant="\n".join(lines) + "\n",
    )
