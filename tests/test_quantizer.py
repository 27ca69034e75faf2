import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from audio_vq.models.quantizer import CodebookStatistics, VectorQuantizer


@pytest.fixture
def latents():
    torch.manual_seed(0)
    return torch.randn(3, 5, 17)  # (batch, dim, time)


def quantizer_of(codebook, ema_decay=None):
    """Of a codebook `(K, dim)`, or `(groups, K, dim / groups)`."""
    groups, size, dim = codebook.shape if codebook.ndim == 3 else (1, *codebook.shape)
    quantizer = VectorQuantizer(size, groups * dim, ema_decay, groups=groups)
    quantizer.place(codebook.reshape(groups, size, dim), torch.ones(groups, size))
    return quantizer


def test_nearest_equals_brute_force(latents):
    quantizer = quantizer_of(torch.randn(23, 5))
    flat = latents.transpose(1, 2).reshape(-1, 5).numpy()
    expected = cdist(flat, quantizer.codebook[0].detach().numpy()).argmin(1).reshape(3, 17)
    np.testing.assert_array_equal(quantizer.nearest(latents)[:, 0].numpy(), expected)


def test_output_is_the_codebook_vector_of_each_unit(latents):
    quantizer = quantizer_of(torch.randn(7, 5))
    result = quantizer(latents)
    for b, t in ((0, 0), (2, 16), (1, 8)):
        torch.testing.assert_close(result.latents[b, :, t], quantizer.codebook[0, result.units[b, 0, t]])


def test_straight_through_gradient_is_the_identity(latents):
    quantizer = quantizer_of(torch.randn(7, 5))
    z = latents.clone().requires_grad_()
    upstream = torch.randn_like(latents)
    quantizer(z).latents.backward(upstream)
    torch.testing.assert_close(z.grad, upstream, rtol=0, atol=0)


def test_losses_pull_one_side_each(latents):
    """Eq. 3: the codebook loss moves only the codebook, the commitment loss only the encoder; both are ‖z − e‖²."""
    quantizer = quantizer_of(torch.randn(7, 5))
    z = latents.clone().requires_grad_()
    result = quantizer(z)
    expected = (z - quantizer.lookup(result.units)).square().mean()
    torch.testing.assert_close(result.codebook_loss, expected)
    torch.testing.assert_close(result.commitment_loss, expected)
    to_z, to_codebook = torch.autograd.grad(result.codebook_loss, [z, quantizer.codebook], allow_unused=True)
    assert to_z is None
    assert to_codebook.abs().sum() > 0
    to_z, to_codebook = torch.autograd.grad(result.commitment_loss, [z, quantizer.codebook], allow_unused=True)
    assert to_codebook is None
    assert to_z.abs().sum() > 0


def test_moving_average_equals_numpy(latents):
    """Appendix A.1: N ← γN + (1−γ)n, m ← γm + (1−γ)Σz, e = m / N."""
    decay = 0.9
    quantizer = quantizer_of(torch.randn(4, 5), ema_decay=decay)
    counts, sums = quantizer.ema_counts[0].numpy().copy(), quantizer.ema_sums[0].numpy().copy()
    for step in range(5):
        z = latents + step
        units = quantizer.nearest(z)
        flat, chosen = z.transpose(1, 2).reshape(-1, 5).numpy(), units.flatten().numpy()
        counts = decay * counts + (1 - decay) * np.bincount(chosen, minlength=4)
        sums = decay * sums + (1 - decay) * np.stack([flat[chosen == k].sum(0) for k in range(4)])
        quantizer.update(quantizer.statistics(z, units))
        np.testing.assert_allclose(quantizer.codebook[0].numpy(), sums / counts[:, None], rtol=1e-4, atol=1e-5)


