"""Many recordings → other voices: all decoded side by side, long ones in pieces.

A recording of more than `LONG_SECONDS` is cut in pauses, which are longer than the decoder's memory (its receptive
field): what is said before such a pause does not matter after it. Its pieces are then as independent as recordings are.
Where a recording is cut depends on itself alone, so that the result does not depend on what is converted beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from audio_vq.audio.waveform import Waveform
from audio_vq.codec.codec import Codec
from audio_vq.codec.decode import decode_each
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.encode import Encoding, OnFault, encode_sources
from audio_vq.codec.melody import AS_IT_IS, Melody, contour
from audio_vq.codec.source import Source
from audio_vq.loudness import ACTIVE_RANGE_DB, FRAME_LENGTH, LoudnessMeter
from audio_vq.progress import Told
from audio_vq.units import Units

LONG_SECONDS = 20.0
PAUSE_SECONDS = 0.2  # not the closure of a stop
PIECE_SECONDS = 10.0  # pieces are at least so long
BATCH_SECONDS = 1800.0  # of audio to be made at a time: keeps many threads busy and the memory small


@dataclass(frozen=True)
class Conversion:
    """A recording and the speakers (indices) whose voices it is wanted in."""

    source: Source
    speakers: tuple[int, ...]


@dataclass(frozen=True)
class Converted:
    """`waveform` has as many samples as the recording, at the model's sample rate."""

    conversion: int  # its number
    speaker: int
    waveform: Waveform
    remark: str | None  # what the user should know of the recording
    f0: npt.NDArray[np.float32] | None = None  # Hz per unit, 0 where unvoiced: what was asked for, of models with pitch


@dataclass(frozen=True)
class _Piece:
    """Units of a part of one conversion."""

    conversion: int
    speaker: int
    number: int  # of the part in its recording
    parts: int
    units: Units
    whole: Units  # of the conversion
    encoding: Encoding


def convert_all(
    codec: Codec,
    conversions: Sequence[Conversion],
    options: SamplingOptions,
    melody: Melody = AS_IT_IS,
    *,
    threads: int | None = None,
    on_fault: OnFault | None = None,
    on_heard: Told | None = None,
    on_spoken: Told | None = None,
) -> Iterator[Converted]:
    """Yields results as they end; each is what it would be alone.

    `threads` are those of a CPU, as many as torch has by default; `on_fault` and `on_heard` as for `encode_sources`;
    `on_spoken` is told of the seconds that were made.

    Raises:
        UserError: another melody than the recordings' is wanted of a model without pitch.
    """
    melody.check(codec)
    threads = threads or torch.get_num_threads()
    batch: list[_Piece] = []
    for pieces in _pieces(codec, conversions, melody, threads, on_fault, on_heard):
        batch += pieces
        if sum(piece.units.shape[-1] for piece in batch) / codec.unit_rate_hz >= BATCH_SECONDS:
            yield from _speak(codec, batch, options, threads, on_spoken)
            batch = []
    yield from _speak(codec, batch, options, threads, on_spoken)


def _pieces(
    codec: Codec,
    conversions: Sequence[Conversion],
    melody: Melody,
    threads: int,
    on_fault: OnFault | None,
    on_heard: Told | None,
) -> Iterator[list[_Piece]]:
    # by the object, not its id: ids may be equal, and of recordings that cannot be read nothing comes
    numbers = {id(conversion.source): number for number, conversion in enumerate(conversions)}
    sources = [conversion.source for conversion in conversions]
    for encoding in encode_sources(codec, sources, threads=threads, on_fault=on_fault, on_heard=on_heard):
        sequence, cuts = encoding.sequence, list[int]()
        if sequence.num_samples > LONG_SECONDS * codec.sample_rate:
            least = PIECE_SECONDS * codec.unit_rate_hz
            pause = max(codec.network.wavenet.receptive_field, round(PAUSE_SECONDS * codec.sample_rate))
            cuts = cuts_in_pauses(encoding.meter, codec.hop_length, pause, least)
        conversion, pieces = numbers[id(encoding.source)], list[_Piece]()
        for speaker in conversions[conversion].speakers:
            units = melody.of(codec, sequence.units, speaker)
            parts = np.split(units, cuts, axis=-1)
            pieces += [
                _Piece(conversion, speaker, i, len(parts), part, units, encoding) for i, part in enumerate(parts)
            ]
        yield pieces


def cuts_in_pauses(meter: LoudnessMeter, hop_length: int, pause_samples: int, least_units: float) -> list[int]:
    """Units at which to cut a recording: amid its pauses of at least `pause_samples`, `least_units` or more apart.

    A pause lies more than 30 dB below the loudest frame.
    """
    power = meter.frame_power()
    quiet = power < power.max(initial=0) * 10 ** (-ACTIVE_RANGE_DB / 10)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(np.int8)))
    last, cuts = meter.num_samples // hop_length, [0]
    for begin, end in edges.reshape(-1, 2) * FRAME_LENGTH:  # samples
        middle = int(begin + end) // 2 // hop_length
        if end - begin >= pause_samples and min(middle - cuts[-1], last - middle) >= least_units:
            cuts.append(middle)
    return cuts[1:]


def _speak(
    codec: Codec, pieces: list[_Piece], options: SamplingOptions, threads: int, on_spoken: Told | None
) -> Iterator[Converted]:
    """Decodes pieces side by side; a conversion is ready when its last piece is."""
    spoken: dict[tuple[int, int], dict[int, Waveform]] = {}
    units, speakers = [piece.units for piece in pieces], [piece.speaker for piece in pieces]
    streams = [piece.number for piece in pieces]  # the parts of a recording have random numbers of their own
    for index, waveform in decode_each(codec, units, speakers, options, streams, threads, on_spoken):
        piece = pieces[index]
        parts = spoken.setdefault((piece.conversion, piece.speaker), {})
        parts[piece.number] = waveform
        if len(parts) == piece.parts:
            whole = np.concatenate([parts[number] for number in range(piece.parts)])
            parts.clear()
            whole = whole[: piece.encoding.sequence.num_samples]
            asked = contour(codec, piece.whole, piece.speaker) if codec.network.pitch_classes else None
            yield Converted(piece.conversion, piece.speaker, whole, piece.encoding.remark, asked)
