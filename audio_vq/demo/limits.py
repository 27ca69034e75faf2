"""What a visitor of the web page may ask for, so that everybody gets a turn."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    upload_bytes: int = 32 << 20  # of one file
    upload_seconds: float = 60.0  # that sending it may take
    request_bytes: int = 2 << 20  # of everything else that is sent; a minute of units is 100 kB
    speech_seconds: float = 60.0  # of what is spoken anew
    voice_seconds: float = 180.0  # of recordings that a new voice is learned from
    fit_seconds: float = 180.0  # of computing, for a new voice
    voices: int = 4  # new ones of one visitor
    continued_seconds: float = 10.0  # that the prior goes on
    takes: int = 4  # of that
    computing_seconds: float = 180.0  # of anything
    waiting: int = 40  # requests in the queue
    stored_bytes: int = 2 << 30  # of all uploads and results together
    visitors: int = 200  # whose voices are remembered; the longest unseen are forgotten
    forgotten_after_seconds: float = 3600.0  # voices, uploads and results
