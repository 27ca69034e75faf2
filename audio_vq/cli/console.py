"""Standard output and error of any terminal, pipe and encoding: nothing that is printed can fail a command."""

import codecs
import os
import sys
from pathlib import Path

PIPE = Path("-")  # where a file is expected: stdin or stdout


def accept_any_text() -> None:
    """Lets every text be printed: what the console's encoding lacks as ?, bytes of file names as they are."""
    codecs.register_error("audio-vq", _as_bytes)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="audio-vq")


def _as_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):  # whoever reads again what was printed
        return codecs.lookup_error("replace")(error)
    text = error.object[error.start : error.end]
    # Python reads a file name's byte 0x80 … 0xff that is not UTF-8 as the surrogate U+DC80 … U+DCFF (PEP 383)
    parts = (bytes([ord(c) - 0xDC00]) if "\udc80" <= c <= "\udcff" else c.encode("ascii", "replace") for c in text)
    return b"".join(parts), error.end


def show(result: object) -> None:
    """Prints a line of results at once. Where nobody reads any more (`| head -1`), work goes on without."""
    try:
        print(result, flush=True)
    except BrokenPipeError:
        leave_closed_pipe()


def write_data(data: bytes | memoryview) -> None:
    """What --out - asks for, in place of a file: nothing else is printed then."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def leave_closed_pipe() -> None:
    """Sends what is still to be printed nowhere: flushing it at exit would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
