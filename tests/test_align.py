"""Forced alignment finds the phones where they are, in source time, and says what it could not align."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import VCTK_MINI

from audio_vq.analysis.alignment.align import PhoneStart, align_corpus, in_source_time, plan_alignment
from audio_vq.analysis.alignment.alignments import ARPABET, read_alignment
from audio_vq.analysis.alignment.lexicon import spoken_words
from audio_vq.audio.resampling import resample
from audio_vq.audio.waveform import from_pcm16, to_pcm16
from audio_vq.cli.align import align
from audio_vq.data.corpora.vctk import find_vctk
from audio_vq.data.prepare import Processing, SplitRule, complete, prepare
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.data.writer import CorpusWriter, Spoken
from audio_vq.errors import UserError
from audio_vq.pitch import num_frames

RATE = 16000


def write_corpus(folder: Path, spoken: list[Spoken]) -> PreparedCorpus:
    settings = {"sample_rate": RATE}
    with CorpusWriter(folder, settings, force=False) as writer:
        for each in spoken:
            writer.add(each)
        complete(writer, SplitRule(), corpus="folder", source="test", settings=settings, speaker_info={})
    return PreparedCorpus.open(folder)


def unvoiced(name: str, samples: np.ndarray, text: str | None) -> Spoken:
    """With an empty pitch track: alignment does without."""
    return Spoken(name, "ann", samples, np.zeros(num_frames(len(samples), RATE), np.float32), f"{name}.wav", text)


def hiss(name: str, text: str | None, seconds: float = 1.0) -> Spoken:
    samples = np.random.default_rng(0).integers(-300, 300, round(seconds * RATE)).astype(np.int16)
    return unvoiced(name, samples, text)


def said(name: str, text: str, folder: Path) -> Spoken:
    from audio_vq.espeak import Espeak, write_english_data

    folder.mkdir()
    write_english_data(folder, {})
    engine = Espeak(folder, "gmw/en-US", rate=150, seed=0)
    waveform = resample(from_pcm16(engine.speak(text).samples), engine.sample_rate, RATE)
    return unvoiced(name, to_pcm16(waveform), text)


def test_words():
    assert spoken_words("It’s 5 o'clock: 'Café' -- re-do, rock 'n' roll!") == [
        "it's", "5", "o'clock", "cafe", "re", "do", "rock", "n", "roll",
    ]  # fmt: skip
    assert spoken_words("… —") == []


def test_source_time_is_contiguous_from_zero():
    phones = [PhoneStart(0.0, "SIL"), PhoneStart(0.2, "S"), PhoneStart(0.3, "IY"), PhoneStart(0.5, "SIL")]
    alignment = in_source_time(phones, 0.6, offset_seconds=1.5)
    assert alignment.labels == ("SIL", "S", "IY", "SIL")
    assert alignment.boundaries == pytest.approx([0, 1.7, 1.8, 2.0, 2.1])


def test_a_recording_that_begins_with_a_phone_has_no_silence_before_it():
    alignment = in_source_time([PhoneStart(0.0, "S"), PhoneStart(0.1, "IY")], 0.2, offset_seconds=0.0)
    assert alignment.labels == ("S", "IY")
    assert alignment.boundaries == pytest.approx([0, 0.1, 0.2])


def test_a_corpus_without_texts_is_refused(tmp_path):
    pytest.importorskip("pocketsphinx")
    corpus = write_corpus(tmp_path / "c", [hiss(name, None) for name in "abcd"])
    with pytest.raises(UserError, match="no transcripts"):
        plan_alignment(corpus, tmp_path / "out", force=False)


def test_what_does_not_fit_is_named_and_counted(tmp_path, capsys):
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("espeakng_loader")
    spoken = [said("a", "The rainbow is a division of light.", tmp_path / "espeak")]
    spoken += [hiss("b", "Extraordinary circumstances. " * 12), hiss("c", "?!"), hiss("d", None)]
    write_corpus(tmp_path / "c", spoken)
    align(tmp_path / "c", tmp_path / "out", workers=1, json_output=True)
    counts = json.loads(capsys.readouterr().out)
    assert counts["failed"] == 2
    assert set(counts["failures"]) == {"b", "c"}
    assert counts["without_text"] == 1
    assert counts["aligned"] == 1
    assert [path.name for path in (tmp_path / "out").rglob("*.lab")] == ["a.lab"]
    labels = read_alignment(tmp_path / "out" / "ann" / "a.lab").labels
    spoken_phones = [
        "DH",
        "AH",
        "R",
        "EY",
        "N",
        "B",
        "OW",
        "IH",
        "Z",
        "AH",
        "D",
        "IH",
        "V",
        "IH",
        "ZH",
        "AH",
        "N",
        "AH",
        "V",
        "L",
        "AY",
        "T",
    ]
    assert [label for label in labels if label != "SIL"] == spoken_phones
    align(tmp_path / "c", tmp_path / "out", workers=1, json_output=True)
    assert json.loads(capsys.readouterr().out)["kept"] == 1


def test_nothing_aligned_is_a_mistake(tmp_path):
    pytest.importorskip("pocketsphinx")
    write_corpus(tmp_path / "c", [hiss(name, f"{name} ?!"[1:]) for name in "abcd"])
    with pytest.raises(UserError, match="none of 4"):
        align(tmp_path / "c", tmp_path / "out", workers=1)


def test_missing_package_says_what_to_install(tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path / "c", [hiss(name, "yes") for name in "abcd"])
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'audio-vq\[align\]'"):
        plan_alignment(corpus, tmp_path / "out", force=False)


def test_words_the_dictionary_lacks_are_pronounced():
    pytest.importorskip("espeakng_loader")
    from audio_vq.analysis.alignment.lexicon import pronounce

    spoken = pronounce(["carport", "norsemen", "bottle", "42"])
    assert spoken["carport"].split()[:4] == ["K", "AA", "R", "P"]
    assert spoken["bottle"].split()[-2:] == ["AH", "L"]
    assert spoken["42"].split()[:3] == ["F", "AO", "R"]
    assert {phone for phones in spoken.values() for phone in phones.split()} <= ARPABET


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    if not VCTK_MINI.is_dir():
        pytest.skip("needs the real recordings of the development checkout")
    pytest.importorskip("pocketsphinx")
    recordings = find_vctk(VCTK_MINI)
    few = [each for each in recordings.recordings if each.speaker in ("p225", "p228")]
    folder = tmp_path_factory.mktemp("real") / "corpus"
    prepare(dataclasses.replace(recordings, recordings=few), folder, Processing(), SplitRule(), workers=1)
    return folder


def test_agrees_with_other_alignments_of_real_speech(real, tmp_path):
    """Two aligners with different lexica agree on about 81 % of frames; with times 7.8 ms early, on fewer."""
    corpus = PreparedCorpus.open(real)
    plan = plan_alignment(corpus, tmp_path, force=False)
    assert "refraction" in plan.pronunciations
    outcomes = list(align_corpus(corpus, plan, tmp_path, workers=1))
    assert [each.failure for each in outcomes] == [None] * 14
    agree, early = [], []
    for utterance in corpus.utterances:
        ours = read_alignment(tmp_path / utterance.speaker / f"{utterance.id}.lab")
        reference = read_alignment(VCTK_MINI / "phones" / utterance.speaker / f"{utterance.id}.lab")
        end = utterance.offset_seconds + utterance.num_samples / RATE
        assert ours.boundaries[0] == 0
        assert ours.boundaries[-1] == pytest.approx(end, abs=1e-5)
        times = np.arange(0.0025, min(end, reference.boundaries[-1]), 0.005)
        agree.append(ours.labels_at(times) == reference.labels_at(times))
        early.append(ours.labels_at(times + 0.0078) == reference.labels_at(times))
    assert np.concatenate(agree).mean() > 0.78
    assert np.concatenate(agree).mean() > np.concatenate(early).mean()


def test_interrupted_alignment_goes_on_and_force_redoes(real, tmp_path):
    corpus = PreparedCorpus.open(real)
    first = dataclasses.replace(corpus, utterances=corpus.utterances[:2])
    list(align_corpus(first, plan_alignment(first, tmp_path, force=False), tmp_path, workers=1))
    kept = tmp_path / first.utterances[0].speaker / f"{first.utterances[0].id}.lab"
    aligned = kept.read_text()
    kept.write_text("0 1 AH\n")
    plan = plan_alignment(corpus, tmp_path, force=False)
    assert (plan.kept, len(plan.utterances)) == (2, 12)
    list(align_corpus(first, plan_alignment(first, tmp_path, force=True), tmp_path, workers=1))
    assert kept.read_text() == aligned  # the same result whatever came before
