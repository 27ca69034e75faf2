"""Words and how they are pronounced: the CMU dictionary of PocketSphinx' wheel, espeak-ng for the others."""

import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from audio_vq.espeak import SILENCE, STRESS_MARKS, Espeak, arpabet, write_english_data
from audio_vq.extras import require_package

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
VOICE, WORDS_PER_MINUTE = "gmw/en-US", 160  # the accent of the dictionary and of the acoustic model
# espeak-ng has one phoneme where the dictionary has two phones
_TAILS = {"A@": "R", "e@": "R", "i@3": "R", "U@": "R", "O@": "R", "o@": "R", "IR": "R"}
_HEADS = {"@L": "AH"}


def spoken_words(text: str) -> list[str]:
    """Lower-case words of a transcript: letters, digits, inner apostrophes; accents dropped."""
    plain = unicodedata.normalize("NFKD", text.replace("’", "'").lower())
    return _WORD.findall("".join(letter for letter in plain if not unicodedata.combining(letter)))


def dictionary_words() -> frozenset[str]:
    """The words PocketSphinx knows."""
    from pocketsphinx import get_model_path

    path = Path(get_model_path("en-us/cmudict-en-us.dict"))
    return frozenset(line.split(maxsplit=1)[0] for line in path.read_text(encoding="utf-8").splitlines() if line)


def pronounce(words: Iterable[str]) -> dict[str, str]:
    """ARPAbet phones of each word, separated by blanks; without the words espeak-ng has no phones for."""
    require_package("espeakng_loader", "align")
    with tempfile.TemporaryDirectory() as name:
        write_english_data(Path(name), {})
        engine = Espeak(Path(name), VOICE, rate=WORDS_PER_MINUTE, seed=0)
        spoken = {word: [phoneme.name for phoneme in engine.speak(word).phonemes] for word in words}
    pronunciations = {}
    for word, names in spoken.items():
        try:
            phones = [phone for name in names for phone in _phones(name)]
        except KeyError:  # a phoneme of another language, in a foreign name
            continue
        if phones:
            pronunciations[word] = " ".join(phones)
    return pronunciations


def _phones(name: str) -> Iterator[str]:
    bare = name.strip(STRESS_MARKS)
    phone = arpabet(name, rhotic=True)
    if phone is None or phone == SILENCE:
        return
    if bare in _HEADS:
        yield _HEADS[bare]
    yield phone
    if bare in _TAILS:
        yield _TAILS[bare]
