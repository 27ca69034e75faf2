"""`audio-vq align`: transcripts → phone alignments."""

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from audio_vq.cli.options import Json
from audio_vq.errors import UserError
from audio_vq.files import locked

Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder for <speaker>/<id>.lab.")]
Prepared = Annotated[Path, typer.Argument(metavar="PREPARED", help="Prepared corpus with English texts.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes; 0 means one per CPU.")]
Redo = Annotated[bool, typer.Option("--force", help="Align again what OUT holds already.")]


def align(prepared: Prepared, out: Out, workers: Workers = 0, force: Redo = False, json_output: Json = False) -> None:
    """Find the phones of English transcripts in their recordings.

    By PocketSphinx; words it lacks are pronounced by espeak-ng. Alignments that OUT holds already are kept:
    an interrupted run goes on where it stood.

    With --json: aligned, kept, failed, without_text (counts), failures (reasons, by utterance), pronounced (phones of
    words that the dictionary lacks).

    Example: audio-vq align data/vctk data/vctk-phones
    """
    from audio_vq.analysis.alignment.align import align_corpus, plan_alignment
    from audio_vq.data.prepared import PreparedCorpus
    from audio_vq.progress import progress_bar

    corpus = PreparedCorpus.open(prepared)
    failures: dict[str, str] = {}
    with locked(out, "alignment"):
        plan = plan_alignment(corpus, out, force=force)
        total = plan.kept + len(plan.utterances)
        outcomes = align_corpus(corpus, plan, out, workers=workers or os.cpu_count() or 1)
        with closing(outcomes), progress_bar("aligning", total=total, completed=plan.kept) as bar:
            for outcome in outcomes:
                if outcome.failure:
                    failures[outcome.id] = outcome.failure
                    bar.say(f"{outcome.id}: {outcome.failure}")
                bar.advance()
    if failures and len(failures) == total:
        raise UserError(f"none of {total} utterances of {prepared} could be aligned; do texts and recordings match?")
    counts = {
        "aligned": len(plan.utterances) - len(failures),
        "kept": plan.kept,
        "failed": len(failures),
        "without_text": plan.without_text,
    }
    if json_output:
        print(json.dumps(counts | {"failures": failures, "pronounced": dict(plan.pronunciations)}))
    else:
        print(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()))
