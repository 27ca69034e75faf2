import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from audio_vq.models.quantizer import CodebookStatistics, VectorQuantizer


@pytest.fixture
def latents():
    torch.manual_seed(0)
    return torch.randn(3, 5, 17)  # (batch, dim, time)


def quantizer_of(codebook, ema_decay=None):
    quantizer = VectorQuantizer(*codebook.shape, ema_decay=ema_decay)
    quantizer.place(codebook, torch.ones(len(codebook)))
    return quantizer


def test_nearest_equals_brute_force(latents):
    quantizer = quantizer_of(torch.randn(23, 5))
    flat = latents.transpose(1, 2).reshape(-1, 5).numpy()
    expected = cdist(flat, quantizer.codebook.detach().numpy()).argmin(1).reshape(3, 17)
    np.testing.assert_array_equal(quantizer.nearest(latents).numpy(), expected)


def test_output_is_the_codebook_vector_of_each_unit(latents):
    quantizer = quantizer_of(torch.randn(7, 5))
    result = quantizer(latents)
    for b, t in ((0, 0), (2, 16), (1, 8)):
        torch.testing.assert_close(result.latents[b, :, t], quantizer.codebook[result.units[b, t]])


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
    counts, sums = quantizer.ema_counts.numpy().copy(), quantizer.ema_sums.numpy().copy()
    for step in range(5):
        z = latents + step
        units = quantizer.nearest(z)
        flat, chosen = z.transpose(1, 2).reshape(-1, 5).numpy(), units.flatten().numpy()
        counts = decay * counts + (1 - decay) * np.bincount(chosen, minlength=4)
        sums = decay * sums + (1 - decay) * np.stack([flat[chosen == k].sum(0) for k in range(4)])
        quantizer.update(quantizer.statistics(z, units))
        np.testing.assert_allclose(quantizer.codebook.numpy(), sums / counts[:, None], rtol=1e-4, atol=1e-5)


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
        assert moved.tolist() == [False] + [step == 2] * 3
    rows = latents.transpose(1, 2).reshape(-1, 5)
    for vector in quantizer.codebook[1:]:
        assert (rows == vector).all(1).any()
    assert len(torch.unique(quantizer.nearest(latents))) == 4


def test_starved_vectors_stay_finite():
    quantizer = quantizer_of(torch.randn(4, 2), ema_decay=0.5)
    nothing = CodebookStatistics(torch.zeros(4), torch.zeros(4, 2))
    for _ in range(200):
        quantizer.update(nothing)
    assert torch.isfinite(quantizer.codebook).all()
