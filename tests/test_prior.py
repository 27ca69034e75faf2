"""The prior: causal, normalised over all tracks, cached = plain, and what it can learn."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.prior import CachedPrior, sample_units, track_bits, unit_bits
from audio_vq.config import PriorConfig
from audio_vq.errors import UserError
from audio_vq.models.prior import build_prior, rotary, rotate

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
