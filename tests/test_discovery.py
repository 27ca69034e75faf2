"""Which files are recordings: by content, each once, and nothing that may be audio is left out without a word."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_vq.discovery import find_recordings, recordings_in
from audio_vq.errors import UserError

M4A = b"\0\0\0\x20ftypM4A " + bytes(300)


def put(path, audio_format="WAV"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        soundfile.write(file, np.full(4000, 0.1, np.float32), 16000, format=audio_format)
    return path


def touch(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def names(found):
    return [str(file.relative) for file in found.files]


def left_out(found, root):
    return {str(each.path.relative_to(root)): each.reason for each in found.left_out}


def test_content_decides_and_not_the_name(tmp_path):
    put(tmp_path / "a.wav")
    put(tmp_path / "no_suffix", "MP3")
    put(tmp_path / "really.m4a", "FLAC")
    put(tmp_path / "take.1", "AIFF")
    touch(tmp_path / "broken.wav", b"<html>")  # says that it is audio: whoever reads it names it
    touch(tmp_path / "notes.txt", b"ID3 is no tag here")
    touch(tmp_path / "picture", b"\x89PNG")
    found = recordings_in(tmp_path)
    assert names(found) == ["a.wav", "broken.wav", "no_suffix", "really.m4a", "take.1"]
    assert found.left_out == ()


def test_hidden_files_and_what_programs_leave_behind_are_no_data(tmp_path):
    for name in (".hidden.wav", ".ipynb_checkpoints/a-checkpoint.wav", "__MACOSX/a/._b.wav", "a/._b.wav", "a/b.wav"):
        put(tmp_path / name)
    assert names(recordings_in(tmp_path)) == ["a/b.wav"]
    assert names(find_recordings([tmp_path / ".hidden.wav"])) == [".hidden.wav"]  # named, hence wanted


def test_audio_that_cannot_be_read_is_named(tmp_path):
    put(tmp_path / "a.wav")
    touch(tmp_path / "ann" / "1.M4A", M4A)
    touch(tmp_path / "ann" / "voicemail", b"#!AMR\n" + bytes(100))
    touch(tmp_path / "ann" / "old.wma", bytes(100))
    reasons = left_out(recordings_in(tmp_path), tmp_path)
    assert reasons.keys() == {"ann/1.M4A", "ann/voicemail", "ann/old.wma"}
    assert reasons["ann/1.M4A"] == "audio of a kind that cannot be read; convert it to WAV or FLAC"
    with pytest.raises(UserError, match=r"no audio file .*3 left out, first .*1\.M4A: audio of a kind"):
        find_recordings([tmp_path / "ann"])


def test_folders_and_files_without_permission_are_named(tmp_path, monkeypatch):
    put(tmp_path / "ann" / "1.wav")
    put(tmp_path / "ben" / "1.wav")
    put(tmp_path / "ann" / "2")

    real_scandir, real_open = os.scandir, Path.open

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    # permissions themselves do not hold back the superuser, who runs tests in containers
    monkeypatch.setattr(os, "scandir", lambda path: refused(path) if Path(path).name == "ben" else real_scandir(path))
    monkeypatch.setattr(Path, "open", lambda self, *a: refused(self) if self.name == "2" else real_open(self, *a))
    found = recordings_in(tmp_path)
    assert names(found) == ["ann/1.wav"]
    assert left_out(found, tmp_path) == {
        "ann/2": "cannot be read: Permission denied",
        "ben": "folder cannot be read: Permission denied",
    }


def test_links_are_followed_once_and_loops_survive(tmp_path):
    source = tmp_path / "source"
    put(source / "b" / "1.wav")
    put(tmp_path / "elsewhere" / "cid" / "1.wav")
    (source / "a").mkdir()
    (source / "a" / "up").symlink_to(tmp_path)
    (source / "a" / "again").symlink_to(source / "b")  # b's recordings are b's
    (source / "a" / "also").symlink_to(source / "b" / "1.wav")
    (source / "cid").symlink_to(tmp_path / "elsewhere" / "cid")
    (source / "self").symlink_to(source / "self")
    (source / "gone").symlink_to(tmp_path / "nowhere")
    found = recordings_in(source)
    assert names(found) == ["b/1.wav", "cid/1.wav"]
    assert left_out(found, source).keys() == {"gone", "self"}


def test_a_file_is_one_input_however_often_it_is_named(tmp_path):
    put(tmp_path / "a" / "1.wav")
    put(tmp_path / "b" / "1.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "a" / "1.wav")
    found = find_recordings([tmp_path / "a" / "1.wav", tmp_path, tmp_path / "b" / ".." / "a" / "1.wav"])
    assert names(found) == ["a/1.wav", "b/1.wav"]


def test_results_mirror_the_folders_of_the_inputs(tmp_path):
    for name in ("a/1.wav", "a/deep/1.wav", "b/1.wav"):
        put(tmp_path / name)
    a, b = tmp_path / "a", tmp_path / "b"
    assert names(find_recordings([a / "1.wav"])) == ["1.wav"]
    assert names(find_recordings([a])) == ["1.wav", "deep/1.wav"]
    assert names(find_recordings([a / "1.wav", b / "1.wav"])) == ["a/1.wav", "b/1.wav"]
    assert names(find_recordings([a, b])) == ["a/1.wav", "a/deep/1.wav", "b/1.wav"]
    assert names(find_recordings([a / "1.wav", a / "deep"])) == ["1.wav", "deep/1.wav"]


def test_names_that_are_not_utf8_are_names(tmp_path):
    put(tmp_path / os.fsdecode(b"J\xfcrgen.wav"))
    put(tmp_path / ("x" * 251 + ".wav"))
    assert len(recordings_in(tmp_path).files) == 2


def test_a_named_file_is_taken_whatever_it_is(tmp_path):
    touch(tmp_path / "notes.txt")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere")
    assert names(find_recordings([tmp_path / "notes.txt", tmp_path / "gone.wav"])) == ["gone.wav", "notes.txt"]


def test_nothing_found_is_a_mistake(tmp_path):
    with pytest.raises(UserError, match="no audio file"):
        find_recordings([tmp_path])
    with pytest.raises(UserError, match="no such file"):
        find_recordings([tmp_path / "absent"])
    assert recordings_in(tmp_path / "absent").files == ()
