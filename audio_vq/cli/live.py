"""`audio-vq convert --live`: what is still being spoken, from a pipe or a growing file."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audio_vq.cli.console import PIPE
from audio_vq.cli.options import refuse_existing
from audio_vq.cli.results import result_files
from audio_vq.errors import UserError

if TYPE_CHECKING:
    from audio_vq.audio.waveform import Waveform
    from audio_vq.codec.drawing import SamplingOptions
    from audio_vq.codec.follow import Ending
    from audio_vq.codec.melody import Melody
    from audio_vq.pretrained import VQVAE


@dataclass(frozen=True)
class LiveInput:
    """What is listened to."""

    path: Path  # or `PIPE`: stdin
    sample_rate: int | None  # of raw input; None: the model's
    gain_db: float | None  # None: follows what was heard so far
    idle_seconds: float  # after which a file that has not grown has ended

    def pieces(self, ending: "Ending") -> Iterator[bytes]:
        from audio_vq.codec.follow import follow_file, follow_pipe

        if self.path == PIPE:
            return follow_pipe(sys.stdin.buffer, ending)
        return follow_file(self.path, self.idle_seconds, ending)


def check_live(live: LiveInput, targets: list[str], out: Path, force: bool) -> Path:
    """The file to write, or `PIPE`.

    Raises:
        UserError: there is nothing to follow, or more than one voice, or the result exists.
    """
    from audio_vq.audio.resampling import HIGHEST_RATE, LOWEST_RATE
    from audio_vq.cli.recordings import distinct_names

    if len(targets) != 1:
        raise UserError(f"--live speaks in one voice, got {len(targets)} times --to")
    if live.path != PIPE and not live.path.is_file():
        raise UserError(f"{live.path}: no such file; --live follows one file that grows, or stdin as -")
    if not 0 < live.idle_seconds < float("inf"):
        raise UserError(f"--idle {live.idle_seconds:g}: expected seconds above zero")
    if live.sample_rate is not None and not LOWEST_RATE <= live.sample_rate <= HIGHEST_RATE:
        raise UserError(f"--sample-rate {live.sample_rate}: expected {LOWEST_RATE} to {HIGHEST_RATE} Hz")
    if out == PIPE:
        return PIPE
    if out.suffix.lower() == ".flac":
        raise UserError(f"--out {out}: what is made live is written as .wav")
    (name,) = distinct_names([Path("live" if live.path == PIPE else live.path.name)])
    (file,) = result_files(out, [Path(f"{name}_to_{targets[0]}")])
    refuse_existing([file], force)
    return file


def run_live(
    model: "VQVAE", live: LiveInput, speaker: str, options: "SamplingOptions", melody: "Melody", out: Path
) -> None:
    """Writes the conversion as it is made. Ctrl-C ends the input; what was heard by then is finished first."""
    from audio_vq.codec.follow import ended_by_interrupt
    from audio_vq.codec.incremental import LiveEncoder
    from audio_vq.codec.live import convert_live
    from audio_vq.codec.source import FixedGain, RunningGain
    from audio_vq.codec.wav import PcmReader

    gain = RunningGain(model.loudness_db) if live.gain_db is None else FixedGain.of_decibels(live.gain_db)
    encoder = LiveEncoder(model.codec, gain)

    def say(message: str) -> None:
        print(f"audio-vq: to {speaker}; {message}", file=sys.stderr)

    with ended_by_interrupt() as ending:
        reader = PcmReader(live.sample_rate or model.sample_rate, grows=live.path != PIPE)
        voice = model.speaker_index(speaker)
        blocks = convert_live(model.codec, live.pieces(ending), voice, options, encoder, reader, say, melody)
        seconds = _write(blocks, out, model.sample_rate) / model.sample_rate
    say(f"{seconds:.1f} seconds converted")
    if out != PIPE:
        print(out)
    if ending.wanted:
        raise KeyboardInterrupt


def _write(blocks: "Iterator[Waveform]", out: Path, sample_rate: int) -> int:
    """Returns the number of samples; a file appears with the first of them."""
    from audio_vq.codec.wav import WavWriter

    first = next(blocks)
    with WavWriter(sys.stdout.buffer if out == PIPE else out, sample_rate) as writer:
        writer.write(first)
        for block in blocks:
            writer.write(block)
    return writer.num_samples
