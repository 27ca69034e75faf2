"""`audio-vq convert`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_vq.cli.live import PIPE, LiveInput, check_live, run_live
from audio_vq.cli.options import (
    Checkpoint,
    Device,
    Force,
    OutFolder,
    Precision,
    Seed,
    Temperature,
    TopP,
    still_to_write,
)
from audio_vq.errors import UserError

if TYPE_CHECKING:
    from audio_vq.codec.drawing import SamplingOptions
    from audio_vq.pretrained import VQVAE


def convert(
    checkpoint: Checkpoint,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT", help="Audio files or folders; with --live one file.")
    ],
    to: Annotated[list[str], typer.Option(help="Target speaker; may be given several times.")],
    out: OutFolder,
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    precision: Precision = "auto",
    device: Device = "auto",
    force: Force = False,
    live: Annotated[
        bool, typer.Option("--live", help="Convert while INPUT, a growing .wav or .raw file or - for stdin, comes in.")
    ] = False,
    sample_rate: Annotated[
        int | None, typer.Option(help="Of live input without WAV header: raw 16-bit mono. Default: the model's.")
    ] = None,
    gain_db: Annotated[
        float | None, typer.Option(help="Loudness gain of live input. Default: follows what was heard so far.")
    ] = None,
    idle: Annotated[float, typer.Option(help="Seconds without growth after which a live file has ended.")] = 2.0,
) -> None:
    """Say what a recording says in another speaker's voice: OUT/<stem>_to_<NAME>.wav, same duration.

    Example: audio-vq convert runs/vctk recording.wav --to p226 --to p227 --out converted/

    Live: arecord -f S16_LE -r 16000 | audio-vq convert --live runs/vctk - --to p226 --out - | aplay
    """
    from audio_vq.codec.drawing import SamplingOptions
    from audio_vq.pretrained import VQVAE

    options = SamplingOptions(temperature=temperature, top_p=top_p, seed=seed)
    targets = list(dict.fromkeys(to))
    if live:
        if len(inputs) != 1:
            raise UserError(f"--live follows one input, got {len(inputs)}")
        listened = LiveInput(inputs[0], sample_rate, gain_db, idle)
        file = check_live(listened, targets, out, force)
        model = _with_voices(VQVAE.from_pretrained(checkpoint, device, precision), targets)
        from audio_vq.codec.live import Voice

        run_live(model, listened, Voice(targets[0], temperature, top_p, seed), file)
        return
    if PIPE in (out, *inputs):
        raise UserError("- means stdin or stdout, which need --live")
    from audio_vq.discovery import find_recordings

    recordings = [file.path for file in find_recordings(inputs).files]
    files = {(path, name): out / f"{path.stem}_to_{name}.wav" for path in recordings for name in targets}
    wanted = still_to_write(list(files.values()), force)
    model = _with_voices(VQVAE.from_pretrained(checkpoint, device, precision), targets)
    _convert_files(model, {pair: file for pair, file in files.items() if file in wanted}, options)


def _with_voices(model: "VQVAE", names: list[str]) -> "VQVAE":
    for name in names:
        model.speaker_index(name)  # an unknown name is told before anything is computed
    return model


def _convert_files(model: "VQVAE", files: dict[tuple[Path, str], Path], options: "SamplingOptions") -> None:
    """Writes the files, named by recording and speaker."""
    from audio_vq.audio import write_audio
    from audio_vq.codec.conversion import Wish, convert_all
    from audio_vq.codec.source import file_sources
    from audio_vq.progress import progress_bar

    recordings = list(dict.fromkeys(path for path, _ in files))
    sources = file_sources(recordings, model.sample_rate)
    voices = {path: tuple(name for recording, name in files if recording == path) for path in recordings}
    wishes = [Wish(source, voices[path]) for path, source in zip(recordings, sources, strict=True)]
    with progress_bar("converting", total=len(files)) as bar:
        for wish, speaker, waveform in convert_all(model, wishes, options):
            file = files[recordings[wish], speaker]
            write_audio(file, waveform, model.sample_rate)
            print(file)
            bar.advance()
