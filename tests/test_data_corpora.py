"""Corpus layouts: which recordings are found, under which name, with which text."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import VCTK_MINI
from hypothesis import given
from hypothesis import strategies as st

from audio_vq.data.corpora.folder import find_folder
from audio_vq.data.corpora.librispeech import find_librispeech
from audio_vq.data.corpora.manifest import find_listed
from audio_vq.data.corpora.recordings import distinct, recording_id
from audio_vq.data.corpora.vctk import find_vctk
from audio_vq.data.prepare import Processing, SplitRule, prepare
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.errors import UserError
from audio_vq.pitch import num_frames


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(recordings):
    return {entry.id: (entry.speaker, entry.source, entry.text) for entry in recordings.recordings}


def test_vctk_092_takes_the_second_microphone_only_for_want_of_the_first(tmp_path):
    audio = "wav48_silence_trimmed"
    touch(tmp_path, *(f"{audio}/p225/p225_001_mic{mic}.flac" for mic in (1, 2)))
    touch(tmp_path, f"{audio}/p315/p315_002_mic2.flac", "txt/p225/p225_001.txt")
    touch(tmp_path, f"{audio}/log.txt", f"{audio}/p225/._p225_001_mic1.flac")  # neither is a recording
    (tmp_path / "txt/p225/p225_001.txt").write_text("Please call Stella.\n")
    (tmp_path / "speaker-info.txt").write_text(
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS\np225  23  F    English    Southern  England\np1 30 M English\n"
    )
    recordings = find_vctk(tmp_path)
    assert found(recordings) == {
        "p225_001": ("p225", f"{audio}/p225/p225_001_mic1.flac", "Please call Stella."),
        "p315_002": ("p315", f"{audio}/p315/p315_002_mic2.flac", None),
    }
    assert recordings.speaker_info["p225"] == {
        "age": "23",
        "gender": "F",
        "accent": "English",
        "region": "Southern  England",
    }


def test_vctk_080_is_found_inside_its_archive_folder(tmp_path):
    touch(tmp_path, "VCTK-Corpus/wav48/p226/p226_001.wav")
    (tmp_path / "VCTK-Corpus/speaker-info.txt").write_text("ID  AGE\n226  22  M    English    Surrey\n")
    recordings = find_vctk(tmp_path)
    assert found(recordings) == {"p226_001": ("p226", "wav48/p226/p226_001.wav", None)}
    assert recordings.speaker_info["p226"]["region"] == "Surrey"


def test_librispeech_is_found_across_subsets(tmp_path):
    for subset, speaker in (("train-clean-100", 19), ("dev-clean", 84)):
        chapter = f"LibriSpeech/{subset}/{speaker}/198"
        touch(tmp_path, f"{chapter}/{speaker}-198-0000.flac", f"{chapter}/{speaker}-198-0001.flac")
        (tmp_path / chapter / f"{speaker}-198.trans.txt").write_text(f"{speaker}-198-0000 CHAPTER ONE\n")
    touch(tmp_path, "LibriSpeech/extra/noise.flac", "LibriSpeech/extra/1-2-3.flac")
    recordings = find_librispeech(tmp_path / "LibriSpeech")
    assert found(recordings) == {
        "19-198-0000": ("19", "train-clean-100/19/198/19-198-0000.flac", "CHAPTER ONE"),
        "19-198-0001": ("19", "train-clean-100/19/198/19-198-0001.flac", None),
        "84-198-0000": ("84", "dev-clean/84/198/84-198-0000.flac", "CHAPTER ONE"),
        "84-198-0001": ("84", "dev-clean/84/198/84-198-0001.flac", None),
    }


def test_a_folder_names_its_speakers(tmp_path):
    touch(tmp_path, "ann/001.wav", "ann/day2/001.flac", "bob/bob_7.ogg", "loose.wav", "ann/readme.md")
    (tmp_path / "ann/001.txt").write_text("\ufeffHello\nthere ", encoding="utf-8")
    assert found(find_folder(tmp_path)) == {
        "ann_001": ("ann", "ann/001.wav", "Hello there"),
        "ann_day2_001": ("ann", "ann/day2/001.flac", None),
        "bob_7": ("bob", "bob/bob_7.ogg", None),
    }


def test_a_folder_without_subfolders_is_one_speaker(tmp_path):
    touch(tmp_path, "Dad's voice/001.wav", "Dad's voice/2.flac", "Dad's voice/notes.txt")
    recordings = find_folder(tmp_path / "Dad's voice").recordings
    assert {(each.speaker, each.id) for each in recordings} == {
        ("Dad's voice", "Dad's voice_001"),
        ("Dad's voice", "Dad's voice_2"),
    }


def test_recordings_of_one_name_are_told_apart(tmp_path):
    touch(tmp_path, "ann/1.flac", "ann/1.wav", "ann/a/b.wav", "ann/a_b.wav", "ann/rec.001.wav", "ann/rec.002.wav")
    assert {each.source: each.id for each in find_folder(tmp_path).recordings} == {
        "ann/1.flac": "ann_1",
        "ann/1.wav": "ann_1-2",
        "ann/a/b.wav": "ann_a_b",
        "ann/a_b.wav": "ann_a_b-2",
        "ann/rec.001.wav": "ann_rec.001",
        "ann/rec.002.wav": "ann_rec.002",
    }


@given(st.lists(st.sampled_from(["a", "a-2", "a-3", "b", "b-2"])))
def test_distinct_names_are_distinct_and_first_comers_keep_theirs(names):
    found = distinct(names)
    assert len(set(found)) == len(names)
    for name in set(names):
        assert found[names.index(name)] == name


def test_any_name_of_a_file_makes_an_id_that_can_name_one(tmp_path):
    odd = ["x" * 251 + ".wav", os.fsdecode(b"J\xfcrgen.wav"), "two\nlines.wav", "back\\slash.wav", "é" * 125 + ".wav"]
    touch(tmp_path, *(f"ann/{name}" for name in odd), os.fsdecode(b"B\xf6b/1.wav"))
    recordings = find_folder(tmp_path).recordings
    assert {"ann_J%FCrgen", "ann_two%0Alines", "ann_back%5Cslash"} <= {each.id for each in recordings}
    assert {each.speaker for each in recordings} == {"ann", "B%F6b"}
    for each in recordings:
        (tmp_path / f"{each.id}_to_somebody.lab").touch()


def test_what_may_be_data_and_is_not_taken_is_named(tmp_path):
    touch(tmp_path, "ann/1.wav", "ben/1.m4a", "loose.wav", "ann/readme.md", "__MACOSX/ann/1.wav")
    left_out = {each.source: each.reason for each in find_folder(tmp_path).left_out}
    assert left_out.keys() == {"ben/1.m4a", "loose.wav"}
    assert "no speaker's folder" in left_out["loose.wav"]
    (tmp_path / "ann/1.wav").unlink()
    with pytest.raises(UserError, match=r"left out ben/1\.m4a: audio of a kind that cannot be read"):
        find_folder(tmp_path)


def vctk_of(tmp_path, texts):
    """A VCTK tree in which the speakers say the texts by number, None where the text is lost."""
    for speaker, said in texts.items():
        for number, text in said.items():
            touch(tmp_path, f"wav48_silence_trimmed/{speaker}/{speaker}_{number:03}_mic1.flac")
            if text:
                touch(tmp_path, f"txt/{speaker}/{speaker}_{number:03}.txt")
                (tmp_path / f"txt/{speaker}/{speaker}_{number:03}.txt").write_text(text)
    return find_vctk(tmp_path)


def test_a_vctk_speaker_without_texts_says_what_all_others_say_under_the_number(tmp_path):
    said = {1: "Please call Stella.", 2: "Ask her.", 100: "This one is mine."}
    other = {1: "Please call Stella", 2: "ask her", 100: "This one is not."}
    found = vctk_of(tmp_path, {"p225": said, "p226": other, "p315": {1: None, 2: None, 3: None, 100: None}})
    assert found.sentences == {"p315_001": "please call stella", "p315_002": "ask her", "p315_003": "003"}
    assert [each.source for each in found.left_out] == ["wav48_silence_trimmed/p315/p315_100_mic1.flac"]
    assert "p315_100" not in {each.id for each in found.recordings}


def test_vctk_without_any_text_is_split_by_number(tmp_path):
    found = vctk_of(tmp_path, {"p225": {1: None, 2: None}, "p226": {1: None, 2: None}})
    assert len(found.recordings) == 4
    assert found.sentences["p225_001"] == found.sentences["p226_001"] != found.sentences["p226_002"]


def test_speaker_info_may_have_blank_lines(tmp_path):
    touch(tmp_path, "wav48/p225/p225_001.wav")
    (tmp_path / "speaker-info.txt").write_text("ID  AGE\n\np225  23  F    English\n   \n")
    assert find_vctk(tmp_path).speaker_info == {"p225": {"age": "23", "gender": "F", "accent": "English"}}


@pytest.mark.parametrize("find", [find_vctk, find_librispeech, find_folder])
def test_a_wrong_source_tells_the_layout(tmp_path, find):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match="<speaker>/"):
            find(folder)


def test_a_manifest_tells_sentences_and_speakers(tmp_path):
    manifest = tmp_path / "list.csv"
    manifest.write_text(
        "path,speaker,sentence,gender,corpus\na/1.wav,ann,one,F,home\nb/1.wav,bob,one,,\nb/2.wav,bob,,M,\n"
    )
    found = find_listed(tmp_path, manifest)
    assert found.sentences == {"ann_a_1": "one", "bob_b_1": "one"}
    assert found.speaker_info == {"ann": {"gender": "F", "corpus": "home"}, "bob": {"gender": "M"}}


def test_a_manifest_says_who_and_what_and_where(tmp_path):
    touch(tmp_path, "audio/a.wav", "lists/b.wav")
    manifest = tmp_path / "lists" / "list.csv"
    manifest.write_text('path,speaker,text,split,note\na.wav,ann,"Well, yes.",test,x\nb.wav,bob,,,\n')
    first, second = find_listed(tmp_path / "audio", manifest).recordings
    assert (first.id, first.path, first.text, first.split) == (
        "ann_a",
        tmp_path / "audio/a.wav",
        "Well, yes.",
        "test",
    )
    assert (second.path, second.text, second.split) == (tmp_path / "lists/b.wav", None, None)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "header path,speaker"),
        ("file,who\na.wav,ann\n", "header path,speaker"),
        ("path,speaker\n", "lists no recording"),
        ("path,speaker\na.wav,\n", "line 2: path and speaker"),
        ("path,speaker,split\na.wav,ann,dev\n", "line 2: split 'dev'"),
        ("path,speaker,text\na.wav,ann,Well, yes\n", "line 2 has more values"),
        ("path,speaker\na.wav,../ann\n", "line 2: speaker"),
        ("path,speaker\na.wav,..\n", "line 2: speaker"),
        ('path,speaker,text\na.wav,ann,x\nb.wav,ann,"three he said\nc.wav,ann,x\n', "line 3 cannot be read"),
        ('path,speaker,text\na.wav,ann,"three\nb.wav,ann,five"\n', "line 2 cannot be read"),
        ('path,speaker,text\na.wav,ann,"Yes" he said\n', "line 2 cannot be read"),
        (f"path,speaker,text\na.wav,ann,{'x' * 140_000}\n", "line 2 cannot be read"),
        ("path,speaker\na\0b.wav,ann\n", "line 2"),
        ("path,speaker\na.wav,ann\nb.wav,bob\na.wav,bob\n", "line 4 lists a.wav again, .* line 2"),
    ],
)
def test_a_manifest_that_cannot_be_understood_says_where(tmp_path, content, complaint):
    manifest = tmp_path / "list.csv"
    manifest.write_text(content)
    with pytest.raises(UserError, match=complaint):
        find_listed(tmp_path, manifest)


TABLE = "path,speaker,text\na.wav,Jürgen,Grüß dich\n\nb.wav,Jürgen,\n,,\n"


@pytest.mark.parametrize(
    "content",
    [
        TABLE.encode("utf-8-sig"),
        TABLE.encode("latin-1"),
        TABLE.replace(",", "\t").encode("utf-16"),  # what Excel calls Unicode text
        TABLE.replace(",", ";").encode(),
        TABLE.replace(",", " , ").replace("path", " Path").encode(),
        TABLE.replace("path,speaker,text", '"path", "speaker", "text"').replace("\n", "\r\n").encode(),
        TABLE.replace("\n", "\r").encode(),
    ],
    ids=["mark", "latin-1", "utf-16 tabs", "semicolons", "blanks", "quoted header, crlf", "cr"],
)
def test_tables_come_as_programs_write_them(tmp_path, content):
    manifest = tmp_path / "list.csv"
    manifest.write_bytes(content)
    first, second = find_listed(tmp_path, manifest).recordings
    assert (first.id, first.speaker, first.text) == ("Jürgen_a", "Jürgen", "Grüß dich")
    assert (second.id, second.text) == ("Jürgen_b", None)


def test_a_recording_that_is_listed_twice_is_one(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    (tmp_path / "list.csv").write_text("path,speaker\na.wav,ann\n./a.wav,ann\nb.wav,ann\n")
    assert len(find_listed(tmp_path, tmp_path / "list.csv").recordings) == 2


@pytest.mark.parametrize(
    ("speaker", "path", "expected"),
    [
        ("ann", "ann/day1/001.wav", "ann_day1_001"),
        ("p239", "p239/p239_001.flac", "p239_001"),
        ("ann", "001.wav", "ann_001"),
        ("ann", "ann.wav", "ann_ann"),
        ("ann", "take.1.wav", "ann_take.1"),
        ("ann", "take.1", "ann_take.1"),
    ],
)
def test_ids_name_the_speaker_once(speaker, path, expected):
    assert recording_id(speaker, Path(path)) == expected


@pytest.mark.skipif(not VCTK_MINI.exists(), reason="the development data is not here")
def test_vctk_mini_is_prepared_whole(tmp_path, monkeypatch):
    """But for its pitch, which takes three quarters of the time and is tested by itself."""
    unvoiced = lambda waveform, rate: np.zeros(num_frames(len(waveform), rate), np.float32)  # noqa: E731
    monkeypatch.setattr("audio_vq.data.prepare.track", unvoiced)
    header = prepare(find_vctk(VCTK_MINI), tmp_path / "out", Processing(), SplitRule(), workers=1)
    corpus = PreparedCorpus.open(tmp_path / "out", sample_rate=16000)
    assert len(corpus.utterances) == 478
    assert corpus.speakers == ("p225", "p226", "p227", "p228", "p239")
    assert header.skipped == ()
    assert all(utterance.text for utterance in corpus.utterances)
    assert header.splits["test"].utterances >= 48
    assert header.splits["valid"].utterances >= 24
    texts = {split: {u.text for u in corpus.select(split)} for split in ("train", "valid", "test")}
    assert not texts["train"] & texts["test"]
    assert header.speaker_info["p239"]["gender"] == "F"
