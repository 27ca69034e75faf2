"""WAV while it is still being written or read, which libraries for whole files cannot do."""

import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt

from audio_vq.audio.waveform import Waveform, to_pcm16
from audio_vq.errors import UserError

UNKNOWN_SIZE = 0xFFFFFFFF  # bytes; what a stream says whose end is not known yet
HEADER_BYTES = 44
OTHER_KINDS = {  # by how they begin
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"ID3": "MP3",
    b"FORM": "AIFF",
    b"RIFX": "big-endian WAV (RIFX)",
    b"RF64": "RF64",
    b"BW64": "BW64",
    b"riff\x2e\x91\xcf\x11": "Wave64",
    b"caff": "CAF",
    b".snd": "AU",
    b"\x1a\x45\xdf\xa3": "Matroska or WebM",
    b"NIST_1A": "NIST SPHERE",
    b"#!AMR": "AMR",
}
# behind the samples of finished files
CHUNKS_BEHIND = frozenset(
    {
        b"LIST",
        b"id3 ",
        b"ID3 ",
        b"fact",
        b"cue ",
        b"smpl",
        b"inst",
        b"bext",
        b"iXML",
        b"_PMX",
        b"PEAK",
        b"JUNK",
        b"junk",
    }
    | {b"afsp", b"acid", b"plst", b"note", b"labl", b"axml", b"cart", b"FLLR", b"PAD ", b"RIFF"}
)
INTEGERS, FLOATS, EXTENSIBLE = 1, 3, 0xFFFE  # format tags


@dataclass(frozen=True)
class PcmFormat:
    sample_rate: int  # Hz
    channels: int = 1
    bits: int = 16  # per sample
    floats: bool = False

    def __str__(self) -> str:
        channels = "mono" if self.channels == 1 else f"{self.channels} channels"
        return f"input of {self.bits}-bit {channels} at {self.sample_rate} Hz"

    @property
    def bytes_per_frame(self) -> int:
        return self.channels * self.bits // 8


class PcmReader:
    """Bytes in pieces of any size → waveforms `(time,)`, channels averaged.

    What begins like a WAV file is one, and its header says what follows. Anything else is raw 16-bit mono,
    little-endian, at `raw_rate`; but what begins like another kind of audio file is refused.

    Args:
        raw_rate: Hz, of input without header.
        grows: the input is a file that may still be written to, whose header may tell an earlier length. Bytes behind
            that length are then samples, unless they begin like a chunk that WAV files have behind their samples.
    """

    def __init__(self, raw_rate: int, *, grows: bool = False) -> None:
        self._raw = PcmFormat(raw_rate)
        self._grows = grows
        self._pending = b""
        self._left: int | None = None  # bytes of samples until the length that the header told; None: it told none
        self._padding = 0  # bytes behind them: chunks begin at even places
        self.format: PcmFormat | None = None  # known when enough of the beginning is there

    def feed(self, data: bytes) -> Waveform:
        """The samples that are complete.

        Raises:
            UserError: another kind of audio file, WAV of a kind that is not read live, or NaN.
        """
        self._pending += data
        if self.format is None:
            self._read_header()
        if self.format is None:
            return np.zeros(0, np.float32)
        size = self.format.bytes_per_frame
        waveform = _samples(self._take_whole(size), self.format).reshape(-1, self.format.channels)
        if not np.isfinite(waveform).all():
            raise UserError("the input holds NaN or infinite samples")
        return waveform.mean(axis=1, dtype=np.float32)

    def _take_whole(self, frame_bytes: int) -> bytes:
        """The pending bytes of whole frames; what lies behind the samples is dropped."""
        if self._left is not None and len(self._pending) > self._left:
            behind = self._pending[self._left + self._padding :]
            if behind[:4] in CHUNKS_BEHIND:
                self._grows = False
            if not self._grows:
                self._pending = self._pending[: self._left]
            elif len(behind) >= 4:  # the file has grown
                self._left = None
        ready = len(self._pending) if self._left is None else min(len(self._pending), self._left)
        ready -= ready % frame_bytes
        samples, self._pending = self._pending[:ready], self._pending[ready:]
        if self._left is not None:
            self._left -= ready
        return samples

    def _read_header(self) -> None:
        head = self._pending
        if any(magic.startswith(head) for magic in (b"RIFF", *OTHER_KINDS)) or (head[:1] == b"\xff" and len(head) < 4):
            return  # too few bytes to tell
        _refuse_other_kinds(head)
        if head[:4] != b"RIFF":
            self.format = self._raw
            return
        at, wav = 12, None
        while len(head) >= at + 8:
            name, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
            if name == b"data" and wav:
                self.format, self._pending = wav, head[at + 8 :]
                self._left, self._padding = (size if 0 < size < UNKNOWN_SIZE else None), size % 2
                return
            if name == b"fmt " and len(head) >= at + 8 + size:
                wav = _format(head[at + 8 : at + 8 + size])
            at += 8 + size + size % 2


