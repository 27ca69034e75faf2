"""`audio-vq prepare`: a corpus on disk, or a synthetic one, becomes a prepared folder."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from audio_vq.data.corpora.recordings import RecordingSet
    from audio_vq.data.prepare import Processing, SplitRule
    from audio_vq.data.prepared import CorpusHeader

prepare_app = typer.Typer(
    name="prepare",
    no_args_is_help=True,
    help="Make a corpus ready for training: 16-bit audio of one sample rate, its pitch, speakers, texts and splits. "
    "An hour of recordings takes one core about a minute and a half, nearly all of it for the pitch.\n\n"
    "Example: audio-vq prepare folder recordings data/mine",
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
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print what corpus.json holds: hours, speakers, splits, skipped, settings and what else it says."
    ),
]


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
    from audio_vq.data.corpora.vctk import find_vctk

    processing, rule = _processing(sample_rate, trim, loudness), _rule(seed, test_speakers)
    _prepare(find_vctk(src), out, processing, rule, workers=workers, force=force, json=json)


@prepare_app.command()
def librispeech(
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
    """Prepare LibriSpeech: one subset, or a folder with several.

    Example: audio-vq prepare librispeech LibriSpeech/train-clean-100 data/libri
    """
    from audio_vq.data.corpora.librispeech import find_librispeech

    processing, rule = _processing(sample_rate, trim, loudness), _rule(seed, test_speakers)
    _prepare(find_librispeech(src), out, processing, rule, workers=workers, force=force, json=json)


@prepare_app.command()
def folder(
    src: Source,
    out: Out,
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Table with the header path,speaker[,text][,split][,sentence]; paths relative to SRC.",
        ),
    ] = None,
    sample_rate: SampleRate = 16000,
    workers: Workers = 0,
    seed: Seed = 0,
    test_speakers: TestSpeakers = "",
    trim: Trim = True,
    loudness: Loudness = True,
    force: Force = False,
    json: Json = False,
) -> None:
    """Prepare any recordings: a subfolder of SRC per speaker, one speaker's recordings alone, or a list of files.

    A .txt of a recording's name holds its text. Recordings of more than 30 seconds without a text are cut at pauses.

    Example: audio-vq prepare folder recordings data/mine --manifest recordings/list.csv
    """
    from audio_vq.data.corpora.folder import find_folder
    from audio_vq.data.corpora.manifest import find_listed

    recordings = find_folder(src) if manifest is None else find_listed(src, manifest)
    processing, rule = _processing(sample_rate, trim, loudness), _rule(seed, test_speakers)
    _prepare(recordings, out, processing, rule, workers=workers, force=force, json=json)


@prepare_app.command()
def synthetic(
    out: Out,
    speakers: Annotated[int, typer.Option(min=1, help="Voices.")] = 24,
    utterances: Annotated[int, typer.Option(min=1, help="Sentences per voice.")] = 100,
    sample_rate: SampleRate = 16000,
    workers: Workers = 0,
    seed: Annotated[int, typer.Option(min=0, help="Decides voices, sentences and splits.")] = 0,
    test_speakers: TestSpeakers = "",
    force: Force = False,
    json: Json = False,
) -> None:
    """Speak a corpus with espeak-ng, phone alignments included (OUT/alignments).

    Example: audio-vq prepare synthetic data/synthetic --speakers 24 --utterances 100
    """
    from audio_vq.data.corpora.synthetic.corpus import Synthesis, prepare_synthetic

    synthesis = Synthesis(speakers, utterances, seed, sample_rate)
    rule = _rule(seed, test_speakers)
    header = prepare_synthetic(out, synthesis, rule, workers=_processes(workers), force=force)
    _report(header, out, json=json)


def _prepare(
    recordings: "RecordingSet",
    out: Path,
    processing: "Processing",
    rule: "SplitRule",
    *,
    workers: int,
    force: bool,
    json: bool,
) -> None:
    from audio_vq.data.prepare import prepare

    header = prepare(recordings, out, processing, rule, workers=_processes(workers), force=force)
    _report(header, out, json=json)


def _processing(sample_rate: int, trim: bool, loudness: bool) -> "Processing":
    from audio_vq.data.prepare import Processing

    standard = Processing()
    return Processing(
        sample_rate=sample_rate,
        trim_db=standard.trim_db if trim else None,
        loudness_db=standard.loudness_db if loudness else None,
    )


def _rule(seed: int, test_speakers: str) -> "SplitRule":
    from audio_vq.data.prepare import SplitRule

    return SplitRule(seed, tuple(sorted({name.strip() for name in test_speakers.split(",")} - {""})))


def _processes(workers: int) -> int:
    return workers or os.cpu_count() or 1


def _report(header: "CorpusHeader", out: Path, *, json: bool) -> None:
    """A summary on stderr, and on stdout the header where asked for."""
    from audio_vq.config import TrainConfig
    from audio_vq.data.prepared import PreparedCorpus, untrained_line
    from audio_vq.loudness import MAX_GAIN_DB

    corpus = PreparedCorpus.open(out)
    if untrained := untrained_line(corpus.untrained(TrainConfig().crop_length)):
        print(untrained, file=sys.stderr)
    if quiet := sum(utterance.gain_db >= MAX_GAIN_DB for utterance in corpus.utterances):
        print(f"very quiet utterances, made louder by {MAX_GAIN_DB:g} dB and no more: {quiet}", file=sys.stderr)
    splits = ", ".join(f"{name} {size.utterances}" for name, size in header.splits.items())
    print(
        f"{out}: {header.hours:.2f} hours, {len(header.speakers)} speakers, utterances: {splits}; "
        f"{len(header.skipped)} recordings skipped",
        file=sys.stderr,
    )
    if json:
        print(header.to_json(), end="")
