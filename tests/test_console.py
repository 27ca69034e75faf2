"""Printing cannot fail a command: any encoding of the console, any bytes in file names, readers that leave early."""

import codecs
import os
import subprocess
import sys

import pytest

from audio_vq.cli import console

SHOW = "from audio_vq.cli.console import accept_any_text, show; accept_any_text(); "


def printed(code, encoding="utf-8"):
    done = subprocess.run(
        [sys.executable, "-c", SHOW + code],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    return done.stdout


@pytest.mark.parametrize(
    ("encoding", "expected"), [("latin-1", b"?\xf3d?"), ("ascii", b"??d?"), ("utf-8", "Łódź".encode())]
)
def test_letters_that_the_console_lacks(encoding, expected):
    assert printed("show('Łódź')", encoding).strip() == expected


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_bytes_of_file_names_are_printed_as_they_are(encoding):
    assert printed(r"import os; show(os.fsdecode(b'caf\xe9.wav'))", encoding).strip() == b"caf\xe9.wav"


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_help_in_any_encoding(encoding):
    call = "import sys; sys.argv = ['audio-vq', '--help']; from audio_vq.cli.main import main; main()"
    assert b"convert" in printed(call, encoding)


def test_work_goes_on_when_nobody_reads():
    code = "import sys; [show(i) for i in range(3)]; print('all made', file=sys.stderr)"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", SHOW + code], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr.strip()) == (0, b"all made")


def test_what_was_printed_can_be_read_again():
    """Bytes of a file name that are no text: whoever captures the output sees a sign in their place."""
    codecs.register_error("as-printed", console._as_bytes)
    assert "J\udcfc李".encode("ascii", "as-printed") == b"J\xfc?"
    assert b"J\xfc".decode("utf-8", "as-printed") == "J\ufffd"
