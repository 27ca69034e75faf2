"""`audio-vq sample`."""

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
    Prior,
    Seed,
    Speaker,
    Temperature,
    TopP,
    refuse_existing,
)
from audio_vq.cli.results import Results, check_stdout, made_with, result_files, still_to_make, told_how_to_go_on
from audio_vq.errors import UserError

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE
    from audio_vq.units import Units, UnitSequence

MOST_SAMPLES = 10_000


def sample(
    prior: Prior,
    checkpoint: Checkpoint,
    speaker: Speaker,
    out: OutAudio,
    seconds: Annotated[float, typer.Option(help="Duration of what is drawn for each sample.")] = 3.0,
    count: Annotated[int, typer.Option(help="How many.")] = 4,
    prompt: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Recording whose units every sample begins with and goes on from."),
    ] = None,
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
    """Draw unit sequences from a prior and speak them: OUT/<speaker>_<n>.wav and OUT/units.jsonl.

    Of a voice that joined the model later, in the manner of the nearest one that the prior knows.

    With --json: files (of each: file, id, speaker, seconds), kept (files that were there already), units (their file).

    Example: audio-vq sample runs/vctk-prior runs/vctk --speaker p226 --seconds 3 --count 4 --out samples/
    """
    import numpy as np

    from audio_vq.codec.decode import decode_each
    from audio_vq.files import safe_name
    from audio_vq.pretrained import VQVAE
    from audio_vq.progress import AUDIO, progress_bar
    from audio_vq.unit_files.files import write_units
    from audio_vq.unit_prior import UnitPrior

    check_stdout(out, json_output)
    if not 1 <= count <= MOST_SAMPLES:
        raise UserError(f"--count {count}; expected 1 to {MOST_SAMPLES}")
    names = [Path(f"{safe_name(speaker, 'speaker')}_{number}") for number in range(1, count + 1)]
    files = result_files(out, names)
    units_file = out.with_suffix(".jsonl") if files == [out] else out / "units.jsonl"
    model = VQVAE.from_pretrained(checkpoint, device, precision)
    options = model.sampling_options(temperature, top_p, seed, postfilter, emphasis)
    unit_prior = UnitPrior.from_pretrained(prior, device)
    unit_prior.check_units_of(model)
    begun = _units_of(model, prompt) if prompt else None
    heat = 1.0 if temperature is None else temperature
    manner = unit_prior.manner_of(model, speaker)
    with progress_bar("drawing units", total=count * seconds, unit=AUDIO) as bar:
        drawn = unit_prior.sample(manner, seconds, count, seed, heat, top_p, begun, bar.advance)
    if begun is not None:
        drawn = [np.concatenate([begun, units], -1) for units in drawn]
    comments = {
        file: made_with(model, options, speaker, number, units.tolist())
        for number, (file, units) in enumerate(zip(files, drawn, strict=True))
    }
    wanted = still_to_make(comments, force)
    left = [number for number, file in enumerate(files) if file in wanted]
    if len(left) == len(files) and out != PIPE:  # else the units there are these
        refuse_existing([units_file], force)
    if out != PIPE:
        write_units(units_file, _sequences(model, speaker, names, drawn))
    voices = [model.speaker_index(speaker)] * len(left)
    spoken = [drawn[number] for number in left]
    results = Results(comments, wanted, json_output, at_the_end=True)
    total = sum(units.shape[-1] for units in spoken) / model.unit_rate_hz
    with told_how_to_go_on(out, comments), progress_bar("speaking", total=total, unit=AUDIO) as bar:
        for index, audio in decode_each(model.codec, spoken, voices, options, left, told=bar.advance):
            number = left[index]
            results.write(files[number], audio, model.sample_rate, id=names[number].name, speaker=speaker)
    results.end(units=str(units_file))


def _sequences(model: "VQVAE", speaker: str, names: list[Path], drawn: "list[Units]") -> "list[UnitSequence]":
    from audio_vq.units import UnitSequence

    about = speaker, model.sample_rate, model.hop_length, model.hop_length * drawn[0].shape[-1]
    has_pitch = model.pitch_classes > 0
    return [
        UnitSequence(name.name, *about, units, model.fingerprint, has_pitch)
        for name, units in zip(names, drawn, strict=True)
    ]


def _units_of(model: "VQVAE", recording: Path) -> "Units":
    """Raises UserError for a file that is not there or is no audio."""
    from audio_vq.codec.encode import encode_sources
    from audio_vq.codec.source import file_source

    (encoding,) = encode_sources(model.codec, [file_source(recording, str(recording))])
    return encoding.sequence.units
