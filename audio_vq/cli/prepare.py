"""`audio-vq prepare`: a corpus on disk, or a synthetic one, becomes a prepared folder."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from audio_vq.data.prepare import Processing, SplitRule
    from audio_vq.data.prepared import CorpusHeader
    from audio_vq.data.recordings import RecordingSet

prepare_app = typer.Typer(
    name="prepare",
    no_args_is_help=True,
    help="Make a corpus ready for training: 16-bit audio of one sample rate, speakers, texts and splits.",
)

Source = Annotated[Path, typer.Argument(metavar="SRC", help="Folder of the corpus.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write, new or unfinished.")]
SampleRate = Annotated[int, typer.Option(min=4000, max=96000, help="Hz; audio is resampled to it.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes; 0 means one per CPU. Never changes the result.")]
Seed = Annotated[int, typer.Option(min=0, help="Decides which sentences are for testing.")]
TestSpeakers = Annotated[
    str, typer.Option(metavar="A,B", help="Speakers to keep out of training altogether, joined by commas.")
]
Trim = Annotated[bool, typer.Option("--trim/--no-trim", help="Cut silence at both ends (40 dB, 0.1 s stay).")]
Loudness = Annotated[
    bool, typer.Option("--loudness/--no-loudness", help="Bring active speech to -23 dB below full scale.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what OUT holds, finished or not.")]
Json = Annotated[bool, typer.Option("--json", help="Print the corpus header as one JSON object.")]


@prepare_app.command()
def vctk(
    src: Source,
    out: Out,
    sample_rate: SampleRate = 16000,
    workers: Workers = 0,
    seed: Seed = 0,
    test_speakers: TestSpeakers = "",
    trim: Trim = True,
    loudness: Loudness = True,
    force: Force = False,
    json: Json = False,
) -> None:
    """Prepare VCTK 0.92 or 0.80.

    Example: audio-vq prepare vctk VCTK-Corpus-0.92 data/vctk --test-speakers p225,p226
    """
    from audio_vq.data.vctk import find_vctk

    _prepare(find_vctk(src), out, _processing(sample_rate, trim, loudness), _rule(seed, test_speakers), workers=workers, force=force, json=json)