def _refuse_other_kinds(head: bytes) -> None:
    kind = next((kind for magic, kind in OTHER_KINDS.items() if head.startswith(magic)), None)
    if head[:4] == b"RIFF" and not b"WAVE".startswith(head[8:12]):
        kind = "RIFF but not WAV"
    if head[4:8] == b"ftyp":
        kind = "MP4"
    if _begins_mp3(head):
        kind = "MP3"
    if kind:
        raise UserError(f"the input is {kind}, which is not read live; give WAV or raw samples, or leave out --live")


def _begins_mp3(head: bytes) -> bool:
    """A frame of MPEG audio, layer III, with a bit rate and a sample rate that exist; raw samples hardly ever do."""
    return (
        len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 and 0 < head[2] >> 4 < 15 and head[2] & 12 != 12
    )


def _format(content: bytes) -> PcmFormat:
    if len(content) < 16:
        raise UserError("the input begins like WAV but its format is cut off")
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
    if tag == EXTENSIBLE and len(content) >= 26:
        (tag,) = struct.unpack("<H", content[24:26])
    if (tag, bits) not in {(INTEGERS, 8), (INTEGERS, 16), (INTEGERS, 24), (INTEGERS, 32), (FLOATS, 32), (FLOATS, 64)}:
        raise UserError(f"WAV of format {tag} with {bits} bits cannot be read live; expected uncompressed samples")
    if not channels or not rate:
        raise UserError(f"the input begins like WAV but has {channels} channels at {rate} Hz")
    return PcmFormat(rate, channels, bits, floats=tag == FLOATS)


def _samples(data: bytes, pcm: PcmFormat) -> npt.NDArray[np.float32]:
    """Interleaved channels, full scale is 1."""
    if pcm.floats:
        return np.frombuffer(data, f"<f{pcm.bits // 8}").astype(np.float32)
    if pcm.bits == 8:  # the only width without sign
        return np.multiply(np.frombuffer(data, np.uint8).astype(np.int16) - 128, 2.0**-7, dtype=np.float32)
    if pcm.bits == 24:
        upper = np.zeros((len(data) // 3, 4), np.uint8)  # the upper three bytes of 32-bit samples
        upper[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return np.multiply(upper.view("<i4")[:, 0], 2.0**-31, dtype=np.float32)
    return np.multiply(np.frombuffer(data, f"<i{pcm.bits // 8}"), 2.0 ** (1 - pcm.bits), dtype=np.float32)


class WavWriter:
    """16-bit mono WAV that grows. A file is whole after every `write`; a pipe cannot go back and says "unknown length".

    Use it as a context; it closes the file it opened, not a pipe it was given.
    """

    def __init__(self, target: Path | BinaryIO, sample_rate: int) -> None:
        self._own = isinstance(target, Path)
        if isinstance(target, Path):
            target.parent.mkdir(parents=True, exist_ok=True)
            target = target.open("wb", buffering=0)
        self._file = target
        self.sample_rate = sample_rate
        self.num_samples = 0
        self._file.write(wav_header(sample_rate, 0 if self._own else UNKNOWN_SIZE))

    def write(self, waveform: Waveform) -> None:
        self._file.write(to_pcm16(waveform).astype("<i2").tobytes())
        self._file.flush()
        self.num_samples += len(waveform)
        if self._own:
            self._file.seek(0)
            self._file.write(wav_header(self.sample_rate, 2 * self.num_samples))
            self._file.seek(0, 2)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own:
            self._file.close()


def wav_header(sample_rate: int, data_bytes: int) -> bytes:
    """Of 16-bit mono."""
    riff = min(data_bytes + HEADER_BYTES - 8, UNKNOWN_SIZE)
    layout = struct.pack("<HHIIHH", INTEGERS, 1, sample_rate, 2 * sample_rate, 2, 16)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16)
        + layout
        + struct.pack("<4sI", b"data", data_bytes)
    )
