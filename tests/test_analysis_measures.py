"""Controls of all measures: units that are phones are perfect, units that are noise say nothing; and oracles."""

import hashlib
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array, vstack
from tones import RATE, ToneModel, tone_corpus

from audio_vq.analysis.measures.acoustics import Acoustics
from audio_vq.analysis.measures.analyze import analyze
from audio_vq.analysis.measures.baselines import fit_mfcc_kmeans
from audio_vq.analysis.measures.probe import fit_linear_probe, one_hot
from audio_vq.analysis.measures.selection import at_most, open_aligned, select_utterances
from audio_vq.analysis.measures.speakers import bigram_frequencies, frequencies, speaker_leakage, wilson_ci95
from audio_vq.errors import UserError


@dataclass
class NoiseModel(ToneModel):
    """Its units depend on the recording as a hash does."""

    def encode(self, waveform, sample_rate):
        digest = hashlib.sha256(waveform.tobytes()).digest()
        count = len(super().encode(waveform, sample_rate))
        return np.random.default_rng([*digest]).integers(self.codebook_size, size=count)

    def latents(self, waveform, sample_rate):
        return self.codebook[0, self.encode(waveform, sample_rate)].T

    @property
    def codebook(self):
        return np.random.default_rng(0).normal(size=(1, self.codebook_size, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def selection(tmp_path_factory):
    return select_utterances(open_aligned(*tone_corpus(tmp_path_factory.mktemp("tones")), RATE), "all", None)


@pytest.fixture(scope="module")
def perfect(selection):
    return analyze(ToneModel(), selection, seed=0).metrics()


@pytest.fixture(scope="module")
def noise(selection):
    return analyze(NoiseModel(), selection, seed=0).metrics()


def test_units_that_are_phones(perfect):
    assert perfect["phones"]["accuracy"] == 1
    assert perfect["phones"]["pnmi"] == pytest.approx(1)
    assert perfect["abx"]["within_speaker"] == perfect["abx"]["across_speaker"] == 0
    assert perfect["abx"]["from_latents"]["across_speaker"] == 0
    assert perfect["baselines"]["unit_probe"]["accuracy"] == perfect["baselines"]["latent_probe"]["accuracy"] == 1
    low, high = perfect["phones"]["ci95"]
    assert low == high == 1


def test_kmeans_is_measured_in_the_same_ways(perfect):
    kmeans = perfect["baselines"]["mfcc_kmeans"]
    assert set(kmeans["segments"]) == set(perfect["segments"])
    assert kmeans["abx"]["across_speaker"] < 0.1  # tones are easy
    assert 4 <= kmeans["used_units"] <= perfect["codebook_size"]
    assert 1 < kmeans["perplexity"] <= kmeans["used_units"]
    low, high = widened(perfect["baselines"]["random_units"]["abx"]["within_ci95"])
    assert low < 0.5 < high


def widened(ci95):
    """Twice the interval: four standard deviations to either side, which chance leaves once in 10,000 times."""
    low, high = ci95
    return low - (high - low) / 2, high + (high - low) / 2


def test_units_that_are_noise(noise):
    phones = noise["phones"]
    low, high = widened(phones["ci95"])
    assert low <= phones["majority"] <= high
    assert low <= phones["shuffled_units"] <= high
    for side in ("within", "across"):
        low, high = widened(noise["abx"][f"{side}_ci95"])
        assert low < 0.5 < high
    assert noise["abx"]["tokens"] > 100
    assert noise["baselines"]["unit_probe"]["accuracy"] < phones["majority"] + 0.05


def test_tones_hold_no_speaker(perfect, noise):
    """40 utterances by two speakers: by chance at most 32 are right, but for 1 case in 10,000 (binomial)."""
    for leakage in (perfect["speaker_leakage"], noise["speaker_leakage"]):
        assert leakage["chance"] == 0.5
        assert leakage["utterances"] == 40
        assert leakage["accuracy"] <= 32 / 40
        low, high = leakage["ci95"]
        assert low <= leakage["accuracy"] <= high


def test_rates_of_tones(perfect):
    rates = perfect["rates"]
    assert rates["fixed_bits_per_second"] == 75
    # the mapping utterances' frequencies are nearly those of the others
    assert rates["unigram"]["bits_per_second"] == pytest.approx(perfect["entropy_bits_per_second"], rel=0.03)
    assert rates["prior"] is None
    assert 1 < rates["runs"]["mean"] < 3
    assert rates["audio_bits_per_second"] == rates["audio_bits_per_sample"] * RATE
    low, high = rates["log_mel_distance"]["ci95"]
    assert 0 < low <= rates["log_mel_distance"]["db"] <= high


def utterance(speaker, number, units, latents=None, log_mel=None):
    rng = np.random.default_rng(number)
    return SimpleNamespace(
        utterance=SimpleNamespace(speaker=speaker, id=f"{speaker}{number}", text=f"sentence {number % 25}"),
        units=units[None],
        pitch=None,
        latents=rng.normal(size=(len(units), 3)) if latents is None else latents,
        acoustics=Acoustics(np.zeros((len(units), 39)), rng.normal(size=8) if log_mel is None else log_mel),
    )


def test_the_speaker_is_found_where_it_is_and_nowhere_else():
    rng = np.random.default_rng(0)
    encoded = []
    for speaker, name in enumerate("abcd"):
        for number in range(25 + 5 * speaker):
            units = rng.integers(8, size=60)
            log_mel = rng.normal(size=8) + 3 * np.eye(8)[speaker]
            encoded.append(utterance(name, number, units, log_mel=log_mel))
    telling = [(each.units + 2 * "abcd".index(each.utterance.speaker)) // 2 for each in encoded]
    leakage = speaker_leakage(encoded, telling, 12, seed=0)
    assert leakage.chance == 1 / 4
    assert leakage.utterances == 4 * 25  # balanced
    # 100 guesses of 1 in 4: 25 ± 3 · 4.3
    assert 0.12 < leakage.units.accuracy < 0.38
    assert leakage.groups == (leakage.units,)
    assert leakage.from_pitch is None
    assert 0.12 < leakage.from_unit_bigrams < 0.38
    assert 0.12 < leakage.from_latents < 0.38
    assert leakage.from_mfcc_kmeans > 0.95
    assert leakage.from_log_mel > 0.9


def test_one_speaker_or_too_few_utterances_are_not_judged():
    units = np.arange(20) % 4
    one = [utterance("a", number, units) for number in range(20)]
    few = [utterance("b", number, units) for number in range(4)]
    assert speaker_leakage([*one, *few], [units[None]] * 24, 4, seed=0) is None
    same_sentence = [utterance(name, 25 * number, units) for name in "ab" for number in range(6)]
    assert speaker_leakage(same_sentence, [units[None]] * 12, 4, seed=0) is None


def test_interval_of_a_share():
    """The textbook's: 1.96² / (n + 1.96²) is what none of n leaves possible, and all of n is its mirror."""
    assert wilson_ci95(0, 35) == pytest.approx((0, 3.8415 / (35 + 3.8415)), abs=1e-4)
    assert wilson_ci95(35, 35) == pytest.approx((1 - 3.8415 / (35 + 3.8415), 1), abs=1e-4)
    low, high = wilson_ci95(5000, 10000)
    assert (low, high) == pytest.approx((0.5 - 0.0098, 0.5 + 0.0098), abs=1e-4)


def test_frequencies_by_hand():
    table = frequencies([np.array([2, 2, 0, 2]), np.array([1])], 3).toarray()
    assert table == pytest.approx(10 * np.sqrt([[1 / 4, 0, 3 / 4], [0, 1, 0]]))
    pairs = bigram_frequencies([np.array([0, 1, 2]), np.array([0, 1]), np.array([2, 2])], 3)
    assert pairs.toarray().ravel() == pytest.approx(10 * np.sqrt([1 / 2, 1, 0]))  # only 0 1 occurs twice


def test_probe_of_units_sees_neighbours():
    rng = np.random.default_rng(0)
    sequences = [rng.integers(6, size=400) for _ in range(3)]
    features = vstack([one_hot(units, 6, 1) for units in sequences], format="csr")
    assert features.shape == (1200, 18)
    assert features[[1]].indices.tolist() == [sequences[0][0], 6 + sequences[0][1], 12 + sequences[0][2]]
    labels = np.concatenate([np.where(np.roll(units, 1) > 2, 4, units) for units in sequences])
    probe = fit_linear_probe(features[:800], labels[:800])
    assert (probe.predict(features[800:]) == labels[800:]).mean() > 0.95
    alone = fit_linear_probe(features[:800, 6:12], labels[:800])
    assert (alone.predict(features[800:, 6:12]) == labels[800:]).mean() < 0.7


def test_probe_of_latents_whatever_their_scale():
    rng = np.random.default_rng(0)
    labels = np.array(["A", "B", "C"])[rng.integers(3, size=2000)]
    vectors = rng.normal(size=(2000, 4)) + 2 * (labels[:, None] == np.array(["A", "B", "C", "-"]))
    mixed = (vectors @ rng.normal(size=(4, 4)) * 1e-4 + 5).astype(np.float32)
    probe, plain = fit_linear_probe(mixed, labels), fit_linear_probe(vectors.astype(np.float32), labels)
    right = (probe.predict(mixed) == labels).mean()
    assert right == pytest.approx((plain.predict(vectors) == labels).mean(), abs=0.01)
    assert right > 0.8  # three Gaussians √8 apart


@pytest.mark.parametrize(
    ("features", "labels"),
    [(np.ones((30, 4), np.float32), "AB"), (np.eye(30, 4, dtype=np.float32), "AA"), (csr_array((30, 0)), "AB")],
    ids=["collapsed", "one class", "no feature"],
)
def test_a_probe_that_sees_nothing_says_the_commonest(features, labels):
    probe = fit_linear_probe(features, np.array([labels[0]] * 20 + [labels[1]] * 10))
    assert set(probe.predict(features)) == {"A"}


def test_kmeans_gives_the_nearest_centre():
    rng = np.random.default_rng(0)
    mfcc = rng.normal(3, 2, size=(500, 39)).astype(np.float32)
    kmeans = fit_mfcc_kmeans([SimpleNamespace(acoustics=Acoustics(mfcc, np.zeros(2)))], 16, seed=0)
    standardised = (mfcc - mfcc.mean(axis=0)) / mfcc.std(axis=0)
    distances = np.linalg.norm(standardised[:, None] - kmeans.centres[0], axis=2)
    assert kmeans.units(mfcc).tolist() == [distances.argmin(axis=1).tolist()]


def test_long_corpora_are_drawn_from(selection):
    seconds = sum(each.num_samples for each in selection.chosen) / RATE
    some = at_most(selection, seconds / 2 / 3600, seed=0)
    assert set(some.scored) <= set(some.chosen) < set(selection.chosen)
    assert sum(each.num_samples for each in some.chosen) / RATE == pytest.approx(seconds / 2, abs=2)
    assert at_most(selection, 1.0, seed=0) == selection
    few = replace(selection, scored=selection.scored[-1:])  # the others have no alignment
    assert at_most(few, seconds / 2 / 3600, seed=0).scored == few.scored
    assert at_most(selection, seconds / 2 / 3600, seed=1).chosen != some.chosen


def test_a_prior_belongs_to_one_checkpoint(tmp_path):
    from audio_vq.cli.analyze import analyze as verb

    with pytest.raises(UserError, match="--prior"):
        verb(["a", "b"], tmp_path, prior="runs/prior", compare=True)
