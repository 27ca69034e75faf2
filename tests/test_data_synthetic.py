"""The synthetic corpus: the same bytes for a seed, phones exact and complete, voices that differ."""

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_vq.data.corpora.synthetic import corpus as synthetic
from audio_vq.data.corpora.synthetic.corpus import Synthesis, prepare_synthetic
from audio_vq.data.corpora.synthetic.renderer import Segment, find_segments, with_margins
from audio_vq.data.corpora.synthetic.sentences import sentences
from audio_vq.data.corpora.synthetic.voices import make_voices
from audio_vq.data.prepare import SplitRule
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.errors import UserError
from audio_vq.espeak import ARPABET, SILENCE, Phoneme, Speech, arpabet

SMALL = Synthesis(speakers=3, utterances=6)
RULE = SplitRule()


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def segments_of(path):
    lines = [line.split() for line in path.read_text().splitlines()]
    return [(float(start), float(end), label) for start, end, label in lines]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    pytest.importorskip("espeakng_loader")
    out = tmp_path_factory.mktemp("synthetic") / "out"
    prepare_synthetic(out, SMALL, RULE, workers=2)
    return out


def test_workers_do_not_change_a_byte(prepared, tmp_path):
    prepare_synthetic(tmp_path / "out", SMALL, RULE, workers=1)
    assert content(tmp_path / "out") == content(prepared)


def test_an_interrupted_run_goes_on_to_the_same_bytes(prepared, tmp_path, monkeypatch):
    real, done = synthetic.format_lab, iter(range(8))

    def format_lab(intervals):
        if next(done, None) is None:  # in the middle of the second speaker
            raise KeyboardInterrupt
        return real(intervals)

    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "format_lab", format_lab)
        with pytest.raises(KeyboardInterrupt):
            prepare_synthetic(tmp_path / "out", SMALL, RULE, workers=1)
    with pytest.raises(UserError, match="another utterances"):
        prepare_synthetic(tmp_path / "out", Synthesis(3, 7), RULE, workers=1)
    prepare_synthetic(tmp_path / "out", SMALL, RULE, workers=1)
    assert content(tmp_path / "out") == content(prepared)


def test_alignments_cover_the_audio_with_arpabet(prepared):
    corpus = PreparedCorpus.open(prepared, sample_rate=16000)
    assert len(corpus.utterances) == 18
    labels = set()
    for utterance in corpus.utterances:
        path = prepared / "alignments" / utterance.speaker / f"{utterance.id}.lab"
        segments = segments_of(path)
        starts, ends, names = zip(*segments, strict=True)
        assert starts[0] == 0
        assert starts[1:] == ends[:-1]
        assert ends[-1] == pytest.approx(utterance.num_samples / 16000, abs=1e-6)
        assert all(end > start for start, end, _ in segments)
        assert names[0] == names[-1] == SILENCE
        assert SILENCE not in (names[1], names[-2])
        assert utterance.offset_seconds == 0
        labels.update(names)
    assert labels <= ARPABET | {SILENCE}
    assert len(labels) > 35


def test_the_audio_is_silent_where_the_alignment_says_so(prepared):
    corpus = PreparedCorpus.open(prepared)
    for utterance in corpus.utterances:
        waveform = corpus.waveform(utterance)
        level = {True: [], False: []}
        for start, end, label in segments_of(prepared / "alignments" / utterance.speaker / f"{utterance.id}.lab"):
            inner = waveform[round(start * 16000) + 80 : round(end * 16000) - 80]  # 5 ms off the filter's reach
            level[label == SILENCE].extend(inner**2)
        silence, speech = (10 * np.log10(np.mean(level[silent])) for silent in (True, False))
        assert silence < -55
        assert speech > -35


def test_speakers_share_some_sentences_and_no_split_does(prepared):
    corpus = PreparedCorpus.open(prepared)
    said = {speaker: {u.text for u in corpus.utterances if u.speaker == speaker} for speaker in corpus.speakers}
    assert len(set.intersection(*said.values())) == round(0.24 * 6)
    assert len(set.union(*said.values())) == 1 + 3 * 5
    texts = [{u.text for u in corpus.select(split)} for split in ("train", "valid", "test")]
    assert sum(map(len, texts)) == len(set.union(*texts))
    assert set(corpus.header.speaker_info) == set(corpus.speakers)


