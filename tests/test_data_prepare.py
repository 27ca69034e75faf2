"""Preparing: the same bytes for any number of workers and any interruption; what cannot be used is named."""

import errno
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

import audio_vq.data.writer
from audio_vq.data import prepare as preparing
from audio_vq.data.corpora.folder import find_folder
from audio_vq.data.prepare import Processing, SplitRule, prepare
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.errors import UserError
from audio_vq.loudness import active_rms

RATE = 8000
PLAIN = Processing(sample_rate=RATE, trim_db=None, loudness_db=None)
RULE = SplitRule()


def noise(seconds, seed, amplitude=0.3):
    rng = np.random.default_rng(seed)
    return (amplitude * rng.uniform(-1, 1, int(seconds * RATE))).astype(np.float32)


def write_recordings(folder, count=6):
    """Speakers ann and bob; the audio of each file is its own noise."""
    for index in range(count):
        path = folder / ("ann" if index % 2 else "bob") / f"{index:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise(0.5 + 0.1 * index, index), RATE, subtype="PCM_16")
        path.with_suffix(".txt").write_text(f"sentence {index}\n")
    return folder


@pytest.fixture
def recordings(tmp_path):
    return write_recordings(tmp_path / "src")


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_samples_are_those_of_the_recordings(recordings, tmp_path):
    header = prepare(find_folder(recordings), tmp_path / "out", PLAIN, RULE, workers=1)
    corpus = PreparedCorpus.open(tmp_path / "out", sample_rate=RATE)
    assert corpus.header == header
    assert corpus.speakers == ("ann", "bob")
    assert corpus.hours == pytest.approx(6 * 0.75 / 3600)
    assert sum(size.utterances for size in header.splits.values()) == 6
    for utterance in corpus.utterances:
        expected, _ = soundfile.read(recordings / utterance.source, dtype="int16")
        offset = expected.mean()  # which is taken away
        np.testing.assert_allclose(corpus.waveform(utterance) * 32768, expected - offset, atol=0.51)
        assert utterance.text == f"sentence {int(utterance.id[-2:])}"
        assert utterance.offset_seconds == 0
    assert [u.start for u in corpus.utterances[1:]] == list(np.cumsum([u.num_samples for u in corpus.utterances])[:-1])


def test_workers_do_not_change_a_byte(recordings, tmp_path):
    for workers in (1, 2):
        prepare(find_folder(recordings), tmp_path / f"out{workers}", Processing(RATE), RULE, workers=workers)
    assert content(tmp_path / "out1") == content(tmp_path / "out2")


def test_trimming_and_level_are_as_recorded(tmp_path):
    source = tmp_path / "src" / "ann"
    source.mkdir(parents=True)
    speech = np.concatenate([np.zeros(RATE), noise(1, 0), np.zeros(2 * RATE)])
    soundfile.write(source / "a.wav", speech, RATE)
    prepare(find_folder(tmp_path / "src"), tmp_path / "out", Processing(RATE), RULE, workers=1)
    corpus = PreparedCorpus.open(tmp_path / "out")
    (utterance,) = corpus.utterances
    assert utterance.offset_seconds == pytest.approx(0.9, abs=0.03)
    kept = corpus.waveform(utterance)
    assert 20 * np.log10(active_rms(kept)) == pytest.approx(-23, abs=0.2)
    first = round(utterance.offset_seconds * RATE)
    original = speech[first : first + len(kept)]
    assert np.corrcoef(kept, original)[0, 1] > 0.999999  # shifted by one sample it would be nearly 0


class InterruptedRunError(Exception):
    pass


def interrupt_after(monkeypatch, count):
    """Make the run die while it appends recording number `count` + 1."""
    done = iter(range(count))
    real = preparing.process

    def process(recording, processing):
        if next(done, None) is None:
            raise InterruptedRunError
        return real(recording, processing)

    monkeypatch.setattr(preparing, "process", process)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_an_interrupted_run_goes_on_to_the_same_bytes(recordings, tmp_path, monkeypatch, count):
    (recordings / "ann" / "broken.wav").write_text("no audio")
    prepare(find_folder(recordings), tmp_path / "whole", PLAIN, RULE, workers=1)
    with monkeypatch.context() as patch:
        interrupt_after(patch, count)
        with pytest.raises(InterruptedRunError):
            prepare(find_folder(recordings), tmp_path / "out", PLAIN, RULE, workers=1)
    with pytest.raises(UserError, match="unfinished"):
        PreparedCorpus.open(tmp_path / "out")
    interrupt_after(monkeypatch, 7 - count)  # what is done is not done again
    prepare(find_folder(recordings), tmp_path / "out", PLAIN, RULE, workers=1)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["torn line", "line without samples", "samples without line"])
def test_what_a_killed_run_left_half_written_is_cut_off(recordings, tmp_path, monkeypatch, damage):
    out = tmp_path / "out"
    prepare(find_folder(recordings), tmp_path / "whole", PLAIN, RULE, workers=1)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(InterruptedRunError):
            prepare(find_folder(recordings), out, PLAIN, RULE, workers=1)
    pcm, lines = out / "audio.pcm", out / audio_vq.data.writer.PARTIAL_FILE
    if damage == "torn line":
        lines.write_bytes(lines.read_bytes()[:-20])
    elif damage == "line without samples":
        pcm.write_bytes(pcm.read_bytes()[:-1001])
    else:
        pcm.write_bytes(pcm.read_bytes() + b"\1" * 1001)
    prepare(find_folder(recordings), out, PLAIN, RULE, workers=1)
    assert content(out) == content(tmp_path / "whole")


