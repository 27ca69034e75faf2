"""Muon: what it makes of a gradient, and that Adam's share stays Adam's."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_vq.training.muon import ADAM_RMS, MOMENTUM, MuonAdam, orthogonal


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 9))
def test_directions_become_equally_long(rows, columns, seed):
    matrices = torch.randn(3, rows, columns, generator=torch.Generator().manual_seed(seed))
    u, sizes, v = torch.linalg.svd(matrices, full_matrices=False)
    kept = sizes > 0.05 * sizes[:, :1]  # smaller ones have not arrived after so few steps
    made = torch.linalg.svdvals(orthogonal(matrices))
    assert (made[kept] > 0.5).all()
    assert (made < 1.35).all()
    along = (u.mT @ orthogonal(matrices) @ v.mT).diagonal(dim1=1, dim2=2)  # directions stay
    assert (along[kept] > 0.5).all()


def test_each_group_in_its_way():
    torch.manual_seed(0)
    matrix, vector, twin = (torch.nn.Parameter(each) for each in (torch.randn(4, 6), torch.randn(4), torch.randn(4)))
    twin.data.copy_(vector.data)
    before = matrix.detach().clone()
    both = MuonAdam([{"params": [matrix], "matrices": True}, {"params": [vector]}], lr=0.01)
    adam = torch.optim.Adam([twin], lr=0.01)
    for _ in range(3):
        matrix.grad, gradient = torch.ones_like(matrix), torch.randn(4)
        vector.grad, twin.grad = gradient.clone(), gradient.clone()
        both.step()
        adam.step()
    torch.testing.assert_close(vector, twin)
    assert both.state[matrix].keys() == {"step", "momentum"}
    moved = (before - matrix).mean() / 3  # a gradient of rank one: its only direction has length one
    assert abs(moved / (0.01 * ADAM_RMS * 6**0.5 * 24**-0.5) - 1) < 0.35
    torch.testing.assert_close(both.state[matrix]["momentum"], torch.full((4, 6), 1 - MOMENTUM**3))
