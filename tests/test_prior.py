"""The prior: causal, cached = plain, crops that are a function of the step, better than n-grams."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.prior import CachedPrior, sample_units, unit_bits
from audio_vq.config import PriorConfig, TrainConfig
from audio_vq.data.prepared import CorpusHeader, PreparedCorpus, SplitSize, Utterance
from audio_vq.errors import UserError
from audio_vq.models.prior import build_prior, rotary, rotate
from audio_vq.training.ngrams import Ngrams
from audio_vq.training.prior_task import PriorTask, encode_splits
from audio_vq.training.unit_crops import LEAD_IN, NOT_SCORED, UnitCrops

K, SPEAKERS = 12, 3


def make_prior(context=16, seed=0, **changes):
    torch.manual_seed(seed)
    config = PriorConfig(**{"layers": 2, "heads": 2, "channels": 16, "context": context, "dropout": 0.0, **changes})
    prior = build_prior(config, K, SPEAKERS)
    with torch.no_grad():  # as decided as a trained one, so that differences would be seen
        for parameter in prior.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
            else:  # scales of norms
                parameter.mul_(1 + 0.5 * torch.rand(parameter.shape))
    return prior.eval()


def random_units(*shape, seed=1):
    return torch.randint(K, shape, generator=torch.Generator().manual_seed(seed))


def test_logits_depend_on_earlier_units_only():
    prior = make_prior().double()
    inputs = prior.inputs(random_units(1, 9), torch.tensor([1])).detach().requires_grad_()
    for t in range(10):
        (gradient,) = torch.autograd.grad(prior.predict(inputs)[0, t].sum(), inputs)
        assert (gradient[0, t + 1 :] == 0).all()
        assert (gradient[0, : t + 1] != 0).any(1).all()  # input 0 is the speaker, input i unit i − 1


def test_forward_shifts_units_by_one():
    prior = make_prior()
    units = random_units(2, 9)
    changed = units.clone()
    changed[:, 5] = (changed[:, 5] + 1) % K
    speaker = torch.tensor([0, 2])
    difference = (prior(units, speaker) - prior(changed, speaker)).abs().amax(1)  # (B, T)
    assert (difference[:, :6] == 0).all()
    assert (difference[:, 6:] > 0).all()
    assert ((prior(units, speaker) - prior(units, speaker.flip(0))).abs().amax(1) > 0).all()


def test_rotated_products_depend_on_the_distance_only():
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 8, generator=generator, dtype=torch.float64)

    def product(query_position, key_position):
        at = (rotate(x, rotary(p, 1, 8, x)) for x, p in ((q, query_position), (k, key_position)))
        return torch.stack(list(at)).prod(0).sum().item()

    assert product(7, 3) == pytest.approx(product(1007, 1003), abs=1e-9)
    assert product(0, 0) == pytest.approx((q * k).sum().item(), abs=1e-12)
    assert abs(product(7, 3) - product(7, 4)) > 1e-3


@pytest.mark.parametrize("context", [2, 5, 16, 64])
def test_cached_steps_equal_the_full_forward(context):
    """Also beyond the context, where the window drops all but half a context at once."""
    prior = make_prior(context).double()
    units, speaker = random_units(2, 40), torch.tensor([0, 2])
    cached = CachedPrior(prior, speaker)
    start = 0
    for t in range(40):
        if t - start >= context:
            start = t - context // 2
        plain = prior(units[:, start : t + 1], speaker)[:, :, -1]
        torch.testing.assert_close(cached.logits(units[:, :t]), plain, rtol=0, atol=1e-9)


@pytest.mark.parametrize("length", [1, 15, 16, 17, 24, 25, 100])
def test_unit_bits_score_every_unit_once(length):
    prior = make_prior().double()
    sequences = [random_units(length, seed=s).numpy() for s in range(3)] + [np.zeros(0, np.int64)]
    bits = unit_bits(prior, sequences, [0, 1, 2, 0])
    for units, speaker, scored in zip(sequences, [0, 1, 2, 0], bits, strict=True):
        start = 0
        for t in range(len(units)):
            if t - start >= 16:
                start = t - 8
            window = torch.from_numpy(units[start : t + 1])[None]
            log_p = prior(window, torch.tensor([speaker]))[0, :, -1].log_softmax(0)[units[t]]
            assert scored[t] == pytest.approx(-log_p.item() / np.log(2), abs=1e-4)  # scores are float32
        assert len(scored) == len(units)


def test_sampling_follows_seed_and_not_company():
    prior = make_prior()
    options = SamplingOptions(temperature=0.9, top_p=0.95, seed=4)
    units = sample_units(prior, torch.tensor([0, 2, 1]), 50, options)
    assert units.shape == (3, 50)
    assert units.dtype == np.int64
    assert units.min() >= 0
    assert units.max() < K
    np.testing.assert_array_equal(units, sample_units(prior, torch.tensor([0, 2, 1]), 50, options))
    np.testing.assert_array_equal(units[:2], sample_units(prior, torch.tensor([0, 2]), 50, options))
    np.testing.assert_array_equal(units[:, :20], sample_units(prior, torch.tensor([0, 2, 1]), 20, options))
    other = sample_units(prior, torch.tensor([0, 2, 1]), 50, SamplingOptions(seed=5))
    assert (units != other).mean() > 0.1


def test_sampled_units_are_as_likely_as_the_prior_expects():
    """Mean surprise equals mean entropy: units fed back wrongly would show."""
    prior = make_prior(context=8).double()
    units = sample_units(prior, torch.zeros(400, dtype=torch.int64), 8, SamplingOptions())
    log_p = prior(torch.from_numpy(units), torch.zeros(400, dtype=torch.int64)).log_softmax(1).detach()
    surprise = -log_p.gather(1, torch.from_numpy(units)[:, None])[:, 0]
    difference = surprise - -(log_p.exp() * log_p).sum(1)
    assert difference.mean().abs() < 3 * difference.std() / difference.numel() ** 0.5
    assert difference.std() > 0.1


def test_overfits_a_batch():
    torch.manual_seed(0)
    config = PriorConfig(layers=2, heads=2, channels=32, context=16, dropout=0.0)
    prior = build_prior(config, K, SPEAKERS)
    optimizer = torch.optim.Adam(prior.parameters(), lr=3e-3)
    units, speaker = random_units(3, 16), torch.tensor([0, 1, 2])
    for _ in range(150):
        loss = F.cross_entropy(prior(units, speaker), units)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05  # nats; log 12 = 2.5 at the beginning


def test_bf16_autocast_runs_and_stays_close():
    prior = make_prior()
    units, speaker = random_units(2, 16), torch.tensor([0, 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = prior(units, speaker)
    exact = prior(units, speaker)
    assert (rough - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_sizes_that_do_not_fit_are_the_users_mistake():
    with pytest.raises(UserError, match=r"prior\.channels=24"):
        build_prior(PriorConfig(heads=5, channels=24), K, SPEAKERS)
    with pytest.raises(UserError, match=r"prior\.context=0"):
        build_prior(PriorConfig(context=0), K, SPEAKERS)


# ---- crops and n-grams


def make_crops(lengths=(5, 60, 200), context=20, **changes):
    settings = {"batch_size": 400, "seed": 0, "speaker_balance": 1.0, **changes}
    sequences = [1000 * i + np.arange(n) for i, n in enumerate(lengths)]  # a unit tells its place
    return UnitCrops(sequences, list(range(len(lengths))), context=context, **settings)


def test_crops_are_pieces_of_their_utterance():
    batch = make_crops().batch(3)
    lengths = np.array([5, 60, 200])
    for units, targets, speaker in zip(batch.units.numpy(), batch.targets.numpy(), batch.speaker, strict=True):
        length = min(20, lengths[speaker])
        start = units[0] - 1000 * int(speaker)
        assert 0 <= start <= lengths[speaker] - length
        np.testing.assert_array_equal(units[:length], units[0] + np.arange(length))
        scored = targets != NOT_SCORED
        np.testing.assert_array_equal(scored, (np.arange(20) >= (LEAD_IN if start else 0)) & (np.arange(20) < length))
        np.testing.assert_array_equal(targets[scored], units[scored])


def test_crops_see_beginnings_often_and_ends_too():
    batch = make_crops(lengths=(200,)).batch(0)
    starts = batch.units[:, 0]
    assert (starts == 0).float().mean() == pytest.approx(11 / 191, abs=0.04)  # starts from −10 to 180
    assert starts.max() >= 175


def test_crops_are_a_function_of_seed_step_and_rank():
    crops = make_crops()
    same = make_crops().batch(5, rank=1)
    assert torch.equal(crops.batch(5, rank=1).units, same.units)
    for other in (crops.batch(5), crops.batch(6, rank=1), make_crops(seed=1).batch(5, rank=1)):
        assert not torch.equal(other.units, same.units)


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


# ---- the task


class Codec:
    """Stands for a VQVAE: the waveform says its units, one per 4 samples."""

    sample_rate, hop_length, codebook_size, unit_rate_hz = 16000, 4, K, 4000.0
    loudness_db = None  # as recorded

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

    def cut(self, blocks):
        waveform = np.concatenate(list(blocks))
        self.encoded += 1
        yield SimpleNamespace(waveform=waveform, recording_samples=len(waveform))

    def encode(self, chunks, _):
        for chunk in chunks:
            yield chunk, SimpleNamespace(units=self.units_of(chunk.waveform))


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
    expected = {"codebook_size": K, "unit_rate_hz": 4000.0, "context": 32, "fingerprint": "one"}
    assert expected.items() <= info.data.items()