def test_statistics_add_up_across_processes(latents):
    quantizer = quantizer_of(torch.randn(6, 5), ema_decay=0.99)
    units = quantizer.nearest(latents)
    whole = quantizer.statistics(latents, units)
    parts = [quantizer.statistics(latents[i : i + 1], units[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(sum(part.counts for part in parts), whole.counts)
    torch.testing.assert_close(sum(part.sums for part in parts), whole.sums)


def test_forward_leaves_the_codebook_alone(latents):
    quantizer = quantizer_of(torch.randn(6, 5), ema_decay=0.99)
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer(latents)
    for name, value in quantizer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_unused_vectors_restart_at_latents(latents):
    codebook = torch.cat([torch.zeros(1, 5), torch.full((3, 5), 100.0)])  # three that nothing will choose
    quantizer = quantizer_of(codebook, ema_decay=0.99)
    generator = torch.Generator().manual_seed(0)
    for step in range(3):
        quantizer.update(quantizer.statistics(latents, quantizer.nearest(latents)))
        moved = quantizer.restart(latents, after=3, generator=generator)
        assert moved.tolist() == [[False] + [step == 2] * 3]
    rows = latents.transpose(1, 2).reshape(-1, 5)
    for vector in quantizer.codebook[0, 1:]:
        assert (rows == vector).all(1).any()
    assert len(torch.unique(quantizer.nearest(latents))) == 4


def test_starved_vectors_stay_finite():
    quantizer = quantizer_of(torch.randn(4, 2), ema_decay=0.5)
    nothing = CodebookStatistics(torch.zeros(1, 4), torch.zeros(1, 4, 2))
    for _ in range(200):
        quantizer.update(nothing)
    assert torch.isfinite(quantizer.codebook).all()


# ---- groups


@settings(max_examples=15, deadline=None)
@given(groups=st.integers(1, 3), size=st.integers(2, 9), dim=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_groups_are_quantisers_side_by_side(groups, size, dim, seed):
    """Units, vectors, losses, statistics, moving averages and restarts: as of one quantiser for each part."""
    torch.manual_seed(seed)
    whole = quantizer_of(torch.randn(groups, size, dim), ema_decay=0.9)
    parts = [quantizer_of(codebook, ema_decay=0.9) for codebook in whole.codebook.detach().clone()]
    for step in range(4):
        latents = torch.randn(2, groups * dim, 7)
        own = latents.chunk(groups, 1)
        result, results = whole(latents), [part(each) for part, each in zip(parts, own, strict=True)]
        assert result.units.shape == (2, groups, 7)
        assert torch.equal(result.units, torch.cat([each.units for each in results], 1))
        assert torch.equal(result.latents, torch.cat([each.latents for each in results], 1))
        assert torch.equal(
            whole.lookup(result.units), torch.cat([p.lookup(r.units) for p, r in zip(parts, results, strict=True)], 1)
        )
        losses = torch.stack([each.commitment_loss for each in results])
        torch.testing.assert_close(result.commitment_loss, losses.mean())
        whole.update(whole.statistics(latents, result.units))
        moved = whole.restart(latents, 2, torch.Generator().manual_seed(step))
        for group, (part, each, of_part) in enumerate(zip(parts, own, results, strict=True)):
            part.update(part.statistics(each, of_part.units))
            assert torch.equal(part.restart(each, 2, torch.Generator().manual_seed(step))[0], moved[group])
            for name, value in part.state_dict().items():
                if value.ndim:
                    torch.testing.assert_close(whole.state_dict()[name][group], value[0], msg=f"{name} {step}")


def test_groups_multiply_what_can_be_said():
    """With G codebooks of K vectors, K^G latents come through unchanged."""
    quantizer = quantizer_of(torch.tensor([[[0.0], [1.0]], [[0.0], [10.0]], [[5.0], [7.0]]]))
    units = torch.cartesian_prod(*[torch.arange(2)] * 3).T[None]  # (1, 3, 8)
    vectors = quantizer.lookup(units)
    assert len(torch.unique(vectors[0].T, dim=0)) == 8
    assert torch.equal(quantizer.nearest(vectors), units)


@pytest.mark.parametrize("groups", [1, 3])
def test_fewer_latents_than_dead_vectors(groups):
    """As many restart as there are latents; no two at the same one."""
    quantizer = quantizer_of(torch.full((groups, 9, 2), 100.0), ema_decay=0.9)
    quantizer.steps_unused.fill_(5)
    latents = torch.randn(1, 2 * groups, 4)
    moved = quantizer.restart(latents, 5, torch.Generator().manual_seed(0))
    assert moved.sum(1).tolist() == [4] * groups
    for group in range(groups):
        placed = quantizer.codebook[group][moved[group]]
        assert len(torch.unique(placed, dim=0)) == 4
        assert (quantizer.codebook[group][~moved[group]] == 100).all()
