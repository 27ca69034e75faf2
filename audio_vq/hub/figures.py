"""Measured figures, each beside its controls, from what `audio-vq analyze` and `audio-vq evaluate` write."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audio_vq.errors import UserError

CONTROLS = {"reconstructed": "reconstructed", "real_target": "recordings of the target", "real_source": "of the source"}


@dataclass(frozen=True)
class Figure:
    """A figure of a model."""

    task: str  # "voice conversion", say
    metric: str  # by which the Hub knows it
    name: str
    value: float
    dataset: str  # "corpus (vctk)", say
    split: str
    interval: tuple[float, float] | None = None  # 95 %
    controls: Mapping[str, float] = field(default_factory=dict)


def read_figures(metrics: str | Path | None, conversion: str | Path | None) -> tuple[Figure, ...]:
    """Figures of metrics.json and of conversion.json; none of a file that is not given.

    Raises:
        UserError: it cannot be read, or is not such a file.
    """
    return (
        *(_read(Path(metrics), "metrics.json as `audio-vq analyze`", _of_units) if metrics else ()),
        *(_read(Path(conversion), "conversion.json as `audio-vq evaluate`", _of_conversion) if conversion else ()),
    )


def _read(path: Path, what: str, figures: Callable[[Any], Iterable[Figure | None]]) -> tuple[Figure, ...]:
    try:
        return tuple(figure for figure in figures(json.loads(path.read_text(encoding="utf-8"))) if figure)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is no {what} writes it") from None


def _of_units(metrics: dict[str, Any]) -> Iterable[Figure | None]:
    phones, kmeans = metrics["phones"], metrics["baselines"]["mfcc_kmeans"]
    place = ("analysis of units", _dataset(metrics.get("corpus")), metrics["split"])
    yield _figure(
        place,
        "accuracy",
        "phone accuracy",
        {"value": phones["accuracy"], "ci95": phones["ci95"]},
        {
            "k-means on MFCC": kmeans["accuracy"],
            "most frequent phone": phones["majority"],
            "shuffled units": phones["shuffled_units"],
        },
    )
    for side in ("within", "across"):
        error = {"value": metrics["abx"][f"{side}_speaker"], "ci95": metrics["abx"].get(f"{side}_ci95")}
        controls = {"k-means on MFCC": kmeans["abx"][f"{side}_speaker"]}
        yield _figure(place, "abx", f"ABX error {side} speakers", error, controls)
    leakage = metrics["speaker_leakage"] or {"accuracy": None, "chance": None, "from_log_mel": None}
    named = {"value": leakage["accuracy"], "ci95": leakage.get("ci95")}
    controls = {"chance": leakage["chance"], "log-mel": leakage["from_log_mel"]}
    yield _figure(place, "accuracy", "speaker named from units", named, controls)
    code = {"value": metrics["rates"]["unigram"]["bits_per_second"]}
    yield _figure(place, "bits_per_second", "bit/s of an ideal code", code, {"fixed": metrics["bits_per_second"]})


def _of_conversion(conversion: dict[str, Any]) -> Iterable[Figure | None]:
    place = ("voice conversion", _dataset(conversion["corpus"]), conversion["split"])
    for key, metric, name in (
        ("target_preferred", "accuracy", "nearer to the target than to the source"),
        ("target_similarity", "cosine_similarity", "similarity to the target"),
        ("character_error_rate", "cer", "character error rate"),
        ("mel_cepstral_distortion", "mcd", "mel-cepstral distortion to the target, dB"),
    ):
        controls = {name: conversion[condition][key]["value"] for condition, name in CONTROLS.items()}
        shuffled = conversion["converted"].get(f"{key}_shuffled", {"value": None})
        yield _figure(
            place, metric, name, conversion["converted"][key], {**controls, "another sentence": shuffled["value"]}
        )
    controls = {name: conversion[condition]["dnsmos"]["ovrl"]["value"] for condition, name in CONTROLS.items()}
    yield _figure(place, "dnsmos", "DNSMOS, overall", conversion["converted"]["dnsmos"]["ovrl"], controls)


def _figure(
    place: tuple[str, str, str],
    metric: str,
    name: str,
    measured: Mapping[str, Any],
    controls: Mapping[str, float | None],
) -> Figure | None:
    """None for what could not be measured."""
    if measured["value"] is None:
        return None
    task, dataset, split = place
    low_high = measured.get("ci95")
    return Figure(
        task,
        metric,
        name,
        float(measured["value"]),
        dataset,
        str(split),
        (float(low_high[0]), float(low_high[1])) if low_high else None,
        {name: float(value) for name, value in controls.items() if value is not None},
    )


def _dataset(corpus: str | None) -> str:
    """The corpus without the place where it lies on this machine."""
    named = re.fullmatch(r"(.*) \((\w+)\)", corpus or "")
    return f"{Path(named[1]).name} ({named[2]})" if named else Path(corpus or "unknown").name
