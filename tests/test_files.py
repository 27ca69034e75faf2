import os
import select
import signal
import stat
import subprocess
import sys

import pytest

from audio_vq.errors import UserError
from audio_vq.files import (
    atomic_folder,
    atomic_path,
    atomic_write_bytes,
    atomic_write_text,
    locked,
    safe_name,
    taking_turns,
)


def test_a_failed_write_leaves_the_old_behind(tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "file.txt"
    with atomic_folder(folder) as temporary:
        (temporary / "a").write_text("old")
    file.write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(folder) as temporary:
        (temporary / "a").write_text("new")
        raise RuntimeError
    with pytest.raises(RuntimeError), atomic_path(file) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert (folder / "a").read_text() == file.read_text() == "old"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "file.txt", "folder"]


def test_a_folder_that_exists_keeps_what_is_not_replaced(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "theirs").write_text("theirs")
    with atomic_folder(tmp_path) as temporary:
        (temporary / "a").write_text("new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "theirs": "theirs"}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_is_honoured(tmp_path, umask):
    before = os.umask(umask)
    try:
        atomic_write_text(tmp_path / "file", "text")
        with atomic_folder(tmp_path / "folder") as temporary:
            (temporary / "inside").write_text("text")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"file": 0o666 & ~umask, "folder": 0o777 & ~umask, "inside": 0o666 & ~umask}


@pytest.mark.parametrize(
    "name", ["n" * 255, "n" * 200 + "." + "x" * 54, "ü" * 125 + ".json", os.fsdecode(b"J\xfcrgen")]
)
def test_names_may_be_as_long_and_odd_as_the_file_system_allows(tmp_path, name):
    with atomic_path(tmp_path / name) as temporary:
        assert temporary.suffix in {(tmp_path / name).suffix, ""}
        temporary.write_text("text")
    atomic_write_bytes(tmp_path / name, b"again")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_one_folder_one_work(tmp_path):
    folder = tmp_path / "run"
    with locked(folder, "the run"):
        (folder / "result").touch()
        with pytest.raises(UserError, match=r"another process is at work on the run .*run;"), locked(folder, "the run"):
            pass
    with locked(folder, "the run"):
        pass
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_work_that_leaves_nothing_leaves_no_folder(tmp_path):
    with locked(tmp_path / "run", "the run"):
        pass
    assert not (tmp_path / "run").exists()


def test_a_dead_process_holds_nothing(tmp_path):
    program = (
        "import sys, pathlib; from audio_vq.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), 'the run'): print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(UserError, match="at work"), locked(tmp_path, "the run"):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()
        with locked(tmp_path, "the run"):
            pass


def test_a_folder_that_cannot_be_is_told(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="is not a folder"), locked(path, "the run"):
            pass


@pytest.mark.parametrize("name", ["", " ", ".", "..", "../up", "/etc", "a\\b", "a\0b", "a\nb", "\udcfc", "a/b"])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(UserError, match=r"units\.jsonl, line 3: id .* cannot name a file") as caught:
        safe_name(name, "units.jsonl, line 3: id")
    assert str(caught.value).isascii()


@pytest.mark.parametrize("name", ["p226", "Jürgen", "李 明", "rec.001", "-x", "..."])
def test_names_of_all_languages_are_taken(name):
    assert safe_name(name, "id") == name


TURN = """
import sys
from audio_vq.files import taking_turns
with taking_turns(sys.argv[1]):
    print("begun", flush=True)
    sys.stdin.read()
    print("ended", flush=True)
"""


def test_processes_take_turns(tmp_path):
    """The second begins when the first has ended, or died."""
    pipes = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "text": True,
        "env": {**os.environ, "TMPDIR": str(tmp_path)},
    }
    with (
        subprocess.Popen([sys.executable, "-c", TURN, "test"], **pipes) as first,
        subprocess.Popen([sys.executable, "-c", TURN, "other"], **pipes) as other,
    ):
        assert first.stdout.readline() == other.stdout.readline() == "begun\n"  # locks of other names do not matter
        with subprocess.Popen([sys.executable, "-c", TURN, "test"], **pipes) as second:
            assert not select.select([second.stdout], [], [], 0.5)[0]
            first.kill()
            assert second.stdout.readline() == "begun\n"
            second.stdin.close()
        other.stdin.close()


def test_work_that_was_done_once_is_waited_for_by_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ZeroDivisionError), taking_turns("work", once="this"):
        1 / 0  # noqa: B018 - not done, then
    (lock,) = tmp_path.iterdir()
    assert lock.read_text() == ""
    with taking_turns("work", once="this"):
        assert lock.read_text() == ""
    with taking_turns("work"), taking_turns("work", once="this"):  # would wait for ever
        assert lock.read_text() == "this"
    with taking_turns("work", once="that"):
        pass
    assert lock.read_text() == "that"
