"""Classes of phones, their order and their colours: the same in every plot and in the atlas."""

from collections.abc import Sequence

from audio_vq.analysis.alignment.alignments import ARPABET_CLASSES, SILENCE

# Okabe and Ito's palette, which colour-blind readers can tell apart
CLASS_COLOURS = {
    "vowel": "#E69F00",
    "approximant": "#F0E442",
    "nasal": "#009E73",
    "stop": "#0072B2",
    "affricate": "#56B4E9",
    "fricative": "#CC79A7",
    "silence": "#B0B0B0",
    "other": "#D55E00",
}
DARK_CLASSES = frozenset({"stop"})  # on whose colour text must be white
_CLASS_OF = {phone: name for name, phones in ARPABET_CLASSES.items() for phone in phones} | {SILENCE: "silence"}


def phone_class(phone: str) -> str:
    return _CLASS_OF.get(phone, "other")


def phone_order(phones: Sequence[str]) -> list[str]:
    """Phones class by class: vowels, approximants, … as in CLASS_COLOURS; unknown labels last."""
    classes = list(CLASS_COLOURS)
    listed = list(_CLASS_OF)
    return sorted(
        phones,
        key=lambda phone: (
            classes.index(phone_class(phone)),
            listed.index(phone) if phone in _CLASS_OF else 0,
            phone,
        ),
    )