def test_going_on_with_other_settings_is_refused(recordings, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(InterruptedRunError):
            prepare(find_folder(recordings), out, PLAIN, RULE, workers=1)
    with pytest.raises(UserError, match="another sample rate"):
        prepare(find_folder(recordings), out, replace(PLAIN, sample_rate=4000), RULE, workers=1)
    (recordings / "ann" / "01.txt").write_text("another text")
    with pytest.raises(UserError, match="another list of recordings"):
        prepare(find_folder(recordings), out, PLAIN, RULE, workers=1)
    prepare(find_folder(recordings), out, PLAIN, RULE, workers=1, force=True)
    assert "another text" in (out / "utterances.jsonl").read_text()


def test_a_finished_corpus_and_foreign_files_are_not_overwritten(recordings, tmp_path):
    out = tmp_path / "out"
    prepare(find_folder(recordings), out, PLAIN, RULE, workers=1)
    before = content(out)
    with pytest.raises(UserError, match="--force"):
        prepare(find_folder(recordings), out, PLAIN, RULE, workers=1)
    assert content(out) == before
    prepare(find_folder(recordings), out, PLAIN, RULE, workers=1, force=True)
    assert content(out) == before
    for force in (False, True):
        with pytest.raises(UserError, match="other files"):
            prepare(find_folder(recordings), recordings, PLAIN, RULE, workers=1, force=force)


def test_unusable_recordings_are_named_counted_and_skipped(recordings, tmp_path, capsys):
    folder = recordings / "ann"
    (folder / "text.wav").write_text("no audio")
    (folder / "[bold]empty.wav").touch()
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(folder / "constant.wav", np.full(RATE, 0.5), RATE)
    soundfile.write(folder / "short.wav", np.concatenate([np.zeros(RATE), noise(0.05, 0)]), RATE)
    soundfile.write(folder / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    header = prepare(find_folder(recordings), tmp_path / "out", Processing(RATE), RULE, workers=1)
    reasons = {skipped.source: skipped.reason for skipped in header.skipped}
    assert reasons.keys() == {
        f"ann/{name}.wav" for name in ("text", "[bold]empty", "silent", "constant", "short", "nan")
    }
    assert reasons["ann/silent.wav"] == reasons["ann/constant.wav"] == "silent"
    assert "NaN" in reasons["ann/nan.wav"]
    assert "0.3 s" in reasons["ann/short.wav"]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(source in captured.err for source in reasons)
    assert json.loads((tmp_path / "out" / "corpus.json").read_text())["skipped"][0].keys() == {
        "source",
        "reason",
    }
    assert sum(size.utterances for size in header.splits.values()) == 6


def test_nothing_usable_leaves_nothing_behind(tmp_path):
    (tmp_path / "src" / "ann").mkdir(parents=True)
    (tmp_path / "src" / "ann" / "a.wav").write_text("no audio")
    with pytest.raises(UserError, match="no usable recording"):
        prepare(find_folder(tmp_path / "src"), tmp_path / "out", PLAIN, RULE, workers=1)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_told_in_a_line_and_can_be_gone_on_from(recordings, tmp_path, monkeypatch):
    prepare(find_folder(recordings), tmp_path / "whole", PLAIN, RULE, workers=1)
    real = audio_vq.data.writer.CorpusWriter._write_line

    def full(writer, line):
        if writer.done == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(writer, line)

    with monkeypatch.context() as patch:
        patch.setattr(audio_vq.data.writer.CorpusWriter, "_write_line", full)
        with pytest.raises(UserError, match="No space left"):
            prepare(find_folder(recordings), tmp_path / "out", PLAIN, RULE, workers=1)
    prepare(find_folder(recordings), tmp_path / "out", PLAIN, RULE, workers=1)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_left_out_utterances_of_test_speakers_are_reported(recordings, tmp_path):
    for path in (recordings / "ann").glob("*.txt"):
        path.write_text("sentence 0")  # bob says it too
    rule = SplitRule(1, ("ann",))
    header = prepare(find_folder(recordings), tmp_path / "out", PLAIN, rule, workers=1)
    corpus = PreparedCorpus.open(tmp_path / "out")
    said_by_bob = next(u.split for u in corpus.utterances if u.id == "bob_00")
    assert said_by_bob != "test"  # for seed 1; otherwise the test would say nothing
    assert len(header.skipped) == 3
    assert all("ann says a sentence that is trained on" in skipped.reason for skipped in header.skipped)
    for utterance in corpus.utterances:  # what was left out has not moved the others
        expected, _ = soundfile.read(recordings / utterance.source, dtype="int16")
        np.testing.assert_allclose(corpus.waveform(utterance) * 32768, expected - expected.mean(), atol=0.51)


def test_mistakes_about_splits_come_before_the_work(recordings, tmp_path, monkeypatch):
    interrupt_after(monkeypatch, 0)
    with pytest.raises(UserError, match="no speaker eve"):
        prepare(find_folder(recordings), tmp_path / "out", PLAIN, SplitRule(0, ("eve",)), workers=1)
    assert not (tmp_path / "out").exists()
