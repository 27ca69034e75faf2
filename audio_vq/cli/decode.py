"""`audio-vq decode`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_vq.cli.console import PIPE
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
    Speaker,
    Temperature,
    TopP,
)
from audio_vq.cli.results import Results, check_stdout, made_with, result_files, still_to_make, told_how_to_go_on
from audio_vq.errors import UserError

if TYPE_CHECKING:
    from audio_vq.codec.drawing import SamplingOptions
    from audio_vq.pretrained import VQVAE
    from audio_vq.units import UnitSequence


def decode(
    checkpoint: Checkpoint,
    units: Annotated[
        Path,
        typer.Argument(
            metavar="UNITS", help="Units file from encode, .jsonl, .npz or .parquet; or - for JSON Lines on stdin."
        ),
    ],
    speaker: Speaker,
    out: OutAudio,
    temperature: Temperature = None,
    top_p: TopP = 1.0,
    postfilter: Postfilter = True,
    emphasis: Emphasis = None,
    seed: Seed = 0,
    precision: Precision = "auto",
    device: Device = "auto",
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Turn units into audio in a speaker's voice: OUT/<id>.wav.

    With --json: files (of each: file, id, speaker, seconds), kept (files that were there already).

    Example: audio-vq decode runs/vctk units.jsonl --speaker p226 --out decoded/
    """
    from audio_vq.pretrained import VQVAE
    from audio_vq.unit_files.files import read_unit_stream, read_units

    check_stdout(out, json_output)
    if units == PIPE:
        units = Path("stdin")  # for messages
        sequences = read_unit_stream(str(units), sys.stdin.buffer.read())
    else:
        sequences = read_units(units)
    if not sequences:
        raise UserError(f"{units} holds no units; write some with `audio-vq encode`")
    files = result_files(out, [Path(sequence.id) for sequence in sequences])
    model = VQVAE.from_pretrained(checkpoint, device, precision)
    options = model.sampling_options(temperature, top_p, seed, postfilter, emphasis)
    for sequence in sequences:
        _check_fits(model, sequence, units)
    comments = {
        file: made_with(model, options, speaker, each.num_samples, each.units.tolist())
        for file, each in zip(files, sequences, strict=True)
    }
    wanted = still_to_make(comments, force)
    left = [(each, file) for each, file in zip(sequences, files, strict=True) if file in wanted]
    results = Results(comments, wanted, json_output)
    with told_how_to_go_on(out, comments):
        _decode(model, left, speaker, options, results)
    results.end()


def _check_fits(model: "VQVAE", sequence: "UnitSequence", file: Path) -> None:
    """Raises UserError for units of another model."""
    if (sequence.sample_rate, sequence.hop_length) != (model.sample_rate, model.hop_length):
        raise UserError(
            f"{file}: {sequence.id} has {sequence.sample_rate} Hz and hop length {sequence.hop_length}, the model "
            f"{model.sample_rate} Hz and {model.hop_length}; give the checkpoint that made these units"
        )
    if sequence.fingerprint not in ("", model.fingerprint):
        raise UserError(
            f"{file}: {sequence.id} was encoded by another model, to which its units mean something else; "
            "give the checkpoint that made these units"
        )
    model.codec.checked(sequence.units)


def _decode(
    model: "VQVAE",
    wanted: "list[tuple[UnitSequence, Path]]",
    speaker: str,
    options: "SamplingOptions",
    results: Results,
) -> None:
    from audio_vq.codec.decode import decode_each
    from audio_vq.progress import AUDIO, progress_bar

    units = [sequence.units for sequence, _ in wanted]
    voices, streams = [model.speaker_index(speaker)] * len(units), [0] * len(units)
    seconds = sum(each.shape[-1] for each in units) / model.unit_rate_hz
    with progress_bar("decoding", total=seconds, unit=AUDIO) as bar:
        for index, audio in decode_each(model.codec, units, voices, options, streams, told=bar.advance):
            sequence, file = wanted[index]
            results.write(file, audio[: sequence.num_samples], model.sample_rate, id=sequence.id, speaker=speaker)
