"""The section of report.html that shows a conversion.json: figures beside their anchors, and clips to listen to."""

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio_vq.analysis.judges.scores import CONDITIONS, FIGURES
from audio_vq.analysis.report.judgements import FigureRow, readings, shown_figures
from audio_vq.analysis.report.templates import page_part, page_template
from audio_vq.audio.files import flac_bytes, read_audio
from audio_vq.errors import UserError
from audio_vq.files import atomic_write_text

HEARD_PAIRS = 6  # whose sound lies inside the page
BEGIN, END = "<!-- conversion -->", "<!-- end of conversion -->"  # both templates have them
COLUMNS = {
    "converted": "converted",
    "reconstructed": "reconstructed",
    "real_target": "real target",
    "real_source": "real source",
}


@dataclass(frozen=True)
class ClipPlayer:
    condition: str
    heard: str
    sound: str  # address of the clip, or the clip itself


@dataclass(frozen=True)
class PairPlayers:
    source: str
    target: str
    text: str | None
    real_target_text: str | None
    players: tuple[ClipPlayer, ...]


@dataclass(frozen=True)
class EvaluationSection:
    """What evaluate.html.j2 shows."""

    summary: str
    columns: tuple[str, ...]
    conditions: Mapping[str, str]  # name → what it is
    figures: tuple[FigureRow, ...]
    readings: tuple[str, ...]  # how to read some of them
    definitions: Mapping[str, str]
    embedded: tuple[PairPlayers, ...]
    linked: tuple[PairPlayers, ...]
    facts: Mapping[str, str]


def evaluation_section(conversion: Mapping[str, Any], folder: Path) -> EvaluationSection:
    """From the content of conversion.json, and the folder it lies in, whose clips are read."""
    clips = conversion["clips"]
    return EvaluationSection(
        summary=_summary(conversion),
        columns=tuple(COLUMNS.values()),
        conditions={COLUMNS[name]: meaning for name, meaning in CONDITIONS.items()},
        figures=shown_figures(conversion),
        readings=readings(conversion),
        definitions=FIGURES,
        embedded=tuple(_pair_players(clip, folder, embed=True) for clip in _of_different_targets(clips)),
        linked=tuple(_pair_players(clip, folder, embed=False) for clip in clips),
        facts=_facts(conversion),
    )


def _summary(conversion: Mapping[str, Any]) -> str:
    speakers, unknown = conversion["source_speakers"], conversion["unknown_source_speakers"]
    return (
        f"{conversion['pairs']} pairs of a recording ({conversion['split']} split, {_speakers(speakers)}, "
        f"{len(unknown) or 'none'} of them unknown to the model) and another voice "
        f"({_speakers(conversion['target_speakers'])}), judged by models that know nothing of this one. "
        "Intervals: 95 %, bootstrap over recordings."
    )


def _speakers(names: Sequence[str]) -> str:
    return f"{len(names)} speaker{'s' if len(names) > 1 else ''}"


def _of_different_targets(clips: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A few pairs, of different targets as far as there are."""
    turns = Counter[str]()
    ranked = []
    for clip in clips:
        ranked.append((turns[clip["target"]], clip))
        turns[clip["target"]] += 1
    return [clip for _, clip in sorted(ranked, key=lambda each: each[0])[:HEARD_PAIRS]]


def _pair_players(clip: Mapping[str, Any], folder: Path, *, embed: bool) -> PairPlayers:
    def sound(file: str) -> str:
        if not embed or not (folder / file).is_file():
            return file
        audio = read_audio(folder / file)
        encoded = base64.b64encode(flac_bytes(audio.waveform, audio.sample_rate)).decode()
        return f"data:audio/flac;base64,{encoded}"

    players = tuple(
        ClipPlayer(COLUMNS[condition], clip["heard"][condition], sound(file))
        for condition, file in clip["files"].items()
    )
    return PairPlayers(clip["source"], clip["target"], clip["text"], clip["real_target_text"], players)


def _facts(conversion: Mapping[str, Any]) -> dict[str, str]:
    skipped = conversion["skipped"]
    judges = ", ".join(f"{name} {version}" for name, version in conversion["judges"].items())
    references = [str(each) for each in sorted(conversion["references_per_speaker"].values())]
    return {
        "judges": f"{judges}; F0 by pYIN (librosa)",
        "not judged": ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in skipped.items()),
        "reference recordings per speaker": " to ".join(dict.fromkeys((references[0], references[-1]))),
        "conversions": f"{conversion['checkpoint']}, temperature {conversion['temperature']:g}, "
        f"top-p {conversion['top_p']:g}, seed {conversion['seed']}",
        "sources": conversion["sources"],
        "corpus": conversion["corpus"],
        "command": conversion["command"],
    }


def read_section(folder: Path) -> EvaluationSection | None:
    """The section of `folder`/conversion.json; None where there is none.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / "conversion.json"
    if not path.is_file():
        return None
    try:
        return evaluation_section(json.loads(path.read_text(encoding="utf-8")), folder)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {error}); remove it, or run audio-vq evaluate --force"
        ) from error


def with_conversion(page: str, folder: Path) -> str:
    """The page with the section of `folder`/conversion.json, which replaces an earlier one; unchanged without it."""
    section = read_section(folder)
    if section is None or not _has_place(page):
        return page
    shown = page_template("evaluate.html.j2").render(evaluation=section)
    before, rest = page.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{shown}\n{END}{rest.split(END, 1)[1]}"


def refuse_foreign_report(folder: Path, force: bool) -> None:
    """Raises UserError where the section would have to replace a page that has no place for it."""
    report = folder / "report.html"
    if report.is_file() and not force and not _has_place(_read_page(report)):
        raise UserError(f"{report} has no place for conversions; run analyze again, or give --force or another --out")


def write_section(folder: Path) -> None:
    """Show `folder`/conversion.json in `folder`/report.html: in the report of analyze, or in a page of its own."""
    report = folder / "report.html"
    page = _read_page(report) if report.is_file() else ""
    if not _has_place(page):
        page = page_template("evaluate_page.html.j2").render(style=page_part("report.css"))
    atomic_write_text(report, with_conversion(page, folder))


def _read_page(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")  # it may be anybody's


def _has_place(page: str) -> bool:
    return END in page.partition(BEGIN)[2]
