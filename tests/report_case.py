"""A small corpus with units of any number, as the report and the atlas see it; nothing here was measured."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from audio_vq.analysis.alignment.alignments import Alignment, read_alignment, write_alignment
from audio_vq.analysis.measures.abx import AbxErrors
from audio_vq.analysis.measures.acoustics import Acoustics
from audio_vq.analysis.measures.encoded import EncodedUtterance, phones_of, vectors
from audio_vq.analysis.measures.groups import GroupScores, PitchUse
from audio_vq.analysis.measures.phones import LabelledUnits, score_phones
from audio_vq.analysis.measures.segments import BoundaryScores
from audio_vq.data.prepare import SplitRule, complete
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.data.writer import CorpusWriter, Spoken
from audio_vq.pitch import num_frames
from audio_vq.units import usage

RATE, HOP, DIM = 16000, 320, 6
PHONES = ("SIL", "AA", "IY", "M", "T", "S", "L", "CH")
SPEAKERS = ("ann", "bob", "cyd")


@dataclass
class Model:
    """What the report asks of a model: codebooks and a voice."""

    codebook: np.ndarray  # (groups, K, dim / groups)
    speakers: tuple[str, ...] = SPEAKERS

    def decode_many(self, units, speakers, seed=0):
        assert set(speakers) <= set(self.speakers)
        rng = np.random.default_rng(seed)
        return [rng.uniform(-0.1, 0.1, each.shape[-1] * HOP).astype(np.float32) for each in units]


@dataclass
class Case:
    model: Model
    analysis: SimpleNamespace
    metrics: dict
    corpus: PreparedCorpus


def make_case(
    folder: Path, codebook_size: int, *, used: int, utterances: int = 6, groups: int = 1, pitch: int = 0, seed: int = 0
) -> Case:
    """Units 0 to `used` - 1 of each group occur; the others never do. `pitch`: how many classes."""
    rng = np.random.default_rng(seed)
    corpus = write_corpus(folder, rng, utterances)
    codebook = rng.standard_normal((groups, codebook_size, DIM // groups)).astype(np.float32)
    scored = tuple(_encode(rng, folder, each, codebook, used, pitch) for each in corpus.utterances)
    alone = tuple(_group(scored, group, codebook_size) for group in range(groups))
    chosen = corpus.utterances
    analysis = SimpleNamespace(
        selection=SimpleNamespace(
            scored_corpus=SimpleNamespace(corpus=corpus, folder=folder / "phones"),
            split="test", mapping_name="train split", mapping=chosen, chosen=chosen, scored=chosen,
        ),
        coverage=SimpleNamespace(scored=SimpleNamespace(aligned=1.0, phones=0.8)),
        unit_rate_hz=RATE / HOP,
        hop_length=HOP,
        codebook_size=codebook_size,
        groups=alone,
        pitch=PitchUse(usage((each.pitch for each in scored), pitch)) if pitch else None,
        scored=scored,
        phones=alone[0].phones,
        latents_used={"bits_true": 1.0},
    )  # fmt: skip
    return Case(Model(codebook), analysis, metrics(analysis, used), corpus)


def metrics(analysis, used: int) -> dict:
    figures, pitch = analysis.phones.figures(), analysis.pitch
    errors = {"within_speaker": 0.2, "within_ci95": (0.15, 0.25), "across_speaker": 0.3, "across_ci95": (0.2, 0.4)}
    return {
        "unit_rate_hz": 50.0, "codebook_size": analysis.codebook_size, "used_units": used, "perplexity": used / 2,
        "bits_per_second": 450.0, "entropy_bits_per_second": 400.0, "phones": figures,
        "groups": [group.figures(50.0) for group in analysis.groups], "pitch": pitch and pitch.figures(50.0),
        "segments": {"boundary_precision": 0.5, "boundary_recall": 0.6, "f1": 0.55, "r_value": 0.4},
        "abx": errors | {"from_latents": errors, "measured_on": "six utterances"},
        "speaker_leakage": {"accuracy": 0.4, "ci95": (0.2, 0.6), "chance": 0.33, "from_log_mel": 0.9},
        "latents_used": {"bits_true": 1.0, "bits_shuffled": 3.0, "bits_zero": 2.5, "bits_wrong_speaker": None},
        "baselines": {"random_units": figures | {"abx": errors}, "mfcc_kmeans": figures},
    }  # fmt: skip


def write_corpus(folder: Path, rng, utterances: int) -> PreparedCorpus:
    with CorpusWriter(folder / "corpus", {"sample_rate": RATE}, force=False) as writer:
        for number in range(utterances):
            speaker = SPEAKERS[number % len(SPEAKERS)]
            name = f"{speaker}_{number:02d}"
            labels = ["SIL", *rng.choice(PHONES[1:], size=10), "SIL"]
            boundaries = np.cumsum([0.0, *rng.uniform(0.06, 0.2, size=len(labels))])
            samples = (3000 * rng.standard_normal(int(boundaries[-1] * RATE))).astype(np.int16)
            pitch, sentence = np.zeros(num_frames(len(samples), RATE), np.float32), f"</script> sentence {number}"
            writer.add(Spoken(name, speaker, samples, pitch, f"{name}.wav", sentence, offset_seconds=0.0))
            write_alignment(folder / "phones" / speaker / f"{name}.lab", Alignment(boundaries, tuple(labels)))
        settings = {"sample_rate": RATE}
        complete(writer, SplitRule(), corpus="folder", source="noise", settings=settings, speaker_info={})
    return PreparedCorpus.open(folder / "corpus")


def _encode(rng, folder: Path, utterance, codebook: np.ndarray, used: int, pitch: int) -> EncodedUtterance:
    alignment = read_alignment(folder / "phones" / utterance.speaker / f"{utterance.id}.lab")
    count = -(-utterance.num_samples // HOP)
    units = np.stack([_runs(rng, used, count) for _ in codebook])
    latents = vectors(units, codebook) + 0.1 * rng.standard_normal((count, DIM)).astype(np.float32)
    return EncodedUtterance(
        utterance, units, _runs(rng, pitch, count) if pitch else None, alignment, latents, Acoustics(latents, latents)
    )


def _runs(rng, used: int, count: int) -> np.ndarray:
    return np.repeat(rng.integers(0, used, count), rng.integers(1, 4, count))[:count]


def _group(scored, group: int, codebook_size: int) -> GroupScores:
    frames = [LabelledUnits(each.utterance.id, each.units[group], phones_of(each, HOP, RATE)) for each in scored]
    phones = score_phones(frames, frames, codebook_size=codebook_size, seed=0)
    nothing = AbxErrors(None, None, None, None)
    counts = usage((each.units[group] for each in scored), codebook_size)
    return GroupScores(counts, phones, BoundaryScores(0.5, 0.6, 0.55, 0.4), nothing, None)
