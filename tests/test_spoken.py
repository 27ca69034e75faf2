"""Validation that speaks: what its distance measures, and what it chooses and writes."""

import numpy as np
import pytest
import soundfile

from audio_vq.config import EncoderConfig, ModelConfig, QuantizerConfig, TrainConfig, WaveNetConfig
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.training.spoken import TEMPERATURES, log_mel_distance
from audio_vq.training.vqvae_task import VQVAETask

RATE = 16000
MODEL = ModelConfig(
    pitch=6,
    encoder=EncoderConfig(strides=[1], channels=8, filterbank=16, centred=True),
    quantizer=QuantizerConfig(codebook_size=8, dim=8, groups=2),
    wavenet=WaveNetConfig(bands=4, layers=2, dilation_cycle=2, residual_channels=8, skip_channels=8),
)


def test_distance_of_spectra():
    noise = np.random.default_rng(0).normal(size=RATE).astype(np.float32) * np.float32(0.1)
    assert log_mel_distance(noise, noise, RATE) == 0
    assert log_mel_distance(noise, noise / 2, RATE) == pytest.approx(6.02, abs=0.05)
    assert 40 < log_mel_distance(noise, np.zeros_like(noise), RATE) < 60  # the range, and no more


def test_a_model_reads_aloud(spoken_corpus, tmp_path):
    corpus = PreparedCorpus.open(spoken_corpus)
    task = VQVAETask(corpus, MODEL, TrainConfig(steps=1, crop_length=3200, validation_crops=4), seed=0)
    averaged = task.network.eval()
    reading = task.spoken.reading(averaged)
    assert reading == task.spoken.reading(averaged)
    assert reading.temperature in TEMPERATURES
    assert 0 < reading.log_mel_db < 60
    task.write_samples(averaged, tmp_path)
    originals = sorted(tmp_path.glob("*_original.wav"))
    assert originals
    for original in originals:
        lengths = {soundfile.info(each).frames for each in tmp_path.glob(f"{original.stem[:-9]}*")}
        assert len(lengths) == 1
