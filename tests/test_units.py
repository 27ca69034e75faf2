"""Unit statistics against hand-computed values and scipy; unit files come back as written or are refused."""

import dataclasses
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_vq import units
from audio_vq.errors import UserError
from audio_vq.textgrid import read_tiers
from audio_vq.unit_files.files import check_writable, read_units, write_units
from audio_vq.unit_files.textgrid import units_textgrid

unit_lists = st.lists(st.integers(0, 511), max_size=60)
characters = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\")
names = st.text(characters, min_size=1, max_size=12).filter(lambda name: name.strip(" .") and name.strip())


@st.composite
def unit_sequences(draw, groups, has_pitch):
    shape = (groups + has_pitch, draw(st.integers(0, 20)))
    tracks = np.random.default_rng(draw(st.integers(0, 99))).integers(512, size=shape)
    return units.UnitSequence(
        id="/".join(draw(st.lists(names, min_size=1, max_size=3))),
        speaker=draw(names),
        sample_rate=draw(st.integers(1, 96_000)),
        hop_length=draw(st.integers(1, 4096)),
        num_samples=draw(st.integers(0, 10**9)),
        units=tracks if len(tracks) > 1 else tracks[0],
        fingerprint=draw(st.sampled_from(["", "a1b2"])),
        has_pitch=has_pitch,
    )


@given(unit_lists)
def test_run_lengths_can_be_repeated_back(sequence):
    runs = units.run_lengths(np.array(sequence, dtype=np.int64))
    assert np.repeat(runs.units, runs.lengths).tolist() == sequence
    assert (runs.lengths >= 1).all()
    assert (runs.units[1:] != runs.units[:-1]).all()


@given(st.lists(unit_lists, max_size=4))
def test_usage_counts_every_unit_once(sequences):
    counts = units.usage((np.array(sequence, dtype=np.int64) for sequence in sequences), 512)
    flat = [unit for sequence in sequences for unit in sequence]
    assert counts.sum() == len(flat)
    assert all(counts[unit] == flat.count(unit) for unit in flat)
    assert units.used_units(counts) == len(set(flat))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any))
def test_entropy_agrees_with_scipy(counts):
    counts = np.array(counts)
    assert units.entropy(counts) == pytest.approx(scipy.stats.entropy(counts, base=2), abs=1e-12)
    assert 1 <= units.perplexity(counts) <= units.used_units(counts) * (1 + 1e-12)


def test_rates_by_hand():
    even = np.full(128, 3)
    assert units.perplexity(even) == pytest.approx(128)
    assert units.bits_per_second([128], 25.0) == 175  # the paper's 25 Hz experiment
    assert units.bits_per_second([256, 256, 32], 100.0) == 2100
    assert units.entropy_bits_per_second(even, 25.0) == pytest.approx(175)
    half = np.array([2, 1, 1, 0])  # 1.5 bits
    assert units.entropy_bits_per_second(half, 40.0) == pytest.approx(60)
    assert units.entropy(np.zeros(4)) == 0


def test_usage_refuses_units_outside_the_codebook():
    with pytest.raises(ValueError, match="codebook of 4"):
        units.usage([np.array([0, 4])], 4)


@st.composite
def files(draw):
    """Of one model."""
    sequences = unit_sequences(draw(st.integers(1, 3)), draw(st.booleans()))
    return draw(st.lists(sequences, max_size=4, unique_by=lambda each: each.id))


@pytest.mark.parametrize("suffix", [".jsonl", ".npz", ".parquet"])
@settings(max_examples=40, deadline=None)  # the first table imports a library
@given(files())
def test_files_round_trip(tmp_path_factory, suffix, sequences):
    path = tmp_path_factory.mktemp("units") / f"units{suffix}"
    write_units(path, sequences)
    back = read_units(path)
    assert len(back) == len(sequences)
    for one, other in zip(sequences, back, strict=True):
        assert vars(one) | {"units": one.units.tolist()} == vars(other) | {"units": other.units.tolist()}
        assert other.units.dtype == np.int64
        assert other.units.ndim == one.units.ndim


