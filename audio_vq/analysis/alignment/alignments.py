"""Phone alignments: contiguous labelled intervals, read from `.lab` or Praat TextGrid files.

Times are those of the source recording, where prepared audio begins at `utterance.offset_seconds`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from audio_vq.analysis.alignment.textgrid import LabelledInterval, read_phones
from audio_vq.errors import UserError
from audio_vq.files import atomic_write_text

SILENCE = "SIL"
# of forced aligners, WebMAUS, TIMIT and others
_SILENT_LABELS = frozenset(
    {
        "",
        "sil",
        "silence",
        "sp",
        "spn",
        "pau",
        "epi",
        "#",
        "##",
        "h#",
        "_",
        "<eps>",
        "<sil>",
        "<p>",
        "<p:>",
        "<s>",
        "</s>",
    }
)

ARPABET_CLASSES = {
    "vowel": ["IY", "IH", "EH", "AE", "AA", "AH", "AO", "UH", "UW", "ER", "EY", "AY", "OY", "AW", "OW"],
    "approximant": ["L", "R", "W", "Y"],
    "nasal": ["M", "N", "NG"],
    "stop": ["P", "B", "T", "D", "K", "G"],
    "affricate": ["CH", "JH"],
    "fricative": ["F", "V", "TH", "DH", "S", "Z", "SH", "ZH", "HH"],
}
ARPABET = frozenset(phone for phones in ARPABET_CLASSES.values() for phone in phones)
_VOWELS = frozenset(ARPABET_CLASSES["vowel"])

# finer ARPAbet labels (TIMIT's allophones, vowels before R, British LOT) → the 39 of the CMU dictionary
_FOLDS = {
    "AX": "AH", "AXH": "AH", "AXR": "ER", "IX": "IH", "UX": "UW", "OH": "AA", "EL": "L", "EM": "M", "EN": "N",
    "ENG": "NG", "NX": "N", "DX": "T", "HV": "HH", "WH": "W",
}  # fmt: skip
_FOLDS |= {vowel + "R": vowel for vowel in ("AA", "AO", "EH", "IH", "UH")}

_GAP_SECONDS = 1e-3  # neighbouring times may differ by their rounding
_FAR_LONGER = 20.0  # than the recording: hardly in seconds
_LONG_PHONE_SECONDS = 1.5


@dataclass(frozen=True, eq=False)
class Alignment:
    """Contiguous intervals: `labels[i]` lasts from `boundaries[i]` to `boundaries[i + 1]`."""

    boundaries: np.ndarray  # (intervals + 1,) seconds in the source recording, increasing
    labels: tuple[str, ...]  # (intervals,)

    def labels_at(self, times: np.ndarray) -> np.ndarray:
        """Label at each time in seconds, `(n,)` strings; SIL outside the aligned stretch."""
        names = np.array([SILENCE, *self.labels, SILENCE])
        return names[np.searchsorted(self.boundaries, times, side="right")]

    def changes(self) -> np.ndarray:
        """Seconds at which one label gives way to a different one; the outer ends are not among them."""
        labels = np.array(self.labels)
        return self.boundaries[1:-1][labels[1:] != labels[:-1]]


def normalise_label(label: str) -> str:
    """SIL for every name of silence; ARPAbet without stress, folded to 39 phones; other labels untouched."""
    label = label.strip()
    if label.lower() in _SILENT_LABELS:
        return SILENCE
    plain = label.rstrip("012")
    if plain in ARPABET and (plain == label or plain in _VOWELS):
        return plain
    return _FOLDS.get(plain, label)


def find_alignment(folder: Path, speaker: str, utterance_id: str) -> Path | None:
    """The alignment of an utterance, `<folder>/<speaker>/<id>.lab` or `.TextGrid`; None when it has none."""
    paths = (folder / speaker / f"{utterance_id}{suffix}" for suffix in (".lab", ".TextGrid"))
    return next((path for path in paths if path.is_file()), None)


def read_alignment(path: Path) -> Alignment:
    """Read a `.lab` (`start_seconds end_seconds LABEL` per line) or a Praat TextGrid in text format.

    Raises:
        UserError: malformed, not contiguous, or labelled with more than phones; the message names the line.
    """
    text = read_text(path)
    intervals = read_phones(path, text) if path.suffix == ".TextGrid" else _read_lab(path, text)
    previous_end: float | None = None
    boundaries: list[float] = []
    labels: list[str] = []
    for line, start, end, label in intervals:
        if problem := _problem(start, end, label, previous_end):
            raise UserError(f"{path}, line {line}: {problem}")
        boundaries.append(start if previous_end is None else previous_end)
        labels.append(normalise_label(label))
        previous_end = end
    if previous_end is None:
        raise UserError(f"{path}: holds no interval; expected lines `start_seconds end_seconds LABEL`")
    return Alignment(boundaries=np.array([*boundaries, previous_end]), labels=tuple(labels))


def _problem(start: float, end: float, label: str, previous_end: float | None) -> str:
    """What is wrong with an interval, empty where nothing is."""
    if not math.inf > end > start >= 0:
        return f"ends at {end:g} s, not after its start at {start:g} s"
    if previous_end is not None and abs(start - previous_end) > _GAP_SECONDS:
        found = f"begins at {start:g} s but the interval before ends at {previous_end:g} s"
        return f"{found}; intervals must be contiguous (label what lies between {SILENCE})"
    if len(label.split()) > 1:
        return f"the label {label!r} is no phone: it holds a blank; expected one phone per interval"
    return ""


def mistaken_unit(alignment: Alignment, seconds: float, sample_rate: int) -> str:
    """What the times seem to be instead of seconds, for a recording that ends after so many; empty where they are.

    An alignment may be longer than a trimmed recording, and a phone be held for long: seldom both.
    """
    longer = float(alignment.boundaries[-1]) / seconds
    if longer < _FAR_LONGER or np.median(np.diff(alignment.boundaries)) < _LONG_PHONE_SECONDS:
        return ""
    units = {"frames of 10 ms": 1e2, "milliseconds": 1e3, "samples": sample_rate, "100 ns, HTK's unit": 1e7}
    return min(units, key=lambda name: abs(math.log(longer / units[name])))


def write_alignment(path: Path, alignment: Alignment) -> None:
    """Write a `.lab` file, whole or not at all."""
    intervals = zip(pairwise(alignment.boundaries), alignment.labels, strict=True)
    atomic_write_text(path, "".join(f"{start:.6f} {end:.6f} {label}\n" for (start, end), label in intervals))


def read_text(path: Path) -> str:
    """The text of an alignment file, whichever of the usual encodings it has."""
    data = path.read_bytes()
    try:
        # Praat writes UTF-16 as soon as a label needs more than Latin-1
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file in UTF-8 or UTF-16; expected a phone alignment") from error


def _read_lab(path: Path, text: str) -> Iterator[LabelledInterval]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            start, end, label = line.split(maxsplit=2)
            yield LabelledInterval(number, float(start), float(end), label)
        except ValueError:
            raise UserError(f"{path}, line {number}: {line!r} is not `start_seconds end_seconds LABEL`") from None
