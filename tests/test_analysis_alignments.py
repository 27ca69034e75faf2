"""Alignments: formats agree, labels are looked up in source time, malformed lines are named."""

from pathlib import Path

import numpy as np
import pytest
from conftest import VCTK_MINI
from hypothesis import given
from hypothesis import strategies as st

from audio_vq.analysis.alignment.alignments import (
    ARPABET,
    Alignment,
    find_alignment,
    mistaken_unit,
    normalise_label,
    read_alignment,
    write_alignment,
)
from audio_vq.analysis.measures.phones import frame_centres, label_frames
from audio_vq.errors import UserError

LONG_TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 0.5
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 0.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = "a ""word"" in quotes"
    item [2]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 0.5
        points: size = 1
        points [1]:
            number = 0.25
            mark = "click"
    item [3]:
        class = "IntervalTier"
        name = "Phones"
        xmin = 0
        xmax = 0.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.1
            text = ""
        intervals [2]:
            xmin = 0.1
            xmax = 0.3
            text = "AH0"
        intervals [3]:
            xmin = 0.3
            xmax = 0.5
            text = "spn"
"""
SHORT_TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

0
0.5
<exists>
1
"IntervalTier"
"anything"
0
0.5
2
0
0.1
"sil"
0.1
0.5
"AH1"
"""


def read_text(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Alignment:
    path = folder / name
    path.write_text(text, encoding=encoding)
    return read_alignment(path)


def test_39_phones():
    assert len(ARPABET) == 39


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("", "SIL"), ("sp", "SIL"), ("SPN", "SIL"), ("<eps>", "SIL"), ("SIL", "SIL"),
        ("AH0", "AH"), ("IY2", "IY"), ("AX", "AH"), ("DX", "T"), ("AAR", "AA"), ("T", "T"), ("HH", "HH"),
        ("ə", "ə"), ("ah0", "ah0"), ("t_h", "t_h"), ("one", "one"), ("T1", "T1"),
    ],
)  # fmt: skip
def test_labels(label, expected):
    assert normalise_label(label) == expected


