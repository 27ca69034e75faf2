"""Copies a model and its prior to where the wheel takes them from, with the licences of the recordings in their cards.

python recipes/voices/ship.py RUN PRIOR_RUN audio_vq/pretrained_models
"""

import csv
import shutil
import sys
from pathlib import Path

from audio_vq.checkpoint import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, read_info, resolve_checkpoint
from audio_vq.hub.card import model_card

VOICES = Path(__file__).with_name("voices.csv")
ATTRIBUTION = Path(__file__).with_name("attribution.md")


def ship(source: str, target: Path) -> None:
    folder = resolve_checkpoint(source)
    target.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        shutil.copyfile(folder / name, target / name)
    write_card(target)


def write_card(folder: Path) -> None:
    """The usual one, with the licences of the recordings."""
    info = read_info(folder)
    with VOICES.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["speaker"] in info.speakers]
    table = "\n".join(f"| {row['speaker']} | {row['corpus']} | {row['licence']} |" for row in rows)
    card = model_card(info, folder.name)
    card.data.license, card.data.license_name, card.data.license_link = "other", "of-its-recordings", CARD_FILE
    card.data.language = "en"
    before, heading, _ = card.text.partition("## Licence\n")
    said = ATTRIBUTION.read_text(encoding="utf-8")
    card.text = f"{before}{heading}\n| voice | recordings | licence |\n|---|---|---|\n{table}\n\n{said}"
    card.save(folder / CARD_FILE)


def main() -> None:
    model, prior, folder = sys.argv[1:]
    ship(model, Path(folder) / "voices")
    ship(prior, Path(folder) / "voices-prior")


if __name__ == "__main__":
    main()
