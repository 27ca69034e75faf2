"""`audio-vq align`: transcripts → phone alignments."""

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from audio_vq.errors import UserError


def align(
    prepared: Annotated[Path, typer.Argument(metavar="PREPARED", help="Prepared corpus with English texts.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for <speaker>/<id>.lab.")],
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 means one per CPU.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Align again what OUT holds already.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")] = False,
) -> None:
    """Finds the phones of transcripts in their recordings (English; PocketSphinx, espeak-ng for unknown words).

    Alignments that OUT holds already are kept: an interrupted run goes on where it stood.

    Example: audio-vq align data/vctk data/vctk-phones
    """
    from audio_vq.analysis.align import align_corpus, plan_alignment
    from audio_vq.data.prepared import PreparedCorpus
    from audio_vq.data.progress import progress_bar

    corpus = PreparedCorpus.open(prepared)
    plan = plan_alignment(corpus, out, force=force)
    failures: dict[str, str] = {}
    done = plan.kept
    outcomes = align_corpus(corpus, plan, out, workers=workers or os.cpu_count() or 1)
    total = plan.kept + len(plan.utterances)
    with closing(outcomes), progress_bar("aligning", total=total, completed=plan.kept) as bar:
        for outcome in outcomes:
            if outcome.failure:
                failures[outcome.id] = outcome.failure
                bar.say(f"{outcome.id}: {outcome.failure}")
            else:
                done += 1
            bar.advance()
    if failures and done == 0:
        raise UserError(f"none of {total} utterances of {prepared} could be aligned; are the texts those of the recordings?")
    counts = {"aligned": done - plan.kept, "kept": plan.kept, "failed": len(failures), "without_text": plan.without_text}
    if json_output:
        print(json.dumps(counts | {"failures": failures, "pronounced": dict(plan.pronunciations), "out": str(out)}))
    else:
        print(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()))
