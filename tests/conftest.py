"""Settings every test shares."""

import os
import shutil
from pathlib import Path

# before NumPy is imported: tests run side by side, and threads of BLAS that wait for each other cost ten times the work
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch

from audio_vq.audio.features import load_librosa
from audio_vq.audio.files import write_audio
from audio_vq.data.corpora.folder import find_folder
from audio_vq.data.corpora.synthetic.corpus import Synthesis, prepare_synthetic
from audio_vq.data.prepare import Processing, SplitRule, prepare
from audio_vq.data.prepared import PITCH_DTYPE, PITCH_FILE, PreparedCorpus

load_librosa()  # before tests that import it do so side by side

VCTK_MINI = Path(__file__).parents[2] / "shared" / "data" / "vctk_mini"


def pytest_collection_modifyitems(items):
    """Long tests first: else one process is still at work on them when the others have done all the rest."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory):
    """A prepared corpus of generated sounds: three speakers (pitches), six recordings each, about a second long."""
    recordings = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    for speaker, pitch in (("ann", 210.0), ("ben", 110.0), ("cleo", 170.0)):
        for number in range(6):
            write_audio(recordings / speaker / f"{speaker}_{number}.wav", babble(rng, pitch), 16000)
    out = tmp_path_factory.mktemp("prepared") / "corpus"
    prepare(find_folder(recordings), out, Processing(), SplitRule(), workers=1)
    return out


@pytest.fixture(scope="session")
def sung_corpus(tiny_corpus, tmp_path_factory):
    """The same, with a pitch that wanders and pauses as that of speech: trackers find none in babble."""
    corpus = shutil.copytree(tiny_corpus, tmp_path_factory.mktemp("sung") / "corpus")
    rng = np.random.default_rng(0)
    frames = (corpus / PITCH_FILE).stat().st_size // PITCH_DTYPE.itemsize
    steps = np.where(rng.random(frames) < 0.1, rng.normal(0, 0.2, frames), 0)
    voiced = np.cumsum(rng.random(frames) < 0.1) % 3 > 0
    (150 * np.exp(steps) * voiced).astype(PITCH_DTYPE).tofile(corpus / PITCH_FILE)
    return corpus


def babble(rng, pitch, seconds=1.2, sample_rate=16000):
    """Vowel-like and noise-like stretches of 0.1 s, float32 `(time,)`."""
    pieces = []
    for _ in range(round(seconds / 0.1)):
        time = np.arange(sample_rate // 10) / sample_rate
        formant = rng.choice([400.0, 800.0, 1600.0])
        voiced = np.sin(2 * np.pi * pitch * time) * np.sin(2 * np.pi * formant * time)
        pieces.append(0.3 * voiced if rng.random() < 0.6 else 0.05 * rng.standard_normal(len(time)))
    return np.concatenate(pieces).astype(np.float32)


@pytest.fixture(scope="session")
def spoken_corpus(tmp_path_factory):
    """A synthetic corpus of three voices: sentences, transcripts and exact phone alignments."""
    out = tmp_path_factory.mktemp("synthetic") / "corpus"
    prepare_synthetic(out, Synthesis(speakers=3, utterances=6), SplitRule(), workers=2)
    return out


@pytest.fixture(scope="session")
def vctk_tree(spoken_corpus, tmp_path_factory):
    """The same recordings laid out as VCTK 0.92."""
    root = tmp_path_factory.mktemp("vctk") / "VCTK-Corpus-0.92"
    corpus = PreparedCorpus.open(spoken_corpus)
    for utterance in corpus.utterances:
        flac = root / "wav48_silence_trimmed" / utterance.speaker / f"{utterance.id}_mic1.flac"
        write_audio(flac, corpus.waveform(utterance), corpus.sample_rate)
        text = root / "txt" / utterance.speaker / f"{utterance.id}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(f"{utterance.text}\n")
    return root
