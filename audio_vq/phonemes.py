"""From espeak-ng's phoneme names to the 39 phones of ARPAbet, and SIL.

Finer labels are folded: schwa to AH, the flap to T, syllabic L to L, a vowel with its R to the vowel.
"""

from collections.abc import Mapping

SILENCE = "SIL"
STOPS = frozenset({"P", "T", "K", "B", "D", "G", "CH", "JH"})  # they begin with a closure, which is silent
STRESS_MARKS = "',%="
PALATAL_LINK = ";"  # no phone of its own: the end of the phone before it


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
