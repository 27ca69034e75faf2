"""The prior: causal, cached = plain, crops that are a function of the step, better than n-grams."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from audio_vq.checkpoint import CheckpointInfo
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.prior import CachedPrior, sample_units, track_bits, unit_bits
from audio_vq.config import PriorConfig, TrainConfig
from audio_vq.data.prepared import CorpusHeader, PreparedCorpus, SplitSize, Utterance
from audio_vq.errors import UserError
from audio_vq.models.prior import build_prior, rotary, rotate
from audio_vq.training import prior_task
from audio_vq.training.ngrams import Ngrams, ngram_bits
from audio_vq.training.prior_task import PriorTask, encode_splits
from audio_vq.training.unit_crops import LEAD_IN, NOT_SCORED, UnitCrops
from audio_vq.unit_prior import UnitPrior

K, SPEAKERS = 12, 3
ONE, THREE = (K,), (K, K, 5)  # track sizes: units alone; two groups and pitch
each_track_sizes = pytest.mark.parametrize("sizes", [ONE, THREE])


def make_prior(context=16, seed=0, sizes=ONE, **changes):
    torch.manual_seed(seed)
    config = PriorConfig(**{"layers": 2, "heads": 2, "channels": 16, "context": context, "dropout": 0.0, **changes})
    prior = build_prior(config, sizes, SPEAKERS)
    with torch.no_grad():  # as decided as a trained one, so that differences would be seen
        for parameter in prior.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
            else:  # scales of norms
                parameter.mul_(1 + 0.5 * torch.rand(parameter.shape))
    return prior.eval()


def random_codes(batch, time, sizes=ONE, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(size, (batch, time), generator=generator) for size in sizes], 1)


def test_the_blocks_hear_earlier_units_only():
    prior = make_prior().double()
    inputs = prior.inputs(random_codes(1, 9), torch.tensor([1])).detach().requires_grad_()
    for t in range(10):
        (gradient,) = torch.autograd.grad(prior.predict(inputs)[0, t].sum(), inputs)
        assert (gradient[0, t + 1 :] == 0).all()
        assert (gradient[0, : t + 1] != 0).any(1).all()  # input 0 is the speaker, input i unit i − 1


@each_track_sizes
def test_logits_depend_on_earlier_units_and_on_earlier_tracks_of_the_same(sizes):
    prior = make_prior(sizes=sizes)
    codes, speaker = random_codes(2, 9, sizes), torch.tensor([0, 2])
    for track, size in enumerate(sizes):
        changed = codes.clone()
        changed[:, track, 5] = (changed[:, track, 5] + 1) % size
        for other, (one, two) in enumerate(zip(prior(codes, speaker), prior(changed, speaker), strict=True)):
            first = 5 if other > track else 6
            difference = (one - two).abs().amax(1)  # (B, T)
            assert (difference[:, :first] == 0).all()
            assert (difference[:, first:] > 0).all()
    for one, two in zip(prior(codes, speaker), prior(codes, speaker.flip(0)), strict=True):
        assert ((one - two).abs().amax(1) > 0).all()


@each_track_sizes
def test_probabilities_of_all_units_sum_to_one(sizes):
    """Over every value of every track of the unit that follows two others."""
    prior = make_prior(sizes=sizes).double()
    units = torch.cartesian_prod(*map(torch.arange, sizes)).reshape(-1, len(sizes), 1)
    codes = torch.cat([random_codes(1, 2, sizes).expand(len(units), -1, -1), units], 2)
    logits = prior(codes, torch.ones(len(units), dtype=torch.int64))
    log_p = sum(each[:, :, -1].log_softmax(1).gather(1, units[:, track]) for track, each in enumerate(logits))
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert log_p.std() > 0.1


def test_rotated_products_depend_on_the_distance_only():
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 8, generator=generator, dtype=torch.float64)

    def product(query_position, key_position):
        at = (rotate(x, rotary(p, 1, 8, x)) for x, p in ((q, query_position), (k, key_position)))
        return torch.stack(list(at)).prod(0).sum().item()

    assert product(7, 3) == pytest.approx(product(1007, 1003), abs=1e-9)
    assert product(0, 0) == pytest.approx((q * k).sum().item(), abs=1e-12)
    assert abs(product(7, 3) - product(7, 4)) > 1e-3


@each_track_sizes
@pytest.mark.parametrize("context", [2, 5, 16, 64])
def test_cached_steps_equal_the_full_forward(context, sizes):
    """Also beyond the context, where the window drops all but half a context at once."""
    prior = make_prior(context, sizes=sizes).double()
    codes, speaker = random_codes(2, 40, sizes), torch.tensor([0, 2])
    cached = CachedPrior(prior, speaker)
    start = 0
    for t in range(40):
        if t - start >= context:
            start = t - context // 2
        plain = prior(codes[:, :, start : t + 1], speaker)
        said = cached.predict(codes[:, :, :t])[:, None]
        for track in range(len(sizes)):
            logits = prior.logits(said, codes[:, :track, t : t + 1])[:, 0]
            torch.testing.assert_close(logits, plain[track][:, :, -1], rtol=0, atol=1e-9)


@each_track_sizes
@pytest.mark.parametrize("length", [1, 15, 16, 17, 24, 25, 41])
def test_every_unit_is_scored_once(length, sizes):
    prior = make_prior(sizes=sizes).double()
    codes = [random_codes(1, length, sizes, seed=s)[0].numpy() for s in range(2)] + [np.zeros((len(sizes), 0), int)]
    bits = track_bits(prior, codes, [0, 2, 0])
    for code, speaker, scored in zip(codes, [0, 2, 0], bits, strict=True):
        start = 0
        for t in range(code.shape[1]):
            if t - start >= 16:
                start = t - 8
            window = torch.from_numpy(code[None, :, start : t + 1])
            for track, logits in enumerate(prior(window, torch.tensor([speaker]))):
                log_p = logits[0, :, -1].log_softmax(0)[code[track, t]]
                assert scored[track, t] == pytest.approx(-log_p.item() / np.log(2), abs=1e-4)  # scores are float32
        assert scored.shape == code.shape


@each_track_sizes
def test_bits_of_units_are_those_of_their_tracks(sizes):
    prior = make_prior(sizes=sizes)
    code = random_codes(1, 20, sizes)[0].numpy()
    (units,) = unit_bits(prior, [code[0] if len(sizes) == 1 else code], [1])  # one track may come without its axis
    (tracks,) = track_bits(prior, [code], [1])
    assert tracks.shape == (len(sizes), 20)
    np.testing.assert_array_equal(units, tracks.sum(0))


@each_track_sizes
def test_sampling_follows_seed_and_not_company(sizes):
    prior = make_prior(sizes=sizes)
    options = SamplingOptions(temperature=0.9, top_p=0.95, seed=4)
    codes = sample_units(prior, torch.tensor([0, 2, 1]), 50, options)
    assert codes.shape == (3, len(sizes), 50)
    assert codes.dtype == np.int64
    assert codes.min() >= 0
    np.testing.assert_array_less(codes.max((0, 2)), sizes)
    np.testing.assert_array_equal(codes, sample_units(prior, torch.tensor([0, 2, 1]), 50, options))
    np.testing.assert_array_equal(codes[:2], sample_units(prior, torch.tensor([0, 2]), 50, options))
    np.testing.assert_array_equal(codes[:, :, :20], sample_units(prior, torch.tensor([0, 2, 1]), 20, options))
    other = sample_units(prior, torch.tensor([0, 2, 1]), 50, SamplingOptions(seed=5))
    assert (codes != other).mean((0, 2)).min() > 0.1


@each_track_sizes
def test_sampled_units_are_as_likely_as_the_prior_expects(sizes):
    """Mean surprise equals mean entropy: units fed back wrongly would show."""
    prior = make_prior(context=8, sizes=sizes).double()
    codes = torch.from_numpy(sample_units(prior, torch.zeros(400, dtype=torch.int64), 8, SamplingOptions()))
    for track, logits in enumerate(prior(codes, torch.zeros(400, dtype=torch.int64))):
        log_p = logits.log_softmax(1).detach()
        surprise = -log_p.gather(1, codes[:, track : track + 1])[:, 0]
        difference = surprise - -(log_p.exp() * log_p).sum(1)
        assert difference.mean().abs() < 3 * difference.std() / difference.numel() ** 0.5
        assert difference.std() > 0.1


@each_track_sizes
@pytest.mark.parametrize("length", [1, 7, 30])
def test_a_prompt_is_continued(length, sizes):
    """As the likeliest units, which are drawn at a temperature near zero, of full passes; also beyond the context."""
    prior = make_prior(sizes=sizes).double()
    prompt, speaker = random_codes(1, length, sizes)[0], torch.tensor([0, 2])
    drawn = sample_units(prior, speaker, 6, SamplingOptions(temperature=1e-6), prompt.numpy())
    codes = torch.cat([prompt.expand(2, -1, -1), torch.from_numpy(drawn)], 2)
    start = max(0, length - 8) if length + 1 > 16 else 0
    for t in range(length, length + 6):
        for track, logits in enumerate(prior(codes[:, :, start : t + 1], speaker)):
            np.testing.assert_array_equal(logits[:, :, -1].argmax(1), codes[:, track, t])
    assert drawn.shape == (2, len(sizes), 6)


@each_track_sizes
def test_overfits_a_batch(sizes):
    torch.manual_seed(0)
    config = PriorConfig(layers=2, heads=2, channels=32, context=16, dropout=0.0)
    prior = build_prior(config, sizes, SPEAKERS)
    optimizer = torch.optim.Adam(prior.parameters(), lr=3e-3)
    codes, speaker = random_codes(3, 16, sizes), torch.tensor([0, 1, 2])
    for _ in range(120):
        logits = prior(codes, speaker)
        loss = sum(F.cross_entropy(each, codes[:, track]) for track, each in enumerate(logits))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05 * len(sizes)  # nats; log 12 = 2.5 of a track at the beginning
    assert all(parameter.grad.abs().max() > 0 for parameter in prior.parameters())  # as data parallelism wants it


def test_learns_what_one_track_says_of_another():
    """Track 2 mirrors track 1, which is noise: the unit has no more bits than track 1 alone."""
    torch.manual_seed(0)
    prior = build_prior(PriorConfig(layers=1, heads=2, channels=32, context=16, dropout=0.0), (K, K), SPEAKERS)
    optimizer = torch.optim.Adam(prior.parameters(), lr=3e-3)
    speaker = torch.zeros(16, dtype=torch.int64)

    def mirrored(seed):
        noise = random_codes(16, 16, seed=seed)
        return torch.cat([noise, K - 1 - noise], 1)

    for step in range(200):
        codes = mirrored(step)
        loss = sum(F.cross_entropy(each, codes[:, track]) for track, each in enumerate(prior(codes, speaker)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    bits = np.mean(track_bits(prior.eval(), list(mirrored(1000).numpy()), speaker.tolist()), (0, 2))
    assert bits[0] == pytest.approx(np.log2(K), abs=0.1)
    assert bits[1] < 0.05


@each_track_sizes
def test_bf16_autocast_runs_and_stays_close(sizes):
    prior = make_prior(sizes=sizes)
    codes, speaker = random_codes(2, 16, sizes), torch.tensor([0, 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = prior(codes, speaker)
    for one, exact in zip(rough, prior(codes, speaker), strict=True):
        assert (one - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_sizes_that_do_not_fit_are_the_users_mistake():
    with pytest.raises(UserError, match=r"prior\.channels=24"):
        build_prior(PriorConfig(heads=5, channels=24), ONE, SPEAKERS)
    with pytest.raises(UserError, match=r"prior\.context=0"):
        build_prior(PriorConfig(context=0), ONE, SPEAKERS)


# ---- as users meet it


def make_unit_prior(sizes):
    data = {"unit_rate_hz": 50.0, "track_sizes": list(sizes), "fingerprint": "one"}
    info = CheckpointInfo("prior", {}, ("ann", "ben", "cleo"), data)
    return UnitPrior(make_prior(sizes=sizes), PriorConfig(), info)


@each_track_sizes
def test_samples_are_shaped_as_the_models_units(sizes):
    prior = make_unit_prior(sizes)
    drawn = prior.sample("ben", seconds=0.5, count=2, seed=1)
    assert [each.shape for each in drawn] == [(25,) if len(sizes) == 1 else (3, 25)] * 2
    again = prior.sample("ben", seconds=0.5, seed=1, prompt=drawn[1])
    assert again[0].shape == drawn[0].shape
    assert (again[0] != drawn[0]).any()


def test_impossible_wishes_are_refused():
    one, three = make_unit_prior(ONE), make_unit_prior(THREE)
    for prior, prompt, expected in (
        (one, np.zeros((3, 8), int), r"shape \(3, 8\); expected a code of \(units,\)"),
        (one, np.zeros((1, 8), int), r"shape \(1, 8\)"),
        (one, np.zeros(0, int), r"shape \(0,\)"),
        (three, np.zeros(8, int), r"expected a code of \(3, units\)"),
        (three, np.full((3, 8), 5), r"from 5 to 5; its tracks have \(12, 12, 5\) values"),
        (one, np.full(8, -1), "from -1 to -1"),
    ):
        with pytest.raises(UserError, match=expected):
            prior.sample("ann", seconds=1, prompt=prompt)
    with pytest.raises(UserError, match="0 seconds"):
        one.sample("ann", seconds=0)
    with pytest.raises(UserError, match="0 sequences"):
        one.sample("ann", seconds=1, count=0)
    with pytest.raises(UserError, match="another checkpoint"):
        one.check_units_of(SimpleNamespace(fingerprint="two"))


# ---- crops and n-grams


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


# ---- the task


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
