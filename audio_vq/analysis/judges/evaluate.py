"""Conversions judged by independent models, beside what real recordings get."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from audio_vq.analysis.judges.pairs import Pair, Pairs, long_enough
from audio_vq.analysis.judges.panel import Clip, Impression, Panel, hear
from audio_vq.analysis.judges.scores import CONDITIONS, Comparison, SpeakerReference, score, semitones, summarise
from audio_vq.audio import read_audio, write_audio
from audio_vq.codec.conversion import Conversion, convert_all
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.data.prepared import PreparedCorpus, Utterance, corpus_sources
from audio_vq.errors import UserError
from audio_vq.pretrained import VQVAE
from audio_vq.progress import progress_bar

REFERENCES = 12  # training recordings per speaker that stand for the voice
JUDGED = "judged.jsonl"  # in the folder of clips: what judges heard
MADE_BY = "made_by.txt"  # there too: which model and settings made the clips


@dataclass(frozen=True)
class ClipFolder:
    """The wav files of an evaluation: conversions and, to listen to beside them, recordings."""

    folder: Path

    def converted(self, utterance: Utterance, speaker: str) -> Path:
        return self.folder / utterance.speaker / f"{utterance.id}_to_{speaker}.wav"

    def recording(self, utterance: Utterance) -> Path:
        return self.folder / utterance.speaker / f"{utterance.id}.wav"

    def claim(self, maker: str) -> None:
        """Raises UserError where another maker's clips lie here."""
        mark = self.folder / MADE_BY
        if mark.is_file() and mark.read_bytes() != maker.encode():
            raise UserError(
                f"{self.folder} holds conversions of another model, corpus or setting; give --force, or another --out"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(maker, encoding="utf-8")


def forget(out: Path) -> None:
    """Take away what an earlier evaluation left in `out`."""
    (out / "conversion.json").unlink(missing_ok=True)
    if (out / "clips" / MADE_BY).is_file():
        shutil.rmtree(out / "clips")


def maker_of(model: VQVAE, corpus: PreparedCorpus, options: SamplingOptions) -> str:
    """Names what a conversion depends on beside its recording and voice."""
    digest = blake2b(digest_size=16)
    for tensor in model.network.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    digest.update(repr((corpus.header.to_json(), options, model.codec.precision, str(model.device))).encode())
    return digest.hexdigest()


def make_clips(
    model: VQVAE, corpus: PreparedCorpus, pairs: Sequence[Pair], clips: ClipFolder, options: SamplingOptions
) -> None:
    """Write what is missing: each source in the voices of its pairs and in its own, and the recordings themselves."""
    voices: dict[Utterance, dict[str, None]] = {}
    for pair in pairs:
        own = (pair.source.speaker,) if pair.source.speaker in model.speakers else ()
        voices.setdefault(pair.source, {}).update(dict.fromkeys((pair.target, *own)))
        for utterance in (pair.source, pair.real_target):
            if utterance and not clips.recording(utterance).exists():
                write_audio(clips.recording(utterance), corpus.waveform(utterance), corpus.sample_rate)
    missing = {
        each: tuple(name for name in names if not clips.converted(each, name).exists())
        for each, names in voices.items()
    }
    todo = [each for each, names in missing.items() if names]
    total = sum(map(len, voices.values()))
    left = sum(map(len, missing.values()))
    wanted = [
        Conversion(source, tuple(model.speaker_index(name) for name in missing[each]))
        for each, source in zip(todo, corpus_sources(corpus, todo), strict=True)
    ]
    with progress_bar("converting", total=total, completed=total - left) as bar:
        for made in convert_all(model.codec, wanted, options):
            clip = clips.converted(todo[made.conversion], model.speakers[made.speaker])
            write_audio(clip, made.waveform, model.sample_rate)
            bar.advance()


def evaluate(
    model: VQVAE, corpus: PreparedCorpus, chosen: Pairs, panel: Panel, out: Path, options: SamplingOptions
) -> dict[str, Any]:
    """Convert the pairs into `out`/clips and have everything judged: the content of conversion.json.

    What `out` holds already of the same conversions and judgements is not made again.
    """
    clips = ClipFolder(out / "clips")
    clips.claim(maker_of(model, corpus, options))
    make_clips(model, corpus, chosen.pairs, clips, options)
    references = _references(corpus, chosen.pairs, options.seed)
    heard = hear(_clips(corpus, chosen.pairs, clips, references), panel, clips.folder / JUDGED)
    voices = {
        speaker: SpeakerReference({_name(each): heard[f"reference {_name(each)}"] for each in recordings})
        for speaker, recordings in references.items()
    }
    others = zip(
        _other_texts([pair.source.text for pair in chosen.pairs]),
        _other_texts([pair.real_target.text if pair.real_target else None for pair in chosen.pairs]),
        strict=True,
    )
    scored = [_PairScores(pair, clips, heard, voices, other) for pair, other in zip(chosen.pairs, others, strict=True)]
    conditions = {}
    for condition in CONDITIONS:
        ratios = [each.figures[condition] for each in scored if condition in each.figures]
        recordings = [each.recordings[condition] for each in scored if condition in each.figures]
        conditions[condition] = summarise(ratios, recordings, seed=options.seed)
    return conditions | {
        "pairs": len(chosen.pairs),
        "source_recordings": len({pair.source for pair in chosen.pairs}),
        "source_speakers": sorted({pair.source.speaker for pair in chosen.pairs}),
        "target_speakers": sorted({pair.target for pair in chosen.pairs}),
        "skipped": {
            "recordings_without_text": chosen.without_text,
            "recordings_too_short": chosen.too_short,
            "pairs_without_reconstruction": sum("reconstructed" not in each.figures for each in scored),
            "pairs_without_real_target": sum("real_target" not in each.figures for each in scored),
        },
        "references_per_speaker": {name: len(recordings) for name, recordings in references.items()},
        "judges": dict(panel.versions),
        "clips": [each.to_json(out) for each in scored],
    }


def _other_texts(texts: Sequence[str | None]) -> list[str | None]:
    """For each the next one that says something else; None where all say the same."""
    turned = [[*texts[number:], *texts[:number]] for number in range(len(texts))]
    return [next((other for other in each if other and other != each[0]), None) for each in turned]


def _name(utterance: Utterance) -> str:
    return f"{utterance.speaker}/{utterance.id}"


def _references(corpus: PreparedCorpus, pairs: Sequence[Pair], seed: int) -> dict[str, list[Utterance]]:
    """Training recordings that stand for each speaker's voice; any others where there are none."""
    rng = np.random.default_rng(seed)
    references = {}
    for speaker in sorted({name for pair in pairs for name in (pair.source.speaker, pair.target)}):
        own = [each for each in corpus.utterances if each.speaker == speaker and long_enough(corpus, each)]
        training = [each for each in own if each.split == "train"] or own
        references[speaker] = [training[index] for index in rng.permutation(len(training))[:REFERENCES]]
    return references


def _clips(
    corpus: PreparedCorpus, pairs: Sequence[Pair], clips: ClipFolder, references: Mapping[str, Sequence[Utterance]]
) -> dict[str, Callable[[], Clip]]:
    """Everything to be judged, read when its turn comes."""
    files = [file for pair in pairs for file in condition_files(pair, clips).values()]
    wanted: dict[str, Callable[[], Clip]] = {str(file): partial(_read_clip, file) for file in files}
    for utterance in (each for recordings in references.values() for each in recordings):
        wanted[f"reference {_name(utterance)}"] = partial(_read_reference, corpus, utterance)
    return wanted


def _read_clip(file: Path) -> Clip:
    audio = read_audio(file)
    return Clip(audio.waveform, audio.sample_rate)


def _read_reference(corpus: PreparedCorpus, utterance: Utterance) -> Clip:
    return Clip(corpus.waveform(utterance), corpus.sample_rate, reference=True)


def condition_files(pair: Pair, clips: ClipFolder) -> dict[str, Path]:
    """The clip of each condition that this pair has."""
    source, own = pair.source, clips.converted(pair.source, pair.source.speaker)
    files = {"converted": clips.converted(source, pair.target)}
    if own.exists():  # the model speaks in the source's voice
        files["reconstructed"] = own
    if pair.real_target:
        files["real_target"] = clips.recording(pair.real_target)
    return files | {"real_source": clips.recording(source)}


class _PairScores:
    """A pair's clips with their figures."""

    def __init__(
        self,
        pair: Pair,
        clips: ClipFolder,
        heard: Mapping[str, Impression],
        voices: Mapping[str, SpeakerReference],
        other_texts: tuple[str | None, str | None],  # than the source's and than the real target's
    ) -> None:
        self.pair = pair
        self.files = condition_files(pair, clips)
        self.heard = {condition: heard[str(file)] for condition, file in self.files.items()}
        source, target = voices[pair.source.speaker], voices[pair.target]
        real_target = pair.real_target or pair.source
        contour = semitones(self.heard["real_source"].f0)
        moved = contour + target.median_semitones() - source.median_semitones()
        flat = np.array([target.median_semitones()])
        expected = {"converted": moved, "reconstructed": contour, "real_target": flat, "real_source": moved}
        texts = {"real_target": real_target.text or ""}
        excluded = (_name(pair.source), _name(real_target))
        self.figures = {
            condition: score(
                Comparison(
                    impression=impression,
                    text=texts.get(condition, pair.source.text or ""),
                    other_text=other_texts[condition == "real_target"],
                    source=source,
                    target=target,
                    excluded=excluded,
                    expected=expected[condition],
                )
            )
            for condition, impression in self.heard.items()
        }
        self.recordings = {
            condition: _name(real_target if condition == "real_target" else pair.source) for condition in self.heard
        }

    def to_json(self, out: Path) -> dict[str, Any]:
        return {
            "source": _name(self.pair.source),
            "target": self.pair.target,
            "text": self.pair.source.text,
            "real_target_text": self.pair.real_target.text if self.pair.real_target else None,
            "files": {condition: file.relative_to(out).as_posix() for condition, file in self.files.items()},
            "heard": {condition: impression.words for condition, impression in self.heard.items()},
            "figures": {
                condition: {name: value / weight if weight else None for name, (value, weight) in figures.items()}
                for condition, figures in self.figures.items()
            },
        }
