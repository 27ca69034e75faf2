"""Tables of the tracks of a code: its groups of units, and pitch; made from the content of metrics.json."""

from audio_vq.analysis.report.tables import (
    BASELINES,
    Metrics,
    Row,
    Table,
    grouped,
    groups_of,
    percent,
    percent_interval,
)


def group_table(metrics: Metrics) -> Table:
    """All groups together, each alone, and one codebook of k-means on MFCC; bits per second are entropies."""
    rows = [Row("all together", _group_cells(metrics), own=True)]
    rows += [Row(f"group {number}", _group_cells(group), own=True) for number, group in enumerate(groups_of(metrics))]
    if alone := (metrics.get("baselines") or {}).get("mfcc_kmeans_alone"):
        rows.append(Row(BASELINES["mfcc_kmeans_alone"], _group_cells({"phones": alone})))
    of_phones = ("phone accuracy", "95 % interval", "PNMI", "ABX across", "R-value")
    table = Table(("units", *of_phones, "speaker", "in use", "perplexity", "bit/s"), tuple(rows))
    return table if metrics.get("phones") else _without(table, len(of_phones))


def _without(table: Table, columns: int) -> Table:
    """Without so many columns after the first."""
    rows = (Row(row.name, row.cells[columns:], row.own) for row in table.rows)
    return Table((table.head[0], *table.head[1 + columns :]), tuple(rows))


def _group_cells(figures: Metrics) -> tuple[str, ...]:
    phones, abx, leakage = (figures.get(key) or {} for key in ("phones", "abx", "speaker_leakage"))
    segments = figures.get("segments") or {}
    return (
        percent(phones.get("accuracy")),
        percent_interval(phones.get("ci95")),
        _decimals(phones.get("pnmi"), 3),
        percent(abx.get("across_speaker")),
        _decimals(segments.get("r_value"), 2),
        percent(leakage.get("accuracy")),
        _decimals(figures.get("used_units"), 0),
        _decimals(figures.get("perplexity"), 0),
        _decimals(figures.get("entropy_bits_per_second"), 0),
    )


def _decimals(value: float | None, places: int) -> str:
    return "–" if value is None else f"{value:.{places}f}".replace("-", "−")


def pitch_table(metrics: Metrics) -> Table | None:
    """What stands beside the units; None of models without pitch."""
    pitch, leakage = metrics.get("pitch"), metrics.get("speaker_leakage") or {}
    if not pitch:
        return None
    speaker = percent(leakage.get("from_pitch"))
    if leakage:
        speaker += f" (chance {percent(leakage['chance'])})"
    rates = tuple(grouped(pitch[key]) for key in ("bits_per_second", "entropy_bits_per_second"))
    head = ("classes", "share of voiced units", "bit/s, fixed length", "bit/s, entropy", "speaker found from pitch")
    return Table(head, (Row(str(pitch["classes"]), (percent(pitch["voiced"]), *rates, speaker), own=True),))
