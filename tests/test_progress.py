"""Progress goes to stderr: lines now and then where there is no terminal, a bar on one, and results stay on stdout."""

import os
import pty
import re
import subprocess
import sys

import pytest

from audio_vq import progress

WORK = """
from audio_vq.cli.console import show
from audio_vq.progress import AUDIO, progress_display
with progress_display() as display:
    bar = display.add("converting", 60.0, unit=AUDIO)
    for second in range(60):
        bar.advance()
        if second == 30:
            show("made.wav")
            bar.say("quiet [b]as[/b] it was")
"""


@pytest.fixture
def lines(monkeypatch, capsys):
    """What is written in a log of work whose every second takes as long as told."""

    def of(seconds, total=100, completed=0.0, amount=1.0):
        now = [0.0]
        monkeypatch.setattr("audio_vq.progress.time.perf_counter", lambda: now[0])
        with progress.progress_bar("encoding", total=total, completed=completed, unit=progress.AUDIO) as bar:
            for _ in range(round((total - completed) / amount)):
                now[0] += seconds
                bar.advance(amount)
        out, err = capsys.readouterr()
        assert not out
        assert "\x1b" not in err
        return err.splitlines()

    return of


def test_a_log_has_a_line_now_and_then(lines):
    written = lines(1.0, total=50)
    assert written == [
        "encoding  20/50 s  1.0 × real time  0:30 left",
        "encoding  40/50 s  1.0 × real time  0:10 left",
        "encoding  50/50 s  in 0:50",
    ]


def test_what_is_done_quickly_is_not_in_a_log(lines):
    assert lines(0.01) == []


def test_what_an_interrupted_call_did_is_no_speed(lines):
    assert lines(1.0, total=100, completed=70.0)[0] == "encoding  90/100 s  1.0 × real time  0:10 left"


def test_things_have_a_rate_of_things(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("audio_vq.progress.time.perf_counter", lambda: now[0])
    with progress.progress_bar("judging", total=10) as bar:
        now[0] = 30.0  # others were at work
        bar.advance()
        assert bar.line() == "judging  1/10"
        now[0] = 34.0
        bar.advance()
        assert bar.line() == "judging  2/10  0.25/s  0:32 left"


def on_a_terminal(columns="80", **environment):
    """What comes on a terminal's stderr, and through a pipe on stdout."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": columns, "TERM": "xterm", **environment}
    with subprocess.Popen(
        [sys.executable, "-c", WORK], stdout=subprocess.PIPE, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not part:
                break
            parts.append(part)
        out = process.stdout.read().decode()
    os.close(ours)
    assert process.returncode == 0
    return out, b"".join(parts).decode()


def test_results_go_through_the_pipe_while_a_bar_moves_on_the_terminal():
    out, err = on_a_terminal()
    assert out.split() == ["made.wav"]
    assert "made.wav" not in err
    assert "quiet [b]as[/b] it was" in err
    assert "60/60 s" in err
    assert "× real time" in err
    assert re.search(r"\x1b\[[0-9;]*m", err)


def test_no_colour_and_narrow():
    _, err = on_a_terminal(columns="20", NO_COLOR="1")
    assert not re.search(r"\x1b\[(3|4|9)[0-9;]*m", err)
    assert "converting" in err


def test_a_dumb_terminal_gets_no_control_codes():
    _, err = on_a_terminal(TERM="dumb")
    assert "\x1b" not in err