def test_unknown_test_speakers_and_foreign_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="no speaker p225"):
        prepare_synthetic(tmp_path / "out", SMALL, SplitRule(0, ("p225",)), workers=1)
    (tmp_path / "alignments").mkdir()
    (tmp_path / "alignments" / "precious").touch()
    with pytest.raises(UserError, match="other files"):
        prepare_synthetic(tmp_path, SMALL, RULE, workers=1, force=True)
    assert (tmp_path / "alignments" / "precious").exists()


def test_a_missing_package_tells_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r"pip install 'audio-vq\[synthetic\]'"):
        prepare_synthetic(tmp_path / "out", SMALL, RULE, workers=1)
    assert not (tmp_path / "out").exists()


def speech(spoken, phonemes):
    """Samples that are loud in the given stretches, and phonemes by name and start."""
    samples = np.zeros(4000, np.int16)
    for start, end in spoken:
        samples[start:end] = 1000
    return Speech(samples, tuple(Phoneme(name, start) for name, start in phonemes))


def test_closures_belong_to_stops_and_pauses_to_silence():
    spoken = speech(
        [(100, 500), (600, 1000), (1500, 2000), (2005, 2500)],
        # a vowel, the closure of P, a pause before S, a gap too short to be anything, the final pause
        [("_:", 0), ("'i:", 100), ("p", 600), ("s", 1500), (";", 1800), ("m", 2005), ("_:", 2600)],
    )
    assert find_segments(spoken, 1000, rhotic=True) == [
        Segment(0, "SIL"),
        Segment(100, "IY"),
        Segment(500, "P"),
        Segment(1000, "SIL"),
        Segment(1500, "S"),
        Segment(2005, "M"),
        Segment(2500, "SIL"),
    ]


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 150))
def test_margins_are_exact_and_labels_move_with_the_samples(lead, tail, margin):
    samples = np.concatenate([np.zeros(lead), np.arange(1, 301), np.zeros(tail)]).astype(np.int16)
    segments = [Segment(lead, "AA"), Segment(lead + 100, "SIL"), Segment(lead + 120, "S")]
    if lead:
        segments.insert(0, Segment(0, "SIL"))
    if tail:
        segments.append(Segment(lead + 300, "SIL"))
    clip, moved = with_margins(samples, segments, margin)
    assert len(clip) == 300 + 2 * margin
    np.testing.assert_array_equal(clip[margin : margin + 300], np.arange(1, 301))
    assert not clip[:margin].any()
    expected = [Segment(margin, "AA"), Segment(margin + 100, "SIL"), Segment(margin + 120, "S")]
    assert moved == [Segment(0, "SIL"), *expected, Segment(margin + 300, "SIL")]


def test_phones_are_the_39_of_arpabet():
    assert len(ARPABET) == 39
    assert arpabet("3", rhotic=True) == "ER"
    assert arpabet("3", rhotic=False) == "AH"
    assert arpabet(",A@", rhotic=True) == "AA"
    assert arpabet("_:", rhotic=True) == SILENCE
    assert arpabet(";", rhotic=True) is None
    with pytest.raises(KeyError):
        arpabet("x", rhotic=True)


def test_sentences_differ_and_a_larger_draw_begins_alike():
    texts = sentences(500, seed=0)
    assert len(set(texts)) == 500
    assert sentences(50, seed=0) == texts[:50]
    assert not set(sentences(500, seed=1)) & set(texts)
    for text in texts:
        assert text[0].isupper()
        assert text[-1] in ".?"
        assert "  " not in text
        assert not re.search(r"\ba (?!use|usual)[aeiou]|\ban (?!hour)[^aeiou]", text, re.IGNORECASE), text


def test_sentences_do_not_depend_on_the_process():
    program = "from audio_vq.data.corpora.synthetic.sentences import sentences; print(sentences(20, 3)[-1])"
    environment = {"PYTHONHASHSEED": "12345"}
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == sentences(20, 3)[-1]


@pytest.mark.parametrize("count", [1, 3, 24])
def test_voices_differ_and_genders_alternate(count):
    voices = make_voices(count, seed=0)
    assert [voice.gender for voice in voices] == ["MF"[index % 2] for index in range(count)]
    assert len({voice.variant.split("\n", 2)[2] for voice in voices}) == count
    assert make_voices(count, seed=0) == voices
    assert make_voices(count, seed=1) != voices


def test_every_gender_has_every_accent():
    voices = make_voices(24, seed=0)
    for gender in "MF":
        assert len({voice.accent for voice in voices if voice.gender == gender}) == 6
