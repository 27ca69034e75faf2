"""Tables and figures of the report, made from the content of metrics.json: what is not there is left out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audio_vq.analysis.report.plots import Score

Metrics = Mapping[str, Any]

PHONE_COLUMNS = {
    "accuracy": "accuracy",
    "ci95": "95 % interval",
    "pnmi": "PNMI",
    "phone_purity": "phone purity",
    "unit_purity": "unit purity",
}
BASELINES = {  # in this order, others after them under their own names
    "mfcc_kmeans": "k-means on MFCC, same number and rate",
    "mfcc_kmeans_alone": "k-means on MFCC, one codebook, counted",
    "unit_probe": "supervised probe of one-hot units",
    "latent_probe": "supervised probe of the latents (linear)",
    "random_units": "random units",
}


@dataclass(frozen=True)
class Number:
    """A headline figure with what it must be compared to."""

    name: str
    value: str
    controls: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    name: str
    cells: tuple[str, ...]
    own: bool = False  # the model's own figure


@dataclass(frozen=True)
class Table:
    head: tuple[str, ...]
    rows: tuple[Row, ...]


def short_name(key: str) -> str:
    """For plots, where space is scarce."""
    return {"mfcc_kmeans": "k-means on MFCC", "mfcc_kmeans_alone": "one codebook of these", "log_mel": "log-mel"}.get(
        key, key.replace("_", " ")
    )


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def percent_interval(ci95: Sequence[float] | None) -> str:
    return f"{100 * ci95[0]:.1f} – {100 * ci95[1]:.1f} %" if ci95 else "–"


def baseline_names(metrics: Metrics) -> dict[str, str]:
    """Key → name of every baseline there is."""
    baselines = metrics.get("baselines") or {}
    known = {key: name for key, name in BASELINES.items() if key in baselines}
    return known | {key: key.replace("_", " ") for key in baselines if key not in known}


def headline(metrics: Metrics) -> list[Number]:
    numbers = [_phone_number(metrics)] if metrics.get("phones") else []
    if abx := metrics.get("abx"):
        numbers.append(_abx_number(abx))
    if leakage := metrics.get("speaker_leakage"):
        numbers.append(_leakage_number(leakage))
    if (bits := metrics.get("latents_used")) and bits["bits_shuffled"] is not None:
        numbers.append(_latents_number(bits))
    numbers.append(
        Number(
            "Perplexity of units",
            f"{metrics['perplexity']:.0f}",
            (f"{metrics['used_units']} of {metrics['codebook_size']} units occur", *_of_groups(metrics)),
        )
    )
    rate = metrics["entropy_bits_per_second"]
    controls = (
        f"entropy of the units{' and pitch' if metrics.get('pitch') else ''}",
        f"fixed length: {metrics['bits_per_second']:.0f} bit/s",
    )
    numbers.append(Number("Bit rate", f"{rate:.0f} bit/s", controls))
    return [*numbers, _boundary_number(metrics["segments"])] if metrics.get("segments") else numbers


def _of_groups(metrics: Metrics) -> tuple[str, ...]:
    several = len(groups_of(metrics)) > 1
    return ("mean over groups, and the group that uses fewest",) if several else ()


def groups_of(metrics: Metrics) -> Sequence[Metrics]:
    return metrics.get("groups") or ()


def _phone_number(metrics: Metrics) -> Number:
    phones, kmeans = metrics["phones"], (metrics.get("baselines") or {}).get("mfcc_kmeans")
    controls = [
        f"95 % interval {percent_interval(phones['ci95'])}",
        f"commonest phone {percent(phones['majority'])}",
        f"shuffled units {percent(phones['shuffled_units'])}",
    ]
    if kmeans:
        controls.append(f"k-means on MFCC {percent(kmeans['accuracy'])}")
    if len(groups_of(metrics)) > 1:
        counted = ", ".join(percent(group["phones"]["accuracy"]) for group in groups_of(metrics))
        controls.append(f"read by a probe; each group alone, counted: {counted}")
    return Number("Phone accuracy", percent(phones["accuracy"]), tuple(controls))


def _abx_number(abx: Metrics) -> Number:
    controls = [f"within speaker {percent(abx.get('within_speaker'))}", "chance 50 %"]
    if latents := abx.get("from_latents"):
        controls.insert(1, f"from latents {percent(latents.get('across_speaker'))}")
    return Number("ABX error, across speakers", percent(abx.get("across_speaker")), tuple(controls))


def _leakage_number(leakage: Metrics) -> Number:
    controls = [f"chance {percent(leakage['chance'])}"]
    if "from_log_mel" in leakage:
        controls.append(f"from log-mel {percent(leakage['from_log_mel'])}")
    if "from_latents" in leakage:
        controls.append(f"from latents {percent(leakage['from_latents'])}")
    return Number("Speaker found from units", percent(leakage["accuracy"]), tuple(controls))


def _latents_number(bits: Metrics) -> Number:
    named = (
        ("true units", "bits_true"),
        ("another's units", "bits_shuffled"),
        ("no units", "bits_zero"),
        ("another speaker", "bits_wrong_speaker"),
    )
    controls = tuple(f"{name} {bits[key]:.2f} bit/sample" for name, key in named if bits.get(key) is not None)
    cost = round(bits["bits_shuffled"] - bits["bits_true"], 2) + 0.0  # no minus before zero
    return Number("Another's units cost", f"{cost:.2f} bit".replace("-", "−"), controls)


def _boundary_number(segments: Metrics) -> Number:
    controls = (
        f"precision {percent(segments['boundary_precision'])} at 20 ms",
        f"recall {percent(segments['boundary_recall'])}",
    )
    return Number("Boundaries, R-value", f"{segments['r_value']:.2f}".replace("-", "−"), controls)


def phone_table(metrics: Metrics) -> Table:
    rows = [Row("this model", _phone_cells(metrics["phones"]), own=True)]
    rows += [Row(name, _phone_cells(metrics["baselines"][key])) for key, name in baseline_names(metrics).items()]
    return Table(("units", *PHONE_COLUMNS.values()), tuple(rows))


def _phone_cells(figures: Metrics) -> tuple[str, ...]:
    cells = []
    for key in PHONE_COLUMNS:
        value = figures.get(key)
        if key == "accuracy":
            cells.append(percent(value))
        elif key == "ci95":
            cells.append(percent_interval(value))
        else:
            cells.append("–" if value is None else f"{value:.3f}")
    return tuple(cells)


def phone_scores(metrics: Metrics) -> list[Score]:
    phones = metrics["phones"]
    own = [Score("this model", phones["accuracy"], tuple(phones["ci95"]), own=True)]
    groups = [
        Score(f"group {number}, counted", group["phones"]["accuracy"], tuple(group["phones"]["ci95"]), own=True)
        for number, group in enumerate(groups_of(metrics))
    ]
    return [
        *own,
        *(groups if len(groups) > 1 else ()),
        *(_short(key, metrics["baselines"][key], "accuracy", "ci95") for key in baseline_names(metrics)),
    ]


def _short(key: str, figures: Metrics, value: str, interval: str) -> Score:
    ci95 = figures.get(interval)
    return Score(short_name(key), figures[value], ci95 and tuple(ci95))


def abx_groups(metrics: Metrics) -> dict[str, Metrics]:
    """Representation → its ABX figures, the model's own first."""
    abx = metrics["abx"]
    groups = {"this model": abx}
    groups |= {key: figures["abx"] for key, figures in metrics["baselines"].items() if figures.get("abx")}
    return groups | {name: abx[key] for name, key in (("latents", "from_latents"),) if abx.get(key)}