def test_a_line_holds_a_list_per_group_and_pitch(tmp_path: Path):
    """As the contract has it."""
    about, path = ("s", 16000, 640, 1280), tmp_path / "units.jsonl"
    three = np.array([[1, 2], [3, 4], [0, 5]])
    write_units(
        path,
        [
            units.UnitSequence("one", *about, three[0]),
            units.UnitSequence("pitched", *about, three[1:], has_pitch=True),
            units.UnitSequence("grouped", *about, three[:2]),
            units.UnitSequence("both", *about, three, has_pitch=True),
        ],
    )
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["units"] for line in lines] == [[1, 2], [3, 4], [[1, 2], [3, 4]], [[1, 2], [3, 4]]]
    assert [line.get("pitch") for line in lines] == [None, [0, 5], None, [0, 5]]
    both = read_units(path)[-1]
    np.testing.assert_array_equal(both.groups, three[:2])
    np.testing.assert_array_equal(both.pitch, [0, 5])
    for suffix in ("npz", "parquet"):
        with pytest.raises(UserError, match=rf"do not go into one \.{suffix}"):
            write_units(tmp_path / f"units.{suffix}", read_units(path))


GOOD = {
    "id": "a",
    "speaker": "s",
    "sample_rate": 16000,
    "hop_length": 640,
    "num_samples": 1280,
    "units": [1, 2],
}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"units": [1, -2]}, "units"),
        ({"units": [1, 2.5]}, "units"),
        ({"units": [[1, 2], 3]}, "units"),
        ({"units": [[1, 2], [3]]}, "units"),
        ({"units": [1, [2]]}, "units"),
        ({"pitch": [1]}, "pitch"),
        ({"pitch": [1, -1]}, "pitch"),
        ({"pitch": [[1, 2]]}, "pitch"),
        ({"units": None}, "units"),
        ({"units": [10**30]}, "units"),
        ({"hop_length": 0}, "hop_length"),
        ({"sample_rate": "16000"}, "sample_rate"),
        ({"num_samples": True}, "num_samples"),
        ({"speaker": 7}, "speaker"),
        ({"fingerprint": 7}, "fingerprint"),
        ({"id": "../a"}, "id"),
        ({"id": "/a"}, "id"),
        ({"id": "a/../../b"}, "id"),
        ({"id": "a\0b"}, "id"),
        ({"id": "\udcff"}, "id"),
        ({"id": ""}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"id": "C:\\a"}, "id"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, change, named):
    path = tmp_path / "units.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD | change) + "\n")
    with pytest.raises(UserError, match=rf"line 2: .*{named}"):
        read_units(path)


def test_ids_from_packed_files_are_checked_too(tmp_path: Path):
    sequence = units.UnitSequence("../a", "s", 16000, 640, 1280, np.array([1, 2]))
    write_units(tmp_path / "units.npz", [sequence])
    with pytest.raises(UserError, match=r"sequence 1: id '\.\./a'"):
        read_units(tmp_path / "units.npz")


@pytest.mark.parametrize("suffix", [".jsonl", ".npz", ".parquet"])
def test_an_id_that_occurs_twice_is_named(tmp_path: Path, suffix):
    sequence = units.UnitSequence("twin", "s", 16000, 640, 1280, np.array([1, 2]))
    write_units(tmp_path / f"units{suffix}", [sequence, sequence])
    with pytest.raises(UserError, match="'twin' occurs twice"):
        read_units(tmp_path / f"units{suffix}")


