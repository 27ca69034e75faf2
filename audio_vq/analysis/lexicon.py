"""Words and how they are pronounced: the CMU dictionary in PocketSphinx' wheel, espeak-ng for what it lacks."""

import importlib.util
import re
import unicodedata
from pathlib import Path

from audio_vq.errors import UserError

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*'?")


def require_judge(package: str) -> None:
    """Raise a UserError that says how to install a package of the optional extra `judges`."""
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{package} is not installed; pip install 'audio-vq[judges]'")


def spoken_words(text: str) -> list[str]:
    """Lower-case words of a transcript: letters, digits and apostrophes; accents dropped."""
    plain = unicodedata.normalize("NFKD", text.replace("’", "'").lower())
    return _WORD.findall("".join(letter for letter in plain if not unicodedata.combining(letter)))