def test_labels_are_normalised_once_and_for_all():
    assert all(normalise_label(phone) == phone for phone in (*ARPABET, "SIL"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_long_textgrid_takes_the_phone_tier(tmp_path, encoding):
    alignment = read_text(tmp_path, "a.TextGrid", LONG_TEXTGRID, encoding)
    assert alignment.labels == ("SIL", "AH", "SIL")
    assert alignment.boundaries.tolist() == [0, 0.1, 0.3, 0.5]


def test_short_textgrid_with_one_tier_takes_it(tmp_path):
    alignment = read_text(tmp_path, "a.TextGrid", SHORT_TEXTGRID)
    assert alignment.labels == ("SIL", "AH")


def grid(**tiers: list[str]) -> str:
    """A TextGrid of tiers whose labels last 0.1 s each; `__` in a name stands for " - "."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "0 1 <exists>", str(len(tiers))]
    for name, labels in tiers.items():
        lines.append(f'"IntervalTier" "{name.replace("__", " - ")}" 0 1 {len(labels)}')
        lines += [f'{0.1 * n:g} {0.1 * n + 0.1:g} "{label}"' for n, label in enumerate(labels)]
    return "\n".join(lines)


PHONES, WORDS, NOTHING = ["AH", "T"], ["at"], ["", ""]


@pytest.mark.parametrize(
    "tiers",
    [
        {"ORT-MAU": WORDS, "KAN-MAU": ["{t"], "MAU": PHONES},
        {"utterance": WORDS, "words": WORDS, "Segments": PHONES},
        {"bob__words": WORDS, "bob__phones": NOTHING, "ann__words": WORDS, "ann__phones": PHONES},
        {"bob__phones": ["S", "S"], "ann__phones": PHONES, "annie__phones": ["S"]},  # the folder is ann's
        {"phones": NOTHING, "phonemes": PHONES},
    ],
)
def test_the_tier_of_phones_is_found_by_its_name_and_speaker(tmp_path, tiers):
    (tmp_path / "ann").mkdir()
    assert read_text(tmp_path / "ann", "a.TextGrid", grid(**tiers)).labels == ("AH", "T")


@pytest.mark.parametrize(
    ("tiers", "complaint"),
    [
        ({"ORT-MAU": WORDS, "KAN-MAU": WORDS}, "no tier of phones .*ORT-MAU, KAN-MAU"),
        ({"words": WORDS}, "no tier of phones .*words"),
        ({"bob__phones": PHONES, "cyd__phones": PHONES}, "several tiers .*bob - phones, cyd - phones"),
        ({"utterance": ["a whole sentence"]}, "holds a blank"),
        ({}, "no interval tier"),
    ],
)
def test_tiers_that_do_not_tell_are_listed(tmp_path, tiers, complaint):
    with pytest.raises(UserError, match=complaint):
        read_text(tmp_path, "a.TextGrid", grid(**tiers))


@pytest.mark.parametrize(
    ("per_second", "unit"), [(1000, "milliseconds"), (48000, "samples"), (1e7, "HTK"), (100, "frames of 10 ms")]
)
def test_times_in_other_units_are_noticed(per_second, unit):
    rng = np.random.default_rng(0)
    boundaries = np.cumsum([0, *rng.uniform(0.04, 0.2, 12)])
    labels = ("AH", "T") * 6
    seconds = boundaries[-1]
    assert mistaken_unit(Alignment(boundaries, labels), seconds, 16000) == ""
    assert mistaken_unit(Alignment(boundaries, labels), seconds / 30, 16000) == ""  # trimmed to a thirtieth
    assert mistaken_unit(Alignment(np.array([0.0, 9.0]), ("AH",)), 9.0, 16000) == ""  # held for long
    assert unit in mistaken_unit(Alignment(boundaries * per_second, labels), seconds, 16000)


def test_label_at_a_boundary_is_the_later_one_and_outside_is_silence(tmp_path):
    alignment = read_text(tmp_path, "a.lab", "0.1 0.3 AH\n0.3 0.5 T\n")
    times = np.array([0.0, 0.1, 0.2999, 0.3, 0.4999, 0.5, 9.0])
    assert alignment.labels_at(times).tolist() == ["SIL", "AH", "AH", "T", "T", "SIL", "SIL"]


@given(st.lists(st.tuples(st.integers(1, 2000), st.sampled_from(sorted(ARPABET))), min_size=1, max_size=20))
def test_lab_round_trip(tmp_path_factory, pieces):
    durations, labels = zip(*pieces, strict=True)
    alignment = Alignment(np.cumsum([0, *durations]) / 1000, labels)
    path = tmp_path_factory.mktemp("lab") / "speaker" / "a.lab"
    write_alignment(path, alignment)
    back = read_alignment(path)
    assert back.labels == labels
    assert np.allclose(back.boundaries, alignment.boundaries, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.lab", "0 0.1 AH\nzero 0.2 T\n", "line 2"),
        ("a.lab", "0 0.1 AH\n0.1\n", "line 2"),
        ("a.lab", "0 0.1 AH\n0.2 0.3 T\n", "line 2.*contiguous"),
        ("a.lab", "0 0.1 AH\n\n0.1 0.05 T\n", "line 3"),
        ("a.lab", "0 nan AH\n", "line 1"),
        ("a.lab", "0 inf AH\n", "line 1"),
        ("a.lab", "0 0.1 AH\n0.1 0.2\n", "line 2"),  # no label
        ("a.lab", "0 0.1 AH -52.5\n", "line 1.*blank"),  # a score, as HTK writes
        ("a.TextGrid", SHORT_TEXTGRID.replace("0.5\n2\n", "0.5\n1e999\n"), "line 12.*count"),
        ("a.lab", "", "no interval"),
        ("a.TextGrid", "0 0.1 AH\n", "TextGrid"),
        ("a.TextGrid", SHORT_TEXTGRID.replace('0.1\n"sil"', '"sil"'), "line 14"),
        ("a.TextGrid", SHORT_TEXTGRID.replace('"AH1"\n', ""), "too early"),
        ("a.TextGrid", SHORT_TEXTGRID.replace("0.1\n0.5", "0.2\n0.5"), "line 16.*contiguous"),
    ],
)
def test_malformed_files_are_named_with_their_line(tmp_path, name, text, complaint):
    with pytest.raises(UserError, match=rf"a\.{name[2:]}.*{complaint}"):
        read_text(tmp_path, name, text)


def test_bytes_are_refused(tmp_path):
    (tmp_path / "a.lab").write_bytes(b"\x80\x81\x82")
    with pytest.raises(UserError, match="not a text file"):
        read_alignment(tmp_path / "a.lab")


def test_lab_comes_before_textgrid(tmp_path):
    (tmp_path / "s").mkdir()
    assert find_alignment(tmp_path, "s", "a") is None
    (tmp_path / "s" / "a.TextGrid").write_text(SHORT_TEXTGRID)
    assert find_alignment(tmp_path, "s", "a") == tmp_path / "s" / "a.TextGrid"
    (tmp_path / "s" / "a.lab").write_text("0 1 AH\n")
    assert find_alignment(tmp_path, "s", "a") == tmp_path / "s" / "a.lab"


def test_a_trimmed_recording_has_the_labels_of_the_untrimmed_one(tmp_path):
    alignment = read_text(tmp_path, "a.lab", "0 0.4 SIL\n0.4 0.47 S\n0.47 0.8 IY\n0.8 1.2 SIL\n")
    hop_length, sample_rate, cut = 640, 16000, 8  # units trimmed from the beginning
    whole = label_frames(alignment, frame_centres(30, hop_length, 30 * 640, sample_rate), offset_seconds=0.0)
    offset = cut * hop_length / sample_rate
    trimmed = label_frames(alignment, frame_centres(22, hop_length, 22 * 640, sample_rate), offset)
    assert trimmed.tolist() == whole[cut:].tolist()
    assert set(trimmed) == {"SIL", "S", "IY"}


@pytest.mark.skipif(not VCTK_MINI.is_dir(), reason="needs the real recordings of the development checkout")
def test_textgrid_and_lab_of_vctk_mini_say_the_same():
    grids = sorted((VCTK_MINI / "textgrid").glob("*/*.TextGrid"))
    assert len(grids) == 28
    for grid in grids:
        lab = read_alignment(VCTK_MINI / "phones" / grid.parent.name / f"{grid.stem}.lab")
        other = read_alignment(grid)
        assert other.labels == lab.labels
        assert np.allclose(other.boundaries, lab.boundaries, atol=1e-3)