def test_tables_are_what_others_read(tmp_path: Path):
    """By Arrow alone: a row for each recording, the contract's fields as columns, the same for no recordings."""
    import pyarrow.parquet as pq

    both = units.UnitSequence("é/b c", "s", 16000, 640, 1280, np.array([[1, 2], [3, 4], [0, 5]]), has_pitch=True)
    write_units(tmp_path / "u.parquet", [both])
    table = pq.read_table(tmp_path / "u.parquet")
    assert table.to_pylist() == [GOOD | {"id": "é/b c", "units": [[1, 2], [3, 4]], "pitch": [0, 5], "fingerprint": ""}]
    write_units(tmp_path / "one.parquet", [units.UnitSequence("a", "s", 16000, 640, 1280, np.array([1, 2]))])
    write_units(tmp_path / "none.parquet", [])
    assert pq.read_schema(tmp_path / "one.parquet") == pq.read_schema(tmp_path / "none.parquet")


def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pyarrow is not installed; run pip install 'audio-vq\[parquet\]'"):
        check_writable(tmp_path / "u.parquet", ())


def test_lines_of_text(tmp_path: Path):
    """Groups joined, pitch left out; ids of one word; what cannot be decoded is not taken for units."""
    path, about = tmp_path / "u.txt", ("s", 16000, 640, 1280)
    three = np.array([[1, 2], [3, 4], [0, 5]])
    write_units(
        path, [units.UnitSequence("a/b", *about, three, has_pitch=True), units.UnitSequence("c", *about, three[0])]
    )
    assert path.read_text() == "a/b 1_3 2_4\nc 1 2\n"
    with pytest.raises(UserError, match="too little to decode"):
        read_units(path)
    for name in ("my file", "a\u00a0b"):
        with pytest.raises(UserError, match="has a blank"):
            write_units(tmp_path / "blank.txt", [units.UnitSequence(name, *about, three[0])])
    assert not (tmp_path / "blank.txt").exists()


@given(unit_sequences(2, has_pitch=True), st.sampled_from([0.0, 0.75, 12.3456]))
def test_textgrids_tell_each_unit_at_its_time(sequence, offset):
    samples = max(1, sequence.units.shape[1] * sequence.hop_length - sequence.hop_length // 2)
    sequence = dataclasses.replace(sequence, num_samples=samples)
    if not sequence.units.shape[1]:
        return
    tiers = read_tiers(Path("x.TextGrid"), units_textgrid(sequence, offset))
    assert [tier.name for tier in tiers] == ["units 1", "units 2", "pitch"]
    end = offset + samples / sequence.sample_rate
    for tier, track in zip(tiers, sequence.units, strict=True):
        assert (tier.intervals[0].start, tier.intervals[-1].end) == (0, end)
        for one, other in itertools.pairwise(tier.intervals):
            assert one.end == other.start
        assert all(one.start < one.end for one in tier.intervals)
        for place, unit in enumerate(track):
            begin = place * sequence.hop_length
            centre = offset + (begin + min(begin + sequence.hop_length, samples)) / 2 / sequence.sample_rate
            (found,) = [each.label for each in tier.intervals if each.start <= centre < each.end]
            assert found == ("" if tier.name == "pitch" and unit == 0 else str(unit))


@pytest.mark.parametrize("text", ["{", "[1, 2]", '"units"'])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, text):
    path = tmp_path / "units.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n\n{text}\n")
    with pytest.raises(UserError, match="line 3"):
        read_units(path)


@pytest.mark.parametrize("name", ["missing.jsonl", "text.npz", "bytes.jsonl", "text.parquet"])
def test_what_is_no_units_file_is_refused(tmp_path: Path, name):
    (tmp_path / "text.npz").write_text("not a zip")
    (tmp_path / "text.parquet").write_text("no table")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match=name):
        read_units(tmp_path / name)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "units.jsonl"
    good = units.UnitSequence("a", "s", 16000, 640, 1280, np.array([1, 2]))
    write_units(path, [good])
    with pytest.raises((AttributeError, TypeError)):
        write_units(path, [good, None])
    assert len(read_units(path)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["units.jsonl"]


def test_perplexity_is_two_to_the_entropy():
    counts = np.array([5, 2, 9])
    assert math.log2(units.perplexity(counts)) == pytest.approx(units.entropy(counts))
