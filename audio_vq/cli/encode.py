"""`audio-vq encode`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audio_vq.cli.console import PIPE, write_data
from audio_vq.cli.options import Checkpoint, Device, Force, Json, refuse_existing
from audio_vq.cli.results import Faults, name_is_too_long
from audio_vq.errors import UserError

if TYPE_CHECKING:
    from audio_vq.codec.source import Source
    from audio_vq.pretrained import VQVAE
    from audio_vq.units import UnitSequence

Inputs = Annotated[
    list[Path], typer.Argument(metavar="INPUT", help="Audio files, folders, a prepared corpus, or - for stdin.")
]
Out = Annotated[
    str,
    typer.Option(
        help="File to write: .jsonl; .npz for packed arrays; .parquet for a table (extra parquet); .txt for lines of "
        "id and units, groups joined as 12_205, without pitch, which cannot be decoded; or - for JSON Lines on stdout."
    ),
]
TextGrids = Annotated[
    Path | None,
    typer.Option(
        "--textgrid",
        metavar="DIR",
        help="Write Praat TextGrids of the units too: DIR/<id>.TextGrid; of a prepared corpus "
        "DIR/<speaker>/<id>.TextGrid, with times of its source.",
    ),
]


def encode(
    checkpoint: Checkpoint,
    inputs: Inputs,
    out: Out,
    textgrid: TextGrids = None,
    device: Device = "auto",
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Turn recordings into units. What cannot be read is named and left out.

    With --json: file, recordings, seconds (of audio), units (along time), left_out (lines of text).

    Example: audio-vq encode runs/vctk recordings/ --out units.jsonl

    In a pipe: cat a.wav | audio-vq encode runs/vctk - --out - | audio-vq decode runs/vctk - --speaker p226 --out b.wav
    """
    from audio_vq.codec.encode import encode_to_file, encoded, units_journal
    from audio_vq.pretrained import VQVAE
    from audio_vq.unit_files.files import check_writable
    from audio_vq.unit_files.json_lines import json_line

    file = Path(out)
    if file == PIPE and (json_output or textgrid):
        raise UserError("--out - writes units to stdout: give --json or --textgrid with --out FILE")
    if file != PIPE and (out.endswith("/") or file.is_dir()):
        raise UserError(f"--out {out} is a folder; give a file, say {file / 'units.jsonl'}")
    refuse_existing([file] if file != PIPE else [], force)
    check_writable(file, ())
    model = VQVAE.from_pretrained(checkpoint, device)
    faults = Faults()
    recordings = _recordings(model, inputs, faults)
    sources, total = [each.source for each in recordings], len(recordings) + faults.count

    def leave_out(_: "Source", fault: UserError) -> None:
        if total == 1:
            raise fault
        faults.add(str(fault))

    if file == PIPE:
        for sequence in encoded(model.codec, sources, on_fault=leave_out):
            write_data(json_line(sequence).encode())
        faults.end(total)
        return
    check_writable(file, [source.id for source in sources])
    grids = _TextGrids(textgrid, recordings) if textgrid else None
    journal = units_journal(model.codec, sources, file)
    if grids and not (journal.exists() and journal.stat().st_size):  # those of an interrupted call are ours
        refuse_existing(list(grids.files.values()), force)
    sequences = encode_to_file(model.codec, sources, file, leave_out, grids.write if grids else None)
    if json_output:
        print(json.dumps({"file": str(file), **_totals(sequences), "left_out": faults.texts}))
    faults.end(total)


@dataclass(frozen=True)
class _Recording:
    """What is encoded, and where its units belong in time."""

    source: "Source"
    name: Path  # of its TextGrid, without suffix
    offset_seconds: float = 0.0  # where it begins in the source recording


def _recordings(model: "VQVAE", inputs: list[Path], faults: Faults) -> list[_Recording]:
    """Of prepared corpora and of recordings, with ids that differ."""
    from audio_vq.cli.recordings import id_of, named_recordings
    from audio_vq.codec.source import file_source
    from audio_vq.data.prepared import CORPUS_FILE, PreparedCorpus, corpus_sources

    corpora = [path for path in dict.fromkeys(inputs) if (path / CORPUS_FILE).is_file()]
    opened = [PreparedCorpus.open(path, model.sample_rate) for path in corpora]
    found = [
        _Recording(source, Path(each.speaker, each.id), each.offset_seconds)
        for corpus in opened
        for source, each in zip(corpus_sources(corpus, corpus.utterances), corpus.utterances, strict=True)
    ]
    taken = {each.source.id for each in found}
    if len(taken) < len(found):
        raise UserError("the prepared corpora have utterances of the same id; encode them into different files")
    others = [path for path in inputs if path not in corpora]
    recordings, left_out = named_recordings(others) if others else ([], ())
    for item in left_out:
        faults.add(f"{item.path}: {item.reason}")
    for recording in recordings:
        name = id_of(recording.name, taken)
        found.append(_Recording(file_source(recording.path, name), Path(name)))
        taken.add(name)
    return found


class _TextGrids:
    """The files that hold the units of recordings, in a folder, by id."""

    def __init__(self, folder: Path, recordings: Sequence[_Recording]) -> None:
        """Raises UserError where a name is too long for the file system."""
        self.offsets = {each.source.id: each.offset_seconds for each in recordings}
        self.files = {
            each.source.id: (folder / each.name).with_name(f"{each.name.name}.TextGrid") for each in recordings
        }
        for file in self.files.values():
            if name_is_too_long(file):
                raise UserError(f"{file} is a longer name than this file system allows; rename the recording")

    def write(self, sequences: "Sequence[UnitSequence]") -> None:
        from audio_vq.files import atomic_write_text
        from audio_vq.unit_files.textgrid import units_textgrid

        for each in sequences:
            atomic_write_text(self.files[each.id], units_textgrid(each, self.offsets[each.id]))


def _totals(sequences: "Sequence[UnitSequence]") -> dict[str, float]:
    return {
        "recordings": len(sequences),
        "seconds": sum(each.num_samples / each.sample_rate for each in sequences),
        "units": sum(each.units.shape[-1] for each in sequences),
    }
