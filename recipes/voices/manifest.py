"""One list of all recordings of some folders: those that a manifest.csv lists, and those in VCTK's layout.

python recipes/voices/manifest.py FOLDER... > manifest.csv

`voices.csv` beside this file tells of speakers.
Sentences without a text that several speakers say (the Voice Conversion Challenge's) are known by their files' names.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

COLUMNS = ("path", "speaker", "text", "sentence", "gender", "corpus")
VOICES = Path(__file__).with_name("voices.csv")


def listed(folder: Path) -> Iterator[tuple[str, str, str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            path, text = folder / row["path"], row.get("text") or ""
            yield str(path.resolve()), row["speaker"], text, "" if text else path.stem


def in_vctk_layout(folder: Path) -> Iterator[tuple[str, str, str, str]]:
    for path in sorted(folder.glob("wav48*/*/*")):
        text = folder / "txt" / path.parent.name / f"{path.stem.removesuffix('_mic1')}.txt"
        if path.stem.endswith("_mic1") and text.is_file():
            yield str(path.resolve()), path.parent.name, " ".join(text.read_text(encoding="utf-8").split()), ""


def main() -> None:
    table = csv.writer(sys.stdout)
    table.writerow(COLUMNS)
    with VOICES.open(encoding="utf-8", newline="") as file:
        voices = {row["speaker"]: row for row in csv.DictReader(file)}
    for name in sys.argv[1:]:
        folder = Path(name)
        found = listed(folder) if (folder / "manifest.csv").is_file() else in_vctk_layout(folder)
        for row in found:
            about = voices.get(row[1], {})
            table.writerow([*row, about.get("gender", ""), about.get("corpus", "")])


if __name__ == "__main__":
    main()
