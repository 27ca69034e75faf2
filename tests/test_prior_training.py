"""Training of the prior: crops that are a function of the step, n-grams, a task that learns more than they know."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_prior import ONE, THREE, K, random_codes

from audio_vq.codec.prior import unit_bits
from audio_vq.config import PriorConfig, TrainConfig
from audio_vq.data.prepared import CorpusHeader, PreparedCorpus, SplitSize, Utterance
from audio_vq.errors import UserError
from audio_vq.training import prior_task
from audio_vq.training.ngrams import Ngrams, ngram_bits
from audio_vq.training.prior_task import PriorTask, encode_splits
from audio_vq.training.unit_crops import LEAD_IN, NOT_SCORED, UnitCrops


def make_crops(lengths=(5, 60, 200), context=20, **changes):
    settings = {"batch_size": 400, "seed": 0, "speaker_balance": 1.0, **changes}
    places = [1000 * i + np.arange(n) for i, n in enumerate(lengths)]  # a unit tells its place
    sequences = [np.stack([place, -place]) for place in places]
    return UnitCrops(sequences, list(range(len(lengths))), context=context, **settings)


def test_crops_are_pieces_of_their_utterance():
    batch = make_crops().batch(3)
    lengths = np.array([5, 60, 200])
    for code, targets, speaker in zip(batch.codes.numpy(), batch.targets.numpy(), batch.speaker, strict=True):
        length = min(20, lengths[speaker])
        start = code[0, 0] - 1000 * int(speaker)
        assert 0 <= start <= lengths[speaker] - length
        np.testing.assert_array_equal(code[0, :length], code[0, 0] + np.arange(length))
        np.testing.assert_array_equal(code[1], -code[0])
        scored = targets != NOT_SCORED
        expected = (np.arange(20) >= (LEAD_IN if start else 0)) & (np.arange(20) < length)
        np.testing.assert_array_equal(scored, [expected, expected])
        np.testing.assert_array_equal(targets[scored], code[scored])


def test_crops_see_beginnings_often_and_ends_too():
    batch = make_crops(lengths=(200,)).batch(0)
    starts = batch.codes[:, 0, 0]
    assert (starts == 0).float().mean() == pytest.approx(11 / 191, abs=0.04)  # starts from −10 to 180
    assert starts.max() >= 175


def test_crops_are_a_function_of_seed_step_and_rank():
    crops = make_crops()
    same = make_crops().batch(5, rank=1)
    assert torch.equal(crops.batch(5, rank=1).codes, same.codes)
    for other in (crops.batch(5), crops.batch(6, rank=1), make_crops(seed=1).batch(5, rank=1)):
        assert not torch.equal(other.codes, same.codes)


def test_speaker_balance_is_honoured():
    shares = [
        np.bincount(make_crops(speaker_balance=b, batch_size=4000).batch(0).speaker, minlength=3) / 4000
        for b in (0.0, 1.0)
    ]
    np.testing.assert_allclose(shares[0], 1 / 3, atol=0.03)
    np.testing.assert_allclose(shares[1], np.array([5, 60, 200]) / 265, atol=0.03)


def test_ngrams_are_distributions_and_learn_order():
    rng = np.random.default_rng(0)
    cycle = np.arange(600) % 4
    ngrams = Ngrams.fit([cycle, rng.integers(0, 4, 3)], codebook_size=6)
    np.testing.assert_allclose(ngrams.unigram.sum(), 1)
    np.testing.assert_allclose(ngrams.bigram.sum(1), 1)
    assert (ngrams.bigram > 0).all()
    np.testing.assert_allclose(ngrams.bigram[5], ngrams.unigram)  # never seen: nothing but unigrams
    assert ngrams.unigram_bits([cycle]) == pytest.approx(2, abs=0.05)
    assert ngrams.bigram_bits([cycle]) < 0.2


def test_ngrams_of_tracks_add_up():
    rng = np.random.default_rng(0)
    cycle, noise = np.arange(600) % 4, rng.integers(0, 4, 600)
    of_each = [ngram_bits([track[None]], [track[None]], (4,)) for track in (cycle, noise)]
    of_both = ngram_bits([np.stack([cycle, noise])], [np.stack([cycle, noise])], (4, 4))
    assert of_both["unigram_bits"] == pytest.approx(sum(each["unigram_bits"] for each in of_each), abs=2e-5)
    assert of_both["bigram_bits"] == pytest.approx(sum(each["bigram_bits"] for each in of_each), abs=2e-5)


class Codec:
    """Stands for a VQVAE: the waveform says its units, one per 4 samples."""

    sample_rate, hop_length, codebook_size, unit_rate_hz = 16000, 4, K, 4000.0
    track_sizes = ONE
    loudness_db = None  # as recorded
    network = SimpleNamespace(
        quantizer=SimpleNamespace(groups=1), encoder=SimpleNamespace(centred=False), pitch_classes=0
    )

    def __init__(self, fingerprint="one"):
        self.fingerprint = fingerprint
        self.encoded = 0

    def units_of(self, waveform):
        return np.round(np.abs(waveform[::4]) * 100).astype(np.int64)

    @property
    def codec(self):
        return self

    @property
    def chunk_encoder(self):
        return self

    def cut(self, blocks, _):
        waveform = np.concatenate(list(blocks))
        self.encoded += 1
        yield SimpleNamespace(waveform=waveform, recording_samples=len(waveform))

    def encode(self, chunks, _):
        for chunk in chunks:
            yield chunk, SimpleNamespace(units=self.units_of(chunk.waveform)[None])


def second_order(rng, length):
    """A sequence that two units back decide, up to one unit in ten: bigrams do not see it."""
    units = list(rng.integers(0, K, 2))
    while len(units) < length:
        units.append((units[-1] + units[-2]) % K if rng.random() < 0.9 else int(rng.integers(K)))
    return np.array(units)


def make_corpus(folder, splits=("train",) * 40 + ("valid",) * 6):
    rng = np.random.default_rng(0)
    folder.mkdir()
    utterances, audio, start = [], [], 0
    for i, split in enumerate(splits):
        units = second_order(rng, int(rng.integers(10, 90)))
        samples = np.outer(units / 100, [1, -1, 1, -1]).ravel()[: 4 * len(units) - i % 4]  # no offset
        utterances.append(Utterance(f"u{i}", f"s{i % 3}", split, len(samples), start, None, f"u{i}.wav", 0.0))
        audio.append(np.round(samples * 32768).astype("<i2"))
        start += len(samples)
    np.concatenate(audio).tofile(folder / "audio.pcm")
    sizes = {name: SplitSize(splits.count(name), 0.0) for name in ("train", "valid", "test")}
    header = CorpusHeader("folder", "nowhere", 16000, 0.1, ("s0", "s1", "s2"), sizes, (), {})
    return PreparedCorpus(folder, header, tuple(utterances))


def make_task(folder, codec=None, **train):
    corpus = make_corpus(folder / "corpus")
    config = PriorConfig(layers=2, heads=2, channels=32, context=32, dropout=0.0)
    settings = TrainConfig(**{"steps": 1, "batch_size": 16, **train})
    return PriorTask(codec or Codec(), corpus, config, settings, 0, folder / "run")


def test_encoded_once_and_again_for_another_model(tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    first, again, other = Codec(), Codec(), Codec(fingerprint="two")
    train, valid = encode_splits(first, corpus, tmp_path / "run")
    assert (len(train), len(valid)) == (40, 6)
    assert [u.id for u in valid] == [f"u{i}" for i in range(40, 46)]
    for utterance, sequence in zip(corpus.utterances, (*train, *valid), strict=True):
        np.testing.assert_array_equal(sequence.units, Codec().units_of(corpus.waveform(utterance)))
    repeated, _ = encode_splits(again, corpus, tmp_path / "run")
    np.testing.assert_array_equal(train[7].units, repeated[7].units)
    encode_splits(other, corpus, tmp_path / "run")
    assert (first.encoded, again.encoded, other.encoded) == (46, 0, 46)


def test_a_corpus_without_validation_is_refused(tmp_path):
    with pytest.raises(UserError, match="no valid utterance"):
        encode_splits(Codec(), make_corpus(tmp_path / "corpus", splits=("train",) * 3), tmp_path)


def test_learns_more_than_ngrams_know(tmp_path):
    task = make_task(tmp_path)
    before = task.validate(task.network)
    optimizer = torch.optim.Adam(task.parameter_groups(5e-3))
    for step in range(300):
        (part,) = task.losses(task.network, step, 0)
        optimizer.zero_grad()
        part.loss.backward()
        optimizer.step()
    after = task.validate(task.network.eval())
    valid = after.record["valid"]
    assert before.value == pytest.approx(np.log2(K), abs=0.3)
    assert after.value == valid["bits_per_unit"]
    assert valid["bits_per_unit"] < min(valid["unigram_bits"], valid["bigram_bits"]) - 0.5
    assert valid["bigram_bits"] > 3.2  # the toy is one that bigrams cannot see


def test_validation_is_the_mean_over_all_units(tmp_path):
    task = make_task(tmp_path)
    bits = [unit_bits(task.network, [u], [s])[0] for u, s in zip(task.valid, task.valid_speakers, strict=True)]
    assert task.validate(task.network).value == pytest.approx(np.concatenate(bits).mean(), abs=2e-5)


def test_checkpoint_says_which_units_it_is_for(tmp_path):
    info = make_task(tmp_path).info({"step": 3})
    assert info.kind == "prior"
    assert PriorConfig(**info.config).context == 32
    assert info.speakers == ("s0", "s1", "s2")
    expected = {"codebook_size": K, "track_sizes": [K], "unit_rate_hz": 4000.0, "context": 32, "fingerprint": "one"}
    assert expected.items() <= info.data.items()


def test_a_task_of_several_tracks(tmp_path, monkeypatch):
    """Bits are sums over tracks, in training as in validation; those of speech that says nothing are log2 of sizes."""

    def encoded(*_):
        return tuple(
            tuple(SimpleNamespace(units=random_codes(1, 30 + i, THREE, seed=i)[0].numpy(), speaker="s1") for i in part)
            for part in (range(8), range(8, 12))
        )

    monkeypatch.setattr(prior_task, "encode_splits", encoded)
    codec = Codec()
    codec.track_sizes = THREE
    task = make_task(tmp_path, codec, gradient_accumulation=2)
    valid = task.validate(task.network.eval()).record["valid"]
    assert valid["bits_per_track"] == pytest.approx(np.log2(THREE), abs=0.1)
    assert valid["bits_per_unit"] == pytest.approx(sum(valid["bits_per_track"]), abs=5e-5)
    assert valid["unigram_bits"] == pytest.approx(np.log2(THREE).sum(), abs=0.5)
    parts = list(task.losses(task.network, 0, 0))
    assert np.mean([part.bits.item() for part in parts]) == pytest.approx(valid["bits_per_unit"], abs=0.2)
    assert task.info({}).data["track_sizes"] == list(THREE)
