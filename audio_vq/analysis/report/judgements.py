"""The figures of conversion.json as a table: how each is written, and how those that not all have are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audio_vq.analysis.judges.scores import CONDITIONS


@dataclass(frozen=True)
class _Scale:
    """How a figure is written and between which values its plot lies."""

    name: str
    key: str
    pattern: str
    low: float
    high: float
    better: str = "higher is better"


SCALES = (
    _Scale("similarity to target", "target_similarity", "{:.2f}", 0, 1),
    _Scale("similarity to source", "source_similarity", "{:.2f}", 0, 1, "lower is better"),
    _Scale("nearer to target", "target_preferred", "{:.0%}", 0, 1),
    _Scale("character error rate", "character_error_rate", "{:.0%}", 0, 1, "lower is better"),
    _Scale("… against another text", "character_error_rate_shuffled", "{:.0%}", 0, 1, "chance"),
    _Scale("DNSMOS overall", "dnsmos.ovrl", "{:.2f}", 1, 5),
    _Scale("DNSMOS signal", "dnsmos.sig", "{:.2f}", 1, 5),
    _Scale("DNSMOS background", "dnsmos.bak", "{:.2f}", 1, 5),
    _Scale("F0 error (semitones)", "f0_median_error_semitones", "{:.1f}", 0, 12, "lower is better"),
    _Scale("voicing agreement", "voicing_agreement", "{:.0%}", 0, 1),
    _Scale("error to the F0 asked for", "asked_pitch_error_semitones", "{:.2f}", 0, 12, "semitones; lower is better"),
    _Scale("… voiced as asked for", "asked_voicing_agreement", "{:.0%}", 0, 1),
    _Scale("mel-cepstral distortion", "mel_cepstral_distortion", "{:.1f}", 0, 15, "dB; lower is better"),
    _Scale("… to another sentence", "mel_cepstral_distortion_shuffled", "{:.1f}", 0, 15, "dB; chance"),
)
READINGS = {  # of figures that not every evaluation has
    "asked_pitch_error_semitones": "The F0 asked for is what the model was given beside its units: an error of a "
    "semitone is heard as another note, a tenth is not heard.",
    "mel_cepstral_distortion": "Mel-cepstral distortion is taken where the target has said the same sentence itself "
    "(perhaps in training, which does not matter: that recording is only measured against): converted should lie far "
    "below real source, which is what leaving the voice alone scores, and at best comes down to reconstructed, which "
    "is held against the very recording it was made of.",
}


@dataclass(frozen=True)
class FigureCell:
    """A figure of one condition; places are shares of the plot's width."""

    condition: str
    value: str
    interval: str
    n: int
    place: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class FigureRow:
    name: str
    better: str
    low: str  # ends of the axis
    high: str
    cells: tuple[FigureCell, ...]


def readings(conversion: Mapping[str, Any]) -> tuple[str, ...]:
    """How to read figures that this evaluation has and others have not."""
    return tuple(text for key, text in READINGS.items() if _measured(conversion, key))


def shown_figures(conversion: Mapping[str, Any]) -> tuple[FigureRow, ...]:
    """Every figure that was taken, with its interval, by condition."""
    return tuple(
        FigureRow(
            scale.name,
            scale.better,
            scale.pattern.format(scale.low),
            scale.pattern.format(scale.high),
            tuple(_cell(scale, name, conversion[name]) for name in CONDITIONS),
        )
        for scale in SCALES
        if _measured(conversion, scale.key)
    )


def _measured(conversion: Mapping[str, Any], key: str) -> bool:
    """Whether any condition has the figure."""
    return any(_figure(conversion[condition], key)["value"] is not None for condition in CONDITIONS)


def _figure(figures: Mapping[str, Any], key: str) -> Any:
    for part in key.split("."):
        figures = figures[part]
    return figures


def _cell(scale: _Scale, condition: str, figures: Mapping[str, Any]) -> FigureCell:
    figure = _figure(figures, scale.key)
    if figure["value"] is None:
        return FigureCell(condition, "–", "", 0, None, None, None)
    low, high = figure["ci95"]

    def place(value: float) -> float:
        return min(1.0, max(0.0, (value - scale.low) / (scale.high - scale.low)))

    interval = f"({scale.pattern.format(low)} to {scale.pattern.format(high)})"
    shown = scale.pattern.format(figure["value"])
    return FigureCell(condition, shown, interval, figure["n"], place(figure["value"]), place(low), place(high))
