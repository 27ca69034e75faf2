"""Corpus layouts: which recordings are found, under which name, with which text."""

from pathlib import Path

import pytest
from conftest import VCTK_MINI

from audio_vq.data.corpora.folder import find_folder
from audio_vq.data.corpora.manifest import find_listed
from audio_vq.data.corpora.librispeech import find_librispeech
from audio_vq.data.corpora.recordings import recording_id
from audio_vq.data.corpora.vctk import find_vctk
from audio_vq.data.prepare import Processing, SplitRule, prepare
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.errors import UserError


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


def test_two_recordings_of_one_name_are_refused(tmp_path):
    touch(tmp_path, "ann/1.wav", "ann/1.flac")
    with pytest.raises(UserError, match=r"ann/1\.flac and ann/1\.wav"):
        find_folder(tmp_path)


@pytest.mark.parametrize("find", [find_vctk, find_librispeech, find_folder])
def test_a_wrong_source_tells_the_layout(tmp_path, find):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match="<speaker>/"):
            find(folder)


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
    ],
)
def test_a_manifest_that_cannot_be_understood_says_where(tmp_path, content, complaint):
    manifest = tmp_path / "list.csv"
    manifest.write_text(content)
    with pytest.raises(UserError, match=complaint):
        find_listed(tmp_path, manifest)


@pytest.mark.parametrize(
    ("speaker", "path", "expected"),
    [
        ("ann", "ann/day1/001.wav", "ann_day1_001"),
        ("p239", "p239/p239_001.flac", "p239_001"),
        ("ann", "001.wav", "ann_001"),
        ("ann", "ann.wav", "ann_ann"),
        ("ann", "take.1.wav", "ann_take.1"),
    ],
)
def test_ids_name_the_speaker_once(speaker, path, expected):
    assert recording_id(speaker, Path(path)) == expected


@pytest.mark.skipif(not VCTK_MINI.exists(), reason="the development data is not here")
def test_vctk_mini_is_prepared_whole(tmp_path):
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
