"""Rates: the ideal code of units under models of them; distances of spectra."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audio_vq.analysis.measures.rates import MEL_RANGE_DB, mel_distance_db, prior_rate, run_statistics, unigram_rate
from audio_vq.codec.prior import track_bits
from audio_vq.models.prior import PriorModel


def test_unigram_rate_is_the_cross_entropy():
    rng = np.random.default_rng(0)
    mapping = [rng.choice(4, p=[0.7, 0.1, 0.1, 0.1], size=(2, 500)) for _ in range(4)]
    chosen = [rng.choice(4, p=[0.4, 0.2, 0.2, 0.2], size=(2, 300)) for _ in range(2)]
    sizes = (5, 4)
    rate = unigram_rate(mapping, chosen, sizes, 50.0)
    expected = 0.0
    for track, size in enumerate(sizes):  # the fifth value of the first never occurs, but might
        counts = np.bincount(np.concatenate([each[track] for each in mapping]), minlength=size) + 1
        expected += -np.log2(counts / counts.sum())[np.concatenate([each[track] for each in chosen])].mean()
    assert rate.bits_per_unit == pytest.approx(expected)
    assert rate.bits_per_second == 50 * rate.bits_per_unit
    assert rate.utterances == 2


@pytest.fixture(scope="module", params=[(12,), (12, 12, 5)], ids=["one track", "two groups and pitch"])
def prior(request):
    torch.manual_seed(0)
    network = PriorModel(request.param, speakers=2, layers=1, channels=16, heads=2, context=16).eval()
    with torch.no_grad():
        for head in network.tracks:
            head.output.weight.mul_(20)  # sure of itself
    return SimpleNamespace(
        network=network, info=SimpleNamespace(speakers=("ann", "ben"), speaker_index=("ann", "ben").index)
    )


def test_prior_rate_is_what_the_prior_needs(prior):
    rng = np.random.default_rng(0)
    sizes = prior.network.track_sizes

    def code(length):
        tracks = np.stack([rng.integers(size, size=length) for size in sizes])
        return tracks if len(sizes) > 1 else tracks[0]

    chosen = [
        SimpleNamespace(utterance=SimpleNamespace(speaker=name), code=code(length))
        for name, length in (("ann", 40), ("carol", 25), ("ben", 7), ("ann", 1))
    ]
    rate = prior_rate(prior, chosen, 25.0)
    assert rate.utterances == 3  # carol is unknown
    known = [each.code for each in chosen if each.utterance.speaker != "carol"]
    bits = sum(each.sum() for each in track_bits(prior.network, known, [0, 1, 0]))
    assert rate.bits_per_unit * 48 == pytest.approx(bits, rel=1e-6)  # of all tracks together
    assert prior_rate(prior, chosen[1:2], 25.0) is None


def test_run_statistics_by_hand():
    runs = run_statistics([np.array([1, 1, 1, 2]), np.array([2]), np.array([3, 4])])
    assert (runs.mean, runs.median) == (7 / 5, 1)
    assert runs.p90 == pytest.approx(2.2)  # of 1 1 1 1 3
    assert runs.repeated == 2 / 4


def test_distance_of_spectra():
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    assert mel_distance_db(noise, noise, 16000) == 0
    # half the amplitude: 6.02 dB in every band and frame, as none is near the floor
    assert mel_distance_db(noise, noise / 2, 16000) == pytest.approx(20 * np.log10(2), abs=1e-3)
    assert mel_distance_db(noise, np.zeros_like(noise), 16000) < MEL_RANGE_DB
    assert mel_distance_db(noise, noise[:8000], 16000) == 0
