"""espeak-ng through ctypes: text to samples, with the place of every phoneme, and its phonemes as ARPAbet.

The engine's state is global and depends on all it has spoken: one engine per process, one process per
speaker. espeak-ng is GPL-3 and stays at arm's length: the optional package `espeakng-loader` brings it.
"""

import ctypes
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from audio_vq.errors import UserError

# from espeak-ng/speak_lib.h
SYNCHRONOUS_OUTPUT = 2
PHONEME_EVENTS, DO_NOT_EXIT = 0x0001, 0x8000
CHARACTERS_ARE_UTF8, END_PAUSE = 1, 0x1000
BY_CHARACTER = 1
RATE, PITCH, PITCH_RANGE, VOLUME = 1, 3, 4, 2
LAST_EVENT, PHONEME_EVENT = 0, 7
BUFFER_MILLISECONDS = 200

ENGLISH_FILES = ("phondata", "phonindex", "phontab", "intonations", "en_dict")
LONGEST_PATH = 120  # the engine truncates a longer one silently

SILENCE = "SIL"
STOPS = frozenset({"P", "T", "K", "B", "D", "G", "CH", "JH"})  # they begin with a closure, which is silent
STRESS_MARKS = "',%="
PALATAL_LINK = ";"  # no phone of its own: the end of the phone before it


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),  # a union of eight bytes; for a phoneme its name
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Phoneme:
    name: str  # espeak-ng's own, with stress marks
    start: int  # sample


@dataclass(frozen=True)
class Speech:
    samples: npt.NDArray[np.int16]  # (time,)
    phonemes: tuple[Phoneme, ...]


class Espeak:
    """The engine, with one voice; its random numbers start at `seed`."""

    def __init__(self, data: Path, voice: str, *, rate: int, seed: int) -> None:
        """Start the engine on a data folder made by `write_english_data`; rate in words per minute."""
        self._library = ctypes.CDLL(_loader().get_library_path())
        options = PHONEME_EVENTS | DO_NOT_EXIT
        self.sample_rate: int = self._library.espeak_Initialize(
            SYNCHRONOUS_OUTPUT, BUFFER_MILLISECONDS, str(data).encode(), options
        )
        if self.sample_rate <= 0:
            raise RuntimeError(f"espeak-ng does not start with the data in {data}")
        self._blocks: list[npt.NDArray[np.int16]] = []
        self._phonemes: list[Phoneme] = []
        self._callback = _Callback(self._receive)  # kept: the engine holds only its address
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {voice}")
        for parameter, value in ((RATE, rate), (PITCH, 50), (PITCH_RANGE, 50), (VOLUME, 100)):
            self._library.espeak_SetParameter(parameter, value, 0)

    def speak(self, text: str) -> Speech:
        """Speak a text; the same text sounds a little different each time."""
        self._blocks.clear()
        self._phonemes.clear()
        encoded = text.encode() + b"\0"
        flags = CHARACTERS_ARE_UTF8 | END_PAUSE
        size = ctypes.c_size_t(len(encoded))
        if self._library.espeak_Synth(encoded, size, 0, BY_CHARACTER, 0, flags, None, None) != 0:
            raise RuntimeError(f"espeak-ng cannot speak {text!r}")
        return Speech(np.concatenate(self._blocks), tuple(self._phonemes))

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        """Called by the engine for each buffer; 0 asks for more."""
        if samples and count > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        index = 0
        while events and events[index].type != LAST_EVENT:
            event = events[index]
            if event.type == PHONEME_EVENT:
                self._phonemes.append(Phoneme(event.id.decode(), event.sample))
            index += 1
        return 0


def write_english_data(folder: Path, variants: Mapping[str, str]) -> None:
    """Copy the English part of the engine's data to a short, private path, and add voice variants by name.

    Raises:
        UserError: espeakng-loader is not installed, or the path is too long for the engine.
    """
    if len(str(folder)) > LONGEST_PATH:
        raise UserError(f"{folder} is too long a path for espeak-ng; set TMPDIR to a shorter one")
    source = Path(_loader().get_data_path())
    for name in ENGLISH_FILES:
        shutil.copyfile(source / name, folder / name)
    (folder / "lang" / "gmw").mkdir(parents=True)
    for path in (source / "lang" / "gmw").glob("en*"):
        shutil.copyfile(path, folder / "lang" / "gmw" / path.name)
    (folder / "voices" / "!v").mkdir(parents=True)
    for name, text in variants.items():
        (folder / "voices" / "!v" / name).write_text(text, encoding="ascii")


def _loader() -> ModuleType:
    try:
        import espeakng_loader
    except ModuleNotFoundError:
        raise UserError(
            "the synthetic corpus needs the package espeakng-loader; run pip install 'audio-vq[synthetic]'"
        ) from None
    return espeakng_loader


def _by_name(names: Mapping[str, str]) -> dict[str, str]:
    return {name: phone for phone, group in names.items() for name in group.split()}


# fmt: off
_IN_ALL_ACCENTS = _by_name({
    "P": "p", "B": "b", "T": "t t2 t# t[ ?", "D": "d", "K": "k", "G": "g", "CH": "tS", "JH": "dZ",
    "F": "f", "V": "v", "TH": "T", "DH": "D", "S": "s", "Z": "z", "SH": "S", "ZH": "Z", "HH": "h",
    "M": "m", "N": "n n-", "NG": "N", "L": "l l# @L", "R": "r r-", "Y": "j", "W": "w w#",
    "IY": "i: i i@", "IH": "I I2 I#", "EH": "E", "AE": "a aa a/", "AH": "V @ @2 @5 @- a#",
    "UH": "U", "UW": "u: u", "EY": "eI", "AY": "aI aI2 aI3 aI@", "OY": "OI", "AW": "aU", "OW": "oU",
    "AA": "A: 0", "AO": "O O: O2", "ER": "3: VR IR",
})
_WITH_R = _by_name({"ER": "3", "AA": "A@", "EH": "e@", "IH": "i@3", "UH": "U@", "AO": "O@ o@"})
_WITHOUT_R = _by_name({"AH": "3", "AA": "A@", "EH": "e@", "IH": "i@3", "UH": "U@", "AO": "O@ o@"})
# fmt: on

ARPABET = frozenset(_IN_ALL_ACCENTS.values())


def arpabet(name: str, *, rhotic: bool) -> str | None:
    """The ARPAbet phone of an espeak-ng phoneme name, SIL for a pause, None for what only links phones.

    Finer labels are folded: schwa to AH, the flap to T, syllabic L to L, a vowel with its R to the vowel.

    Raises:
        KeyError: a name that the English voices of the espeak-ng we know do not have.
    """
    bare = name.strip(STRESS_MARKS)
    if bare.startswith("_"):
        return SILENCE
    if bare == PALATAL_LINK:
        return None
    accent = _WITH_R if rhotic else _WITHOUT_R
    return accent[bare] if bare in accent else _IN_ALL_ACCENTS[bare]