def abx_table(metrics: Metrics) -> Table:
    rows = []
    for name, figures in abx_groups(metrics).items():
        cells = []
        for kind in ("within", "across"):
            cells += [percent(figures.get(f"{kind}_speaker")), percent_interval(figures.get(f"{kind}_ci95"))]
        rows.append(Row(BASELINES.get(name, name.replace("_", " ")), tuple(cells), own=name == "this model"))
    head = ("representation", "within speaker", "95 % interval", "across speakers", "95 % interval")
    return Table(head, tuple(rows))


def abx_scores(metrics: Metrics, kind: str) -> list[Score]:
    """`kind`: within or across."""
    return [
        Score(
            short_name(name),
            figures[f"{kind}_speaker"],
            (low_high := figures.get(f"{kind}_ci95")) and tuple(low_high),
            own=name == "this model",
        )
        for name, figures in abx_groups(metrics).items()
        if figures.get(f"{kind}_speaker") is not None
    ]


def speaker_scores(metrics: Metrics) -> list[Score]:
    leakage = metrics["speaker_leakage"]
    ci95 = leakage.get("ci95")
    scores = [Score("units", leakage["accuracy"], ci95 and tuple(ci95), own=True)]
    others = (key for key in leakage if key.startswith("from_") and isinstance(leakage[key], float))
    return scores + [Score(short_name(key.removeprefix("from_")), leakage[key]) for key in others]


def rate_table(metrics: Metrics) -> Table:
    """What the units cost next to what they replace."""
    rates = metrics.get("rates") or {}
    units = "units and pitch" if metrics.get("pitch") else "units"
    rows = [Row(f"{units} at fixed length, log2 K", (grouped(metrics["bits_per_second"]),))]
    for key, name in (("unigram", "ideal code, unigram"), ("prior", "ideal code, the prior")):
        if rates.get(key):
            rows.append(Row(f"{units}, {name}", (grouped(rates[key]["bits_per_second"]),), own=True))
    if not rates.get("unigram"):
        rows.append(Row(f"{units}, entropy", (grouped(metrics["entropy_bits_per_second"]),), own=True))
    beside = (
        ("audio_bits_per_second", "audio given its units (the decoder's likelihood)"),
        ("mu_law_bits_per_second", "audio, 8-bit mu-law"),
    )
    rows += [Row(name, (grouped(rates[key]),)) for key, name in beside if rates.get(key) is not None]
    return Table(("code", "bits per second"), tuple(rows))


def rate_facts(metrics: Metrics) -> Iterable[str]:
    """Sentences under the table."""
    rates = metrics.get("rates") or {}
    if distance := rates.get("log_mel_distance"):
        other = distance["other_utterance_db"]
        control = "" if other is None else f"; decoded from another utterance's units {other:.1f} dB"
        yield (
            f"Decoded speech differs from the recording by {distance['db']:.1f} dB of log-mel spectrum "
            f"(95 % interval {distance['ci95'][0]:.1f} – {distance['ci95'][1]:.1f}{control})."
        )
    if runs := rates.get("runs"):
        what = "A combination of units" if len(groups_of(metrics)) > 1 else "A unit"
        yield (
            f"{what} lasts {runs['mean']:.2f} frames on average (median {runs['median']:g}, "
            f"nine in ten at most {runs['p90']:g}); {percent(runs['repeated'])} equal the one before."
        )


def grouped(value: float) -> str:
    """A whole number, its digits in threes."""
    return f"{value:,.0f}".replace(",", " ")
