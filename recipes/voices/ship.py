"""Copies a model and its prior to where the wheel takes them from, with the licences of the recordings in their cards.

python recipes/voices/ship.py RUN PRIOR_RUN audio_vq/pretrained_models
"""

import csv
import shutil
import sys
from pathlib import Path

from audio_vq.checkpoint import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, read_info, resolve_checkpoint

VOICES = Path(__file__).with_name("voices.csv")
ATTRIBUTION = Path(__file__).with_name("attribution.md")


def ship(source: str, target: Path) -> None:
    folder = resolve_checkpoint(source)
    target.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        shutil.copyfile(folder / name, target / name)
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    speakers = read_info(folder).speakers
    with VOICES.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["speaker"] in speakers]
    table = "\n".join(f"| {row['speaker']} | {row['gender']} | {row['corpus']} | {row['licence']} |" for row in rows)
    said = ATTRIBUTION.read_text(encoding="utf-8")
    head, _, use = card.partition("The weights carry the licence of the recordings")
    use = use.partition("\n\n")[2]
    (target / CARD_FILE).write_text(
        f"{head}## Recordings\n\n| voice | gender | corpus | licence |\n|---|---|---|---|\n{table}\n\n{said}\n{use}",
        encoding="utf-8",
    )


def main() -> None:
    model, prior, folder = sys.argv[1:]
    ship(model, Path(folder) / "voices")
    ship(prior, Path(folder) / "voices-prior")


if __name__ == "__main__":
    main()
