"""A stand-in model whose units can be reasoned about, and a corpus of tones that it hears perfectly."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from audio_vq.analysis.alignment.alignments import Alignment, write_alignment
from audio_vq.config import EncoderConfig, ModelConfig
from audio_vq.data.prepare import SplitRule, complete
from audio_vq.data.writer import CorpusWriter, Spoken
from audio_vq.pitch import num_frames

RATE, HOP = 8000, 320
TONES = {"SIL": 0, "AA": 400, "IY": 1000, "S": 2600}  # Hz
SPEAKERS = ("ann", "bob")


@dataclass
class ToneModel:
    """Hears which tone sounds in each frame: its units are the phones."""

    speakers: tuple[str, ...] = SPEAKERS
    sample_rate: int = RATE
    hop_length: int = HOP
    codebook_size: int = 8
    unit_rate_hz: float = RATE / HOP
    groups: int = 1
    pitch_classes: int = 0

    @property
    def codebook(self):
        return np.eye(self.codebook_size, 4, dtype=np.float32)[None]  # one group

    @property
    def track_sizes(self):
        return (self.codebook_size,) * self.groups + ((self.pitch_classes,) if self.pitch_classes else ())

    @property
    def bits_per_second(self):
        return float(np.log2(self.track_sizes).sum()) * self.unit_rate_hz

    def encode(self, waveform, sample_rate):
        assert sample_rate == RATE
        frames = np.pad(waveform, (0, -len(waveform) % HOP)).reshape(-1, HOP)
        spectra = np.abs(np.fft.rfft(frames))
        peaks = spectra.argmax(axis=1) * RATE / HOP
        heard = np.searchsorted([200, 700, 1800], peaks)
        return np.where(np.abs(frames).max(axis=1) < 0.01, 0, heard)

    loudness_db = None
    fingerprint = "tones"
    config = ModelConfig(sample_rate=RATE, encoder=EncoderConfig(centred=False))

    @property
    def codec(self):
        network = SimpleNamespace(
            quantizer=SimpleNamespace(groups=self.groups),
            encoder=SimpleNamespace(centred=False),
            pitch_classes=self.pitch_classes,
        )
        return SimpleNamespace(
            network=network,
            chunk_encoder=SimpleNamespace(cut=self.cut, encode=self.both),
            loudness_db=None,
            sample_rate=RATE,
            hop_length=HOP,
            fingerprint=self.fingerprint,
        )

    def cut(self, blocks, _):
        waveform = np.concatenate(list(blocks))
        yield SimpleNamespace(waveform=waveform, recording_samples=len(waveform))

    def both(self, chunks, _):
        for chunk in chunks:
            units = self.in_groups(self.encode(chunk.waveform, RATE))
            yield chunk, SimpleNamespace(units=units, latents=self.latents(chunk.waveform, RATE).astype(np.float32))

    def in_groups(self, heard):
        """Units `(groups, time)`."""
        return heard[None]

    def latents(self, waveform, sample_rate):
        return np.eye(4)[self.encode(waveform, sample_rate)].T  # (4, num_units)

    def decode_many(self, units, speakers, seed=0):
        assert set(speakers) <= set(self.speakers)
        rng = np.random.default_rng(seed)
        return [rng.uniform(-0.1, 0.1, each.shape[-1] * HOP).astype(np.float32) for each in units]

    def conditioning_bits(self, heard):
        assert len(heard.waveform) == len(heard.speaker)
        assert heard.speaker.max() < len(self.speakers)
        return SimpleNamespace(bits_true=1.0, bits_shuffled=3.0, bits_zero=2.5, bits_wrong_speaker=1.5)


def utterance(rng) -> tuple[np.ndarray, Alignment]:
    """Random tones, each a whole number of units long, so that every frame has one phone."""
    # no tone beside itself: one long tone would be two phones
    steps = np.cumsum([rng.integers(3), *rng.integers(1, 3, size=11)])
    labels = ["SIL", *np.array(["AA", "IY", "S"])[steps % 3], "SIL"]
    lengths = rng.integers(1, 4, size=len(labels)) * HOP
    times = np.arange(lengths.sum()) / RATE
    hertz = np.repeat([TONES[label] for label in labels], lengths)
    waveform = np.where(hertz > 0, 0.5 * np.sin(2 * np.pi * hertz * times), 0.0)
    return waveform, Alignment(np.cumsum([0, *lengths]) / RATE, tuple(labels))


def tone_corpus(folder: Path, speakers: tuple[str, ...] = SPEAKERS) -> tuple[Path, Path]:
    """40 utterances by these speakers in turn, half a second trimmed from each recording; and their alignments."""
    corpus, alignments = folder / "corpus", folder / "phones"
    rng = np.random.default_rng(0)
    with CorpusWriter(corpus, {"sample_rate": RATE}, force=False) as writer:
        for number in range(40):
            waveform, alignment = utterance(rng)
            speaker = speakers[number % len(speakers)]
            name = f"{speaker}_{number:02d}"
            samples = np.round(waveform * 32767).astype(np.int16)
            pitch = np.zeros(num_frames(len(samples), RATE), np.float32)
            writer.add(Spoken(name, speaker, samples, pitch, f"{name}.wav", f"sentence {number}", offset_seconds=0.5))
            source = Alignment(np.append(0, alignment.boundaries + 0.5), ("SIL", *alignment.labels))
            write_alignment(alignments / speaker / f"{name}.lab", source)
        complete(
            writer,
            SplitRule(),
            corpus="synthetic",
            source="tones",
            settings={"sample_rate": RATE},
            speaker_info={},
        )
    return corpus, alignments
