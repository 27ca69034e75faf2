"""`audio-vq convert`."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_vq.cli.completion import speakers
from audio_vq.cli.live import LiveInput, check_live, run_live
from audio_vq.cli.options import (
    Checkpoint,
    Device,
    Emphasis,
    Force,
    Json,
    OutAudio,
    Postfilter,
    Precision,
    Seed,
    Temperature,
    TopP,
)
from audio_vq.cli.results import (
    Faults,
    Results,
    check_stdout,
    made_with,
    name_is_too_long,
    result_files,
    still_to_make,
    told_how_to_go_on,
)
from audio_vq.errors import UserError

if TYPE_CHECKING:
    from audio_vq.codec.drawing import SamplingOptions
    from audio_vq.codec.melody import Melody
    from audio_vq.codec.source import Source
    from audio_vq.pretrained import VQVAE


def convert(
    checkpoint: Checkpoint,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT", help="Audio files, folders, or - for stdin; with --live one file.")
    ],
    to: Annotated[list[str], typer.Option(help="Target speaker; may be given several times.", autocompletion=speakers)],
    out: OutAudio,
    temperature: Temperature = None,
    top_p: TopP = 1.0,
    postfilter: Postfilter = True,
    emphasis: Emphasis = None,
    pitch: Annotated[
        float, typer.Option("--pitch", help="Shift the melody by so many semitones; of models with pitch.")
    ] = 0.0,
    flat: Annotated[bool, typer.Option("--flat", help="Speak in a monotone; of models with pitch.")] = False,
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
    json_output: Json = False,
) -> None:
    """Say what a recording says in another speaker's voice: OUT/<stem>_to_<NAME>.wav, same duration.

    What cannot be read is named and left out. With --json: files (of each: file, input, speaker, seconds), kept (files
    that were there already), left_out (lines of text).

    Example: audio-vq convert runs/vctk recording.wav --to p226 --to p227 --out converted/

    In a pipe: audio-vq convert runs/vctk - --to p226 --out - < hello.wav | aplay

    Live: arecord -f S16_LE -r 16000 | audio-vq convert --live runs/vctk - --to p226 --out - | aplay
    """
    from audio_vq.codec.melody import Melody
    from audio_vq.pretrained import VQVAE

    melody = Melody(pitch, flat)
    targets = list(dict.fromkeys(to))
    if live and json_output:
        raise UserError("--live tells what it does while it does it: --json is not for it")
    check_stdout(out, json_output)
    if live:
        if len(inputs) != 1:
            raise UserError(f"--live follows one input, got {len(inputs)}")
        listened = LiveInput(inputs[0], sample_rate, gain_db, idle)
        file = check_live(listened, targets, out, force)
        model = VQVAE.from_pretrained(checkpoint, device, precision)
        options = model.sampling_options(temperature, top_p, seed, postfilter, emphasis)
        run_live(model, listened, targets[0], options, melody, file)
        return
    faults = Faults()
    planned = _planned(inputs, targets, out, faults)
    model = VQVAE.from_pretrained(checkpoint, device, precision)
    melody.check(model.codec)
    options = model.sampling_options(temperature, top_p, seed, postfilter, emphasis)
    total = len(planned) + faults.count
    comments = {
        each.file: made_with(model, options, each.speaker, each.source.version, pitch, flat) for each in planned
    }
    wanted = still_to_make(comments, force)
    results = Results(comments, wanted, json_output)
    with told_how_to_go_on(out, comments):
        _convert(model, [each for each in planned if each.file in wanted], options, melody, results, faults, total)
    results.end(left_out=faults.texts)
    faults.end(total)


@dataclass(frozen=True)
class _Wanted:
    """A file to be made."""

    source: "Source"
    speaker: str
    file: Path


def _planned(inputs: list[Path], targets: list[str], out: Path, faults: Faults) -> list[_Wanted]:
    from audio_vq.cli.recordings import named_recordings
    from audio_vq.codec.source import file_source
    from audio_vq.files import safe_name

    recordings, left_out = named_recordings(inputs)
    for item in left_out:
        faults.add(f"{item.path}: {item.reason}")
    names = [
        recording.name.with_name(f"{recording.name.name}_to_{safe_name(target, 'speaker')}")
        for recording in recordings
        for target in targets
    ]
    sources = [file_source(recording.path, str(recording.path)) for recording in recordings]
    pairs = [(source, target) for source in sources for target in targets]
    results = [_Wanted(*pair, file) for pair, file in zip(pairs, result_files(out, names), strict=True)]
    for each in results:
        if name_is_too_long(each.file):
            faults.add(f"{each.source.id}: {each.file.name} is a longer name than this file system allows")
    return [each for each in results if not name_is_too_long(each.file)]


def _convert(
    model: "VQVAE",
    wanted: list[_Wanted],
    options: "SamplingOptions",
    melody: "Melody",
    results: Results,
    faults: Faults,
    total: int,
) -> None:
    """Writes the files. The fault of what would be the only one is an error."""
    from audio_vq.codec.conversion import Conversion, convert_all
    from audio_vq.progress import AUDIO, progress_display

    groups = [list(group) for _, group in groupby(wanted, key=lambda each: id(each.source))]
    files = [{model.speaker_index(each.speaker): each.file for each in group} for group in groups]
    conversions = [Conversion(group[0].source, tuple(voices)) for group, voices in zip(groups, files, strict=True)]
    with progress_display() as display:
        heard = display.add("encoding", sum(each.source.seconds for each in conversions), unit=AUDIO)
        spoken = display.add("converting", sum(each.source.seconds for each in wanted), unit=AUDIO)

        def leave_out(_: "Source", fault: UserError) -> None:
            if total == 1:
                raise fault
            faults.add(str(fault))

        for made in convert_all(
            model.codec,
            conversions,
            options,
            melody,
            on_fault=leave_out,
            on_heard=heard.advance,
            on_spoken=spoken.advance,
        ):
            file, source = files[made.conversion][made.speaker], conversions[made.conversion].source
            speaker = model.speakers[made.speaker]
            results.write(file, made.waveform, model.sample_rate, input=source.id, speaker=speaker)
            if made.remark:
                display.say(made.remark)
