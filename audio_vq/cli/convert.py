"""`audio-vq convert`."""

from pathlib import Path
from typing import Annotated

import typer

from audio_vq.cli.options import (
    Checkpoint,
    Device,
    Force,
    OutFolder,
    Seed,
    Temperature,
    TopP,
    still_to_write,
)


def convert(
    checkpoint: Checkpoint,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="Audio files or folders.")],
    to: Annotated[list[str], typer.Option(help="Target speaker; may be given several times.")],
    out: OutFolder,
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Say what a recording says in another speaker's voice: OUT/<stem>_to_<NAME>.wav, same duration.

    Example: audio-vq convert runs/vctk recording.wav --to p226 --to p227 --out converted/
    """
    from audio_vq.audio import find_audio_files, read_audio, write_audio
    from audio_vq.data.progress import progress_bar
    from audio_vq.pretrained import VQVAE

    recordings = find_audio_files(inputs)
    targets = list(dict.fromkeys(to))
    files = {(path, name): out / f"{path.stem}_to_{name}.wav" for path in recordings for name in targets}
    wanted = still_to_write(list(files.values()), force)
    model = VQVAE.from_pretrained(checkpoint, device)
    for name in targets:
        model.speaker_index(name)  # an unknown name is told before anything is computed
    with progress_bar("converting", total=len(wanted)) as bar:
        for path in recordings:
            missing = [name for name in targets if files[path, name] in wanted]
            if not missing:
                continue
            waveform = read_audio(path, model.sample_rate).waveform
            units = model.encode(waveform, model.sample_rate)
            voices = model.decode_many([units] * len(missing), missing, temperature, top_p, seed)
            for name, audio in zip(missing, voices, strict=True):
                write_audio(files[path, name], audio[: len(waveform)], model.sample_rate)
                print(files[path, name])
                bar.advance()
