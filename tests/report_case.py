"""A small corpus with units of any number, as the report and the atlas see it; nothing here was measured."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from audio_vq.analysis.alignment.alignments import Alignment, read_alignment, write_alignment
from audio_vq.analysis.measures.phones import LabelledUnits, frame_centres, label_frames, score_phones
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
    """What the report asks of a model: a codebook and a voice."""

    codebook: np.ndarray
    speakers: tuple[str, ...] = SPEAKERS

    def decode_many(self, units, speakers, seed=0):
        assert set(speakers) <= set(self.speakers)
        rng = np.random.default_rng(seed)
        return [rng.uniform(-0.1, 0.1, len(each) * HOP).astype(np.float32) for each in units]


@dataclass
class Encoded:
    utterance: object
    units: np.ndarray
    alignment: Alignment
    latents: np.ndarray


@dataclass
class Case:
    model: Model
    analysis: SimpleNamespace
    metrics: dict
    corpus: PreparedCorpus


def make_case(folder: Path, codebook_size: int, *, used: int, utterances: int = 6, seed: int = 0) -> Case:
    """Units 0 to `used` - 1 occur, each in a phone of its own class where it can; the others never do."""
    rng = np.random.default_rng(seed)
    corpus = write_corpus(folder, rng, utterances)
    codebook = rng.standard_normal((codebook_size, DIM)).astype(np.float32)
    scored = tuple(_encode(rng, folder, each, codebook, used) for each in corpus.utterances)
    frames = [_label(each) for each in scored]
    phones = score_phones(frames, frames, codebook_size=codebook_size, seed=0)
    chosen = corpus.utterances
    analysis = SimpleNamespace(
        selection=SimpleNamespace(
            scored_corpus=SimpleNamespace(corpus=corpus, folder=folder / "phones"),
            split="test", mapping_name="train split", mapping=chosen, chosen=chosen, scored=chosen,
        ),
        coverage=SimpleNamespace(scored=SimpleNamespace(aligned=1.0, phones=0.8)),
        unit_rate_hz=RATE / HOP,
        hop_length=HOP,
        counts=usage((each.units for each in scored), codebook_size),
        scored=scored,
        phones=phones,
        latents_used={"bits_true": 1.0},
    )  # fmt: skip
    return Case(Model(codebook), analysis, metrics(phones, codebook_size, used), corpus)


def metrics(phones, codebook_size: int, used: int) -> dict:
    figures = phones.figures()
    errors = {"within_speaker": 0.2, "within_ci95": (0.15, 0.25), "across_speaker": 0.3, "across_ci95": (0.2, 0.4)}
    return {
        "unit_rate_hz": 50.0, "codebook_size": codebook_size, "used_units": used, "perplexity": used / 2,
        "bits_per_second": 450.0, "entropy_bits_per_second": 400.0, "phones": figures,
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


def _encode(rng, folder: Path, utterance, codebook: np.ndarray, used: int) -> Encoded:
    alignment = read_alignment(folder / "phones" / utterance.speaker / f"{utterance.id}.lab")
    count = -(-utterance.num_samples // HOP)
    units = np.repeat(rng.integers(0, used, count), rng.integers(1, 4, count))[:count]
    latents = codebook[units] + 0.1 * rng.standard_normal((count, DIM)).astype(np.float32)
    return Encoded(utterance, units, alignment, latents)


def _label(each: Encoded) -> LabelledUnits:
    centres = frame_centres(len(each.units), HOP, each.utterance.num_samples, RATE)
    return LabelledUnits(each.utterance.id, each.units, label_frames(each.alignment, centres, 0.0))
