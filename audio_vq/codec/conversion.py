"""Many recordings → other voices: all decoded side by side, long ones in pieces.

A recording of more than `LONG_SECONDS` is cut in pauses that are longer than the decoder's memory (its receptive
field): what is said before such a pause does not matter after it. Its pieces are then as independent as recordings are.
Where a recording is cut depends on itself alone, so that the result does not depend on what is converted beside it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from audio_vq.audio import Waveform
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.source import Source, encode_sources, levelled
from audio_vq.loudness import ACTIVE_RANGE_DB, FRAME_LENGTH, LoudnessMeter
from audio_vq.pretrained import VQVAE, Units

LONG_SECONDS = 20.0
PIECE_SECONDS = 10.0  # pieces are at least so long
BATCH_SECONDS = 1800.0  # of audio to be made at a time: keeps many threads busy and the memory small


@dataclass(frozen=True)
class Wish:
    """A recording and the voices it is wanted in."""

    source: Source
    speakers: tuple[str, ...]


class Conversion(NamedTuple):
    """`waveform` has as many samples as the recording, at the model's sample rate."""

    wish: int  # its number
    speaker: str
    waveform: Waveform


@dataclass
class _Piece:
    """Units of a part of one conversion."""

    wish: int
    speaker: str
    number: int  # of the part in its recording
    parts: int
    units: Units
    num_samples: int  # of the whole recording


def convert_all(model: VQVAE, wishes: Sequence[Wish], options: SamplingOptions) -> Iterator[Conversion]:
    """Yields conversions as they end; each is what it would be alone."""
    batch: list[_Piece] = []
    for pieces in _pieces(model, wishes):
        batch += pieces
        if sum(len(piece.units) for piece in batch) / model.unit_rate_hz >= BATCH_SECONDS:
            yield from _speak(model, batch, options)
            batch = []
    yield from _speak(model, batch, options)


def _pieces(model: VQVAE, wishes: Sequence[Wish]) -> Iterator[list[_Piece]]:
    sequences = encode_sources(model, (wish.source for wish in wishes))
    for index, (wish, sequence) in enumerate(zip(wishes, sequences, strict=True)):
        cuts: list[int] = []
        if sequence.num_samples > LONG_SECONDS * model.sample_rate:
            blocks = levelled(wish.source, model.loudness_db)
            least = PIECE_SECONDS * model.unit_rate_hz
            cuts = cuts_in_pauses(blocks, model.hop_length, model.network.wavenet.receptive_field, least)
        parts = np.split(sequence.units, cuts)
        yield [
            _Piece(index, speaker, number, len(parts), part, sequence.num_samples)
            for speaker in wish.speakers
            for number, part in enumerate(parts)
        ]


def cuts_in_pauses(blocks: Iterable[Waveform], hop_length: int, pause_samples: int, least_units: float) -> list[int]:
    """Units at which to cut a recording: amid its pauses of at least `pause_samples`, `least_units` or more apart.

    A pause lies more than 30 dB below the loudest frame.
    """
    meter = LoudnessMeter()
    for block in blocks:
        meter.add(block)
    power = meter.frame_power()
    quiet = power < power.max(initial=0) * 10 ** (-ACTIVE_RANGE_DB / 10)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(np.int8)))
    last, cuts = meter.num_samples // hop_length, [0]
    for begin, end in edges.reshape(-1, 2) * FRAME_LENGTH:  # samples
        middle = int(begin + end) // 2 // hop_length
        if end - begin >= pause_samples and min(middle - cuts[-1], last - middle) >= least_units:
            cuts.append(middle)
    return cuts[1:]


def _speak(model: VQVAE, pieces: list[_Piece], options: SamplingOptions) -> Iterator[Conversion]:
    """Decodes pieces side by side; a conversion is ready when its last piece is."""
    spoken: dict[tuple[int, str], dict[int, Waveform]] = {}
    units, speakers = [piece.units for piece in pieces], [piece.speaker for piece in pieces]
    streams = [piece.number for piece in pieces]  # the parts of a recording have random numbers of their own
    for index, waveform in model.decode_each(units, speakers, options, streams):
        piece = pieces[index]
        parts = spoken.setdefault((piece.wish, piece.speaker), {})
        parts[piece.number] = waveform
        if len(parts) == piece.parts:
            whole = np.concatenate([parts[number] for number in range(piece.parts)])
            parts.clear()
            yield Conversion(piece.wish, piece.speaker, whole[: piece.num_samples])
