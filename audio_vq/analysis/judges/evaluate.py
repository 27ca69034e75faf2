"""Conversions judged by independent models, beside what real recordings get."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from audio_vq.analysis.alignment.lexicon import spoken_words
from audio_vq.analysis.judges.clips import ClipFolder, asked_contour, make_clips, maker_of, read_clip
from audio_vq.analysis.judges.distortion import distortion_figures
from audio_vq.analysis.judges.pairs import Pair, Pairs, long_enough
from audio_vq.analysis.judges.panel import Clip, Impression, Panel, hear
from audio_vq.analysis.judges.scores import (
    CONDITIONS,
    Comparison,
    SpeakerReference,
    pitch_figures,
    score,
    semitones,
    summarise,
)
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.pretrained import VQVAE

REFERENCES = 12  # training recordings per speaker that stand for the voice
JUDGED = "judged.jsonl"  # in the folder of clips: what judges heard


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
        _other_texts([_text(pair.source) for pair in chosen.pairs]),
        _other_texts([_text(pair.real_target) for pair in chosen.pairs]),
        strict=True,
    )
    scored = [
        _PairScores(pair, clips, corpus, heard, voices, other) for pair, other in zip(chosen.pairs, others, strict=True)
    ]
    conditions = {}
    for condition in CONDITIONS:
        ratios = [each.figures[condition] for each in scored if condition in each.figures]
        recordings = [each.recordings[condition] for each in scored if condition in each.figures]
        conditions[condition] = summarise(ratios, recordings, seed=options.seed)
    return conditions | {
        "pairs": len(chosen.pairs),
        "source_recordings": len({pair.source for pair in chosen.pairs}),
        "source_speakers": sorted({pair.source.speaker for pair in chosen.pairs}),
        "unknown_source_speakers": sorted({pair.source.speaker for pair in chosen.pairs} - set(model.speakers)),
        "target_speakers": sorted({pair.target for pair in chosen.pairs}),
        "skipped": _skipped(chosen, scored),
        "references_per_speaker": {name: len(recordings) for name, recordings in references.items()},
        "judges": dict(panel.versions),
        "clips": [each.to_json(out) for each in scored],
    }


def _skipped(chosen: Pairs, scored: "Sequence[_PairScores]") -> dict[str, int]:
    """What did not take part, or not in every figure."""
    return {
        "recordings_too_short": chosen.too_short,
        "pairs_without_transcript": sum(not _text(pair.source) for pair in chosen.pairs),
        "pairs_without_reconstruction": sum("reconstructed" not in each.figures for each in scored),
        "pairs_without_real_target": sum("real_target" not in each.figures for each in scored),
        "pairs_without_parallel_sentence": sum(pair.parallel is None for pair in chosen.pairs),
    }


def _text(utterance: Utterance | None) -> str:
    """What is said; empty where no word of it is known."""
    return utterance.text or "" if utterance and spoken_words(utterance.text or "") else ""


def _other_texts(texts: Sequence[str]) -> list[str]:
    """For each the next one that says something else; empty where it is empty itself, or all say the same."""
    turned = [[*texts[number:], *texts[:number]] for number in range(len(texts))]
    return [next((other for other in each if each[0] and other not in ("", each[0])), "") for each in turned]


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
    files = [file for pair in pairs for file in clips.of_pair(pair).values()]
    wanted: dict[str, Callable[[], Clip]] = {str(file): partial(read_clip, file) for file in files}
    for utterance in (each for recordings in references.values() for each in recordings):
        wanted[f"reference {_name(utterance)}"] = partial(_read_reference, corpus, utterance)
    return wanted


def _read_reference(corpus: PreparedCorpus, utterance: Utterance) -> Clip:
    return Clip(corpus.waveform(utterance), corpus.sample_rate, reference=True)


class _PairScores:
    """A pair's clips with their figures."""

    def __init__(
        self,
        pair: Pair,
        clips: ClipFolder,
        corpus: PreparedCorpus,
        heard: Mapping[str, Impression],
        voices: Mapping[str, SpeakerReference],
        other_texts: tuple[str, str],  # than the source's and than the real target's
    ) -> None:
        self.pair = pair
        self.files = clips.of_pair(pair)
        self.heard = {condition: heard[str(file)] for condition, file in self.files.items()}
        source, target = voices[pair.source.speaker], voices[pair.target]
        real_target = pair.real_target or pair.source
        contour = semitones(self.heard["real_source"].f0)
        moved = contour + target.median_semitones() - source.median_semitones()
        flat = np.array([target.median_semitones()])
        expected = {"converted": moved, "reconstructed": contour, "real_target": flat, "real_source": moved}
        texts = {"real_target": _text(real_target)}
        excluded = tuple(_name(each) for each in (pair.source, pair.real_target, pair.parallel) if each)
        distances = distortion_figures(corpus, pair, self.files)
        self.figures = {
            condition: score(
                Comparison(
                    impression=impression,
                    text=texts.get(condition, _text(pair.source)),
                    other_text=other_texts[condition == "real_target"],
                    source=source,
                    target=target,
                    excluded=excluded,
                    expected=expected[condition],
                )
            )
            | pitch_figures(impression.f0, asked_contour(self.files[condition]))
            | distances[condition]
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
            "parallel": _name(self.pair.parallel) if self.pair.parallel else None,
            "parallel_split": self.pair.parallel.split if self.pair.parallel else None,
            "real_target_text": self.pair.real_target.text if self.pair.real_target else None,
            "files": {condition: file.relative_to(out).as_posix() for condition, file in self.files.items()},
            "heard": {condition: impression.words for condition, impression in self.heard.items()},
            "figures": {
                condition: {name: value / weight if weight else None for name, (value, weight) in figures.items()}
                for condition, figures in self.figures.items()
            },
        }
