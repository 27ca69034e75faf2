"""Preparing: the same bytes for any number of workers and any interruption; what cannot be used is named."""

import errno
import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import sawtooth

import audio_vq.data.writer
from audio_vq.data import prepare as preparing
from audio_vq.data.corpora.folder import find_folder
from audio_vq.data.prepare import Processing, SplitRule, prepare
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.data.writer import CorpusWriter
from audio_vq.errors import UserError
from audio_vq.loudness import MAX_GAIN_DB, active_rms
from audio_vq.parallel import in_order
from audio_vq.pitch import PitchRange, num_frames, track

RATE = 8000
PLAIN = Processing(sample_rate=RATE, trim_db=None, loudness_db=None)
RULE = SplitRule()


def noise(seconds, seed, amplitude=0.3):
    rng = np.random.default_rng(seed)
    return (amplitude * rng.uniform(-1, 1, int(seconds * RATE))).astype(np.float32)


def assert_same_sound(samples, expected):
    """But for level and offset; noise that is shifted by one sample correlates hardly at all."""
    assert len(samples) == len(expected)
    assert np.corrcoef(samples, expected)[0, 1] > 0.999


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
        assert_same_sound(corpus.waveform(utterance), expected)
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
    assert_same_sound(kept, original)


def test_the_pitch_is_that_of_the_samples_as_they_are_stored(tmp_path):
    for name, hertz in (("ann", 220.0), ("bob", 110.0)):
        (tmp_path / "src" / name).mkdir(parents=True)
        for number, seconds in enumerate((0.5, 0.8037)):
            buzz = sawtooth(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
            soundfile.write(tmp_path / "src" / name / f"{number}.wav", 0.3 * buzz, RATE)
    prepare(find_folder(tmp_path / "src"), tmp_path / "out", Processing(RATE), RULE, workers=1)
    corpus = PreparedCorpus.open(tmp_path / "out")
    for utterance in corpus.utterances:
        pitch = corpus.pitch(utterance)
        np.testing.assert_array_equal(pitch, track(corpus.waveform(utterance), RATE))
        assert len(pitch) == -(-utterance.num_samples // 80)
        assert np.median(pitch) == pytest.approx({"ann": 220, "bob": 110}[utterance.speaker], rel=0.02)
    ranges = corpus.pitch_ranges()
    of_ann = [corpus.pitch(each) for each in corpus.select("train") if each.speaker == "ann"]
    assert ranges.keys() == {"ann", "bob"}
    assert ranges["ann"] == PitchRange.of(np.concatenate(of_ann))


def test_a_track_that_is_too_short_is_told_in_a_line(recordings, tmp_path):
    prepare(find_folder(recordings), tmp_path / "out", PLAIN, RULE, workers=1)
    file = tmp_path / "out" / "pitch.f32"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"pitch\.f32 is shorter"):
        PreparedCorpus.open(tmp_path / "out")
    file.unlink()
    with pytest.raises(UserError, match=r"damaged.*pitch\.f32"):
        PreparedCorpus.open(tmp_path / "out")


def test_an_offset_changes_neither_trimming_nor_level(tmp_path):
    speech = np.concatenate([noise(1, 0, 5e-4), noise(1, 1, 0.1), noise(1, 2, 5e-4)])
    for name, offset in (("ann", 0.0), ("bob", 0.2)):
        (tmp_path / "src" / name).mkdir(parents=True)
        soundfile.write(tmp_path / "src" / name / "a.wav", speech + offset, RATE)
    prepare(find_folder(tmp_path / "src"), tmp_path / "out", Processing(RATE), RULE, workers=1)
    ann, bob = PreparedCorpus.open(tmp_path / "out").utterances
    assert ann.offset_seconds == bob.offset_seconds > 0.5
    assert ann.num_samples == bob.num_samples
    assert ann.gain_db == pytest.approx(bob.gain_db, abs=0.1)


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


@pytest.mark.parametrize(
    "damage",
    ["torn line", "line without samples", "samples without line", "line without pitch", "pitch without line"],
)
def test_what_a_killed_run_left_half_written_is_cut_off(recordings, tmp_path, monkeypatch, damage):
    out = tmp_path / "out"
    prepare(find_folder(recordings), tmp_path / "whole", PLAIN, RULE, workers=1)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(InterruptedRunError):
            prepare(find_folder(recordings), out, PLAIN, RULE, workers=1)
    damaged = (
        out
        / {
            "torn line": audio_vq.data.writer.PARTIAL_FILE,
            "line without samples": "audio.pcm",
            "samples without line": "audio.pcm",
            "line without pitch": "pitch.f32",
            "pitch without line": "pitch.f32",
        }[damage]
    )
    if damage.endswith("without line"):
        damaged.write_bytes(damaged.read_bytes() + b"\1" * 1001)
    else:
        damaged.write_bytes(damaged.read_bytes()[:-21])
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
        assert_same_sound(corpus.waveform(utterance), expected)


def test_mistakes_about_splits_come_before_the_work(recordings, tmp_path, monkeypatch):
    interrupt_after(monkeypatch, 0)
    with pytest.raises(UserError, match="no speaker eve"):
        prepare(find_folder(recordings), tmp_path / "out", PLAIN, SplitRule(0, ("eve",)), workers=1)
    assert not (tmp_path / "out").exists()


def bursts(seconds, seed, phrase_seconds=2.6, pause_seconds=0.5):
    """Phrases of noise with pauses of near-silence between them."""
    waveform = noise(seconds, seed)
    period, pause = int((phrase_seconds + pause_seconds) * RATE), int(pause_seconds * RATE)
    for start in range(period - pause, len(waveform), period):
        waveform[start : start + pause] *= 0.001
    return waveform


@pytest.fixture
def talk(tmp_path, monkeypatch):
    """Two people, one long recording each, and nothing said about the text; no time is spent on their pitch."""
    monkeypatch.setattr(preparing, "track", lambda heard, rate: np.full(num_frames(len(heard), rate), len(heard), "f4"))
    for index, speaker in enumerate(("ann", "bob")):
        path = tmp_path / "talks" / speaker / "talk.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, bursts(70 + 20 * index, index), RATE, subtype="PCM_16")
    return tmp_path / "talks"


@pytest.mark.parametrize("processing", [PLAIN, Processing(RATE)], ids=["as it is", "trimmed and levelled"])
def test_a_long_recording_becomes_utterances_cut_at_pauses(talk, tmp_path, processing):
    header = prepare(find_folder(talk), tmp_path / "out", processing, RULE, workers=1)
    corpus = PreparedCorpus.open(tmp_path / "out")
    assert {u.speaker for u in corpus.select("train")} == {"ann", "bob"}
    assert all(size.utterances for size in header.splits.values())
    anns = [u for u in corpus.utterances if u.speaker == "ann"]
    assert [u.id for u in anns] == [f"ann_talk-{number:03d}" for number in range(1, len(anns) + 1)]
    assert {u.source for u in anns} == {"ann/talk.wav"}
    assert sum(u.num_samples for u in anns) >= 0.8 * 70 * RATE
    whole = bursts(70, 0)
    for utterance in anns:
        assert 2 * RATE <= utterance.num_samples <= 20 * RATE
        first = round(utterance.offset_seconds * RATE)
        original = whole[first : first + utterance.num_samples]
        assert_same_sound(corpus.waveform(utterance), original)
        ends = np.abs(np.concatenate([original[:100], original[-100:]]))
        assert utterance in (anns[0], anns[-1]) or ends.max() < 0.01  # nothing was cut through


def test_a_long_recording_of_nothing_but_clicks_is_skipped(tmp_path):
    (tmp_path / "src" / "ann").mkdir(parents=True)
    clicks = np.zeros(70 * RATE, np.float32)
    clicks[[RATE, 35 * RATE, 68 * RATE]] = 0.9
    soundfile.write(tmp_path / "src" / "ann" / "a.wav", clicks, RATE)
    with pytest.raises(UserError, match="nothing but pauses"):
        prepare(find_folder(tmp_path / "src"), tmp_path / "out", Processing(RATE), RULE, workers=1)


def test_a_long_recording_with_a_text_stays_whole(talk, tmp_path):
    for speaker in ("ann", "bob"):
        (talk / speaker / "talk.txt").write_text(f"all that {speaker} says")
    prepare(find_folder(talk), tmp_path / "out", PLAIN, RULE, workers=1)
    assert [u.id for u in PreparedCorpus.open(tmp_path / "out").utterances] == ["ann_talk", "bob_talk"]


def test_pieces_get_no_name_that_another_recording_has(talk, tmp_path):
    soundfile.write(talk / "ann" / "talk-001.wav", noise(1, 5), RATE)
    prepare(find_folder(talk), tmp_path / "out", PLAIN, RULE, workers=1)
    names = [u.id for u in PreparedCorpus.open(tmp_path / "out").utterances]
    assert len(set(names)) == len(names)
    assert "ann_talk-001-2" in names


def test_a_killed_run_goes_on_behind_the_last_whole_recording(talk, tmp_path, monkeypatch):
    prepare(find_folder(talk), tmp_path / "whole", PLAIN, RULE, workers=1)
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(InterruptedRunError):
            prepare(find_folder(talk), out, PLAIN, RULE, workers=1)
    pcm, lines = out / "audio.pcm", out / audio_vq.data.writer.PARTIAL_FILE
    pcm.write_bytes(pcm.read_bytes()[:-2])  # the last piece never reached the disk whole
    lines.write_bytes(lines.read_bytes() + b"\0" * 40 + b"\n")  # what file systems leave after a power cut
    prepare(find_folder(talk), out, PLAIN, RULE, workers=1)
    assert content(out) == content(tmp_path / "whole")


def test_a_second_run_in_the_same_folder_is_told(recordings, tmp_path):
    out = tmp_path / "out"
    with CorpusWriter(out, {}, force=False), pytest.raises(UserError, match="another process is at work on the corpus"):
        prepare(find_folder(recordings), out, PLAIN, RULE, workers=1, force=True)
    prepare(find_folder(recordings), out, PLAIN, RULE, workers=1, force=True)
    assert {path.name for path in out.iterdir()} == {"audio.pcm", "pitch.f32", "corpus.json", "utterances.jsonl"}


def test_force_may_be_killed_at_any_moment(recordings, tmp_path, monkeypatch):
    out = tmp_path / "out"
    prepare(find_folder(recordings), out, PLAIN, RULE, workers=1)
    before = content(out)
    with monkeypatch.context() as patch:

        def killed(path, **_):
            if path.name == "audio.pcm":
                raise InterruptedRunError

        patch.setattr(Path, "unlink", killed)
        with pytest.raises(InterruptedRunError):
            prepare(find_folder(recordings), out, PLAIN, RULE, workers=1, force=True)
    prepare(find_folder(recordings), out, PLAIN, RULE, workers=1, force=True)
    assert content(out) == before


@pytest.mark.parametrize("name", ["x" * 300, "file/below", "file"])
def test_a_place_that_cannot_be_is_told_in_a_line(recordings, tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=name[:20]):
        prepare(find_folder(recordings), tmp_path / name, PLAIN, RULE, workers=1)


def test_near_silence_is_not_made_speech(tmp_path, capsys):
    (tmp_path / "src" / "ann").mkdir(parents=True)
    for name, amplitude in (("quiet", 0.002), ("speech", 0.1)):
        soundfile.write(tmp_path / "src" / "ann" / f"{name}.wav", noise(1, 0, amplitude), RATE, subtype="FLOAT")
    prepare(find_folder(tmp_path / "src"), tmp_path / "out", Processing(RATE), RULE, workers=1)
    corpus = PreparedCorpus.open(tmp_path / "out")
    quiet, speech = corpus.utterances
    assert (quiet.gain_db, speech.gain_db) == (MAX_GAIN_DB, pytest.approx(2, abs=1.5))
    # taking the offset away moves a peak by what lies below some hertz: a hundredth of noise
    assert np.abs(corpus.waveform(quiet)).max() < 1.01 * 0.002 * 10 ** (MAX_GAIN_DB / 20)
    said = capsys.readouterr().err
    assert "ann/quiet.wav is very quiet: made louder by 30 dB and no more" in said
    assert "speech.wav is very quiet" not in said


def test_names_that_are_not_utf8_do_no_harm(tmp_path):
    folder = tmp_path / os.fsdecode(b"r\xe9cordings") / os.fsdecode(b"J\xfcrgen")
    folder.mkdir(parents=True)
    with (folder / "a.wav").open("wb") as file:  # the library itself wants UTF-8
        soundfile.write(file, noise(1, 0), RATE, format="WAV")
    (folder / os.fsdecode(b"\xff.wav")).touch()
    header = prepare(find_folder(folder.parent), tmp_path / "out", PLAIN, RULE, workers=1)
    corpus = PreparedCorpus.open(tmp_path / "out")
    assert corpus.header == header
    assert [u.id for u in corpus.utterances] == ["J%FCrgen_a"]
    assert len(header.skipped) == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"id": "../ann_01"}, "line 2: id '../ann_01'"),
        ({"speaker": ".."}, "line 2: speaker '..'"),
        ({"id": "a\0b"}, "line 2: id"),
        ({"start": -1}, "line 2, is damaged"),
        ({"first_frame": -1}, "line 2, is damaged"),
        ({"num_samples": None}, "line 2, is damaged"),
        ({"speaker": "eve"}, "lacks the speakers"),
    ],
)
def test_a_prepared_folder_from_elsewhere_is_checked_line_by_line(recordings, tmp_path, change, complaint):
    prepare(find_folder(recordings), tmp_path / "out", PLAIN, RULE, workers=1)
    file = tmp_path / "out" / "utterances.jsonl"
    lines = file.read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | change)
    file.write_text("\n".join(lines))
    with pytest.raises(UserError, match=re.escape(complaint)):
        PreparedCorpus.open(tmp_path / "out")


@pytest.mark.parametrize("key", ["speakers", "splits", "sample_rate"])
def test_a_header_that_lacks_a_key_is_told_in_a_line(recordings, tmp_path, key):
    prepare(find_folder(recordings), tmp_path / "out", PLAIN, RULE, workers=1)
    file = tmp_path / "out" / "corpus.json"
    file.write_text(json.dumps({name: value for name, value in json.loads(file.read_text()).items() if name != key}))
    with pytest.raises(UserError, match="does not describe a corpus"):
        PreparedCorpus.open(tmp_path / "out")


def die(job):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_told_in_a_line():
    with pytest.raises(UserError, match="fewer --workers"):
        list(in_order(die, range(2), 2))


def test_a_corpus_among_its_recordings_is_no_data(recordings, tmp_path, monkeypatch):
    prepare(find_folder(recordings), tmp_path / "whole", PLAIN, RULE, workers=1)
    out = recordings / "prepared"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(InterruptedRunError):
            prepare(find_folder(recordings), out, PLAIN, RULE, workers=1)
    prepare(find_folder(recordings), out, PLAIN, RULE, workers=1)
    assert content(out) == content(tmp_path / "whole")
