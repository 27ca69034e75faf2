"""The synthetic corpus: many espeak-ng voices read sentences, and every phone's place is known."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from audio_vq.data.corpora.synthetic.renderer import LOUDNESS_DB, Line, PhoneInterval, Rendered, Script, render
from audio_vq.data.corpora.synthetic.sentences import sentences
from audio_vq.data.corpora.synthetic.voices import Voice, make_voices
from audio_vq.data.prepare import SplitRule, append_all, complete
from audio_vq.data.prepared import CorpusHeader
from audio_vq.data.splits import check_test_speakers
from audio_vq.data.writer import CorpusWriter, Spoken, explained, refuse_to_overwrite
from audio_vq.espeak import write_english_data
from audio_vq.parallel import in_order

ALIGNMENTS_FOLDER = "alignments"
SHARED_SENTENCES = 0.24  # of a speaker's utterances, read by all speakers, as VCTK's passages are


@dataclass(frozen=True)
class Synthesis:
    """What determines a synthetic corpus, byte for byte."""

    speakers: int = 24
    utterances: int = 100  # per speaker
    seed: int = 0
    sample_rate: int = 16000  # Hz


def prepare_synthetic(
    out: Path, synthesis: Synthesis, rule: SplitRule, *, workers: int, force: bool = False
) -> CorpusHeader:
    """Speak a corpus into the prepared folder `out`, with `out/alignments/<speaker>/<id>.lab`.

    An interrupted run is gone on with, byte for byte.

    Raises:
        UserError: espeak-ng is not installed, unknown test speakers, `out` in use for something else, a full
            disk.
    """
    voices = make_voices(synthesis.speakers, synthesis.seed)
    check_test_speakers([voice.name for voice in voices], rule.test_speakers)
    refuse_to_overwrite(out, force=force)
    with tempfile.TemporaryDirectory(prefix="espeak-") as data:
        write_english_data(Path(data), {voice.name: voice.variant for voice in voices})
        scripts = write_scripts(voices, synthesis, Path(data))
        with CorpusWriter(out, asdict(synthesis), force=force) as writer:
            if force:
                shutil.rmtree(out / ALIGNMENTS_FOLDER, ignore_errors=True)
            waiting = scripts[writer.done // synthesis.utterances :]
            # the engine's state depends on all it has spoken, hence a fresh process for each speaker
            with closing(in_order(render, waiting, workers, fresh_processes=True)) as speakers:
                spoken = _spoken(speakers, out / ALIGNMENTS_FOLDER)
                missing = islice(spoken, writer.done % synthesis.utterances, None)
                append_all(writer, missing, total=synthesis.speakers * synthesis.utterances)
            return complete(
                writer,
                rule,
                corpus="synthetic",
                source=f"espeak-ng, {synthesis.speakers} voices, seed {synthesis.seed}",
                settings={"sample_rate": synthesis.sample_rate, "loudness_db": LOUDNESS_DB},
                speaker_info={voice.name: _info(voice) for voice in voices},
            )


def write_scripts(voices: Sequence[Voice], synthesis: Synthesis, data: Path) -> list[Script]:
    """Give every voice the shared sentences and then its own."""
    shared = round(SHARED_SENTENCES * synthesis.utterances)
    own = synthesis.utterances - shared
    texts = sentences(shared + own * len(voices), synthesis.seed)
    scripts = []
    for index, voice in enumerate(voices):
        first = shared + own * index
        said = [*texts[:shared], *texts[first : first + own]]
        lines = tuple(Line(f"{voice.name}_{number:03d}", text) for number, text in enumerate(said, 1))
        scripts.append(Script(voice, lines, data, synthesis.sample_rate, synthesis.seed))
    return scripts


def _spoken(speakers: Iterator[list[Rendered]], alignments: Path) -> Iterator[list[Spoken]]:
    """Write each utterance's alignment, then hand its samples on: what is in the corpus is aligned."""
    for speaker in speakers:
        for rendered in speaker:
            name, identity = rendered.voice.name, rendered.line.id
            with explained(alignments):
                (alignments / name).mkdir(parents=True, exist_ok=True)
                # half a file does no harm: it is written again before its utterance is in the corpus
                (alignments / name / f"{identity}.lab").write_text(format_lab(rendered.intervals))
            source, text = f"{name}/{identity}", rendered.line.text
            yield [Spoken(identity, name, rendered.samples, rendered.pitch, source, text)]


def format_lab(intervals: Sequence[PhoneInterval]) -> str:
    """Lines `start_seconds end_seconds LABEL`."""
    return "".join(
        f"{interval.start_seconds:.6f} {interval.end_seconds:.6f} {interval.label}\n" for interval in intervals
    )


def _info(voice: Voice) -> dict[str, str]:
    return {"gender": voice.gender, "accent": voice.accent.name, "region": voice.accent.region}
