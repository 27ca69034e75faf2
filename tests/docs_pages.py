"""What the documentation says, for tests that hold it against the code."""

import re
from pathlib import Path

PAGES = Path(__file__).parents[1] / "recipes/docs/pages"
NUMBERS = (PAGES / "numbers.md").read_text(encoding="utf-8")


def explained(heading):
    """The keys in the first column of the tables under a heading of the page on numbers."""
    section = NUMBERS.split(f"\n## {heading} ")[1].split("\n## ")[0]
    return {key for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for key in re.findall(r"`([^`]+)`", row)}


def paths(content, prefix=""):
    """Dotted paths of all values; lists are values."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
