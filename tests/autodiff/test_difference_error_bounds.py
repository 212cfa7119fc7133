"""Do slopes by differences know how far they may be off, whatever precision a loss has inside?"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from metabench.autodiff.difference_error_bounds import RESOLVED, resolved_slopes
from metabench.probes.verify.measure_differences import SAFETY

ENDS = {
    "float64": (lambda p: p, torch.float64, RESOLVED),
    "float32 logits": (lambda p: p.float(), torch.float32, 1e-3),
    "bfloat16 logits": (lambda p: p.bfloat16().float(), torch.bfloat16, 10.0),
}


def loss(seed, end):
    """Cross-entropy of a small network, with a random direction, of some layers in one of three."""
    generator = torch.Generator().manual_seed(seed)
    first, last, at, x, along = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((8, 30), (2, 8), (30,), (6, 30), (30,))
    )
    y = torch.randint(2, (6,), generator=generator)
    activation = (torch.tanh, torch.relu)[seed % 2]
    along[10:] *= seed % 3 > 0

    def function(point):
        hidden = activation((x * point) @ first.T / 5)
        return functional.cross_entropy(end(hidden @ last.T), y).double()[None]

    return function, at, along / along.norm()


@pytest.mark.parametrize(("end", "dtype", "usual"), ENDS.values(), ids=ENDS.keys())
def test_no_slope_is_off_by_more_than_its_bound_times_the_safety(end, dtype, usual):
    ratios, bounds = [], []
    for seed in range(120):
        function, at, along = loss(seed, end)
        point = at.clone().requires_grad_()
        (grad,) = torch.autograd.grad(function(point)[0], point)
        size = grad.norm()[None] / 30**0.5

        found = resolved_slopes(function, at, along, size, torch.finfo(dtype).eps)

        ratios.append(float((found.value - grad @ along).abs() / found.error))
        bounds.append(float(found.error / size))
        assert not found.kink
    assert max(ratios) < SAFETY / 2
    assert sorted(bounds)[len(bounds) // 2] < usual


def test_kinks_and_jumps_at_the_point_are_told_from_noise():
    at, along = torch.zeros(2).double(), torch.tensor([0.6, 0.8]).double()

    def functions(x):
        smooth = (x + 1).pow(3).sum()
        kink, jump = x.relu().sum(), (x[0] > 0).double()
        return torch.stack([smooth, smooth + kink, smooth + jump, smooth.float().double()])

    found = resolved_slopes(functions, at, along, torch.ones(4).double())

    assert found.kink.tolist() == [False, True, True, False]


def test_what_does_not_move_has_no_slope():
    at, along = torch.zeros(2).double(), torch.tensor([0.6, 0.8]).double()

    found = resolved_slopes(lambda x: x.round().sum()[None], at, along, torch.ones(1).double())

    assert found.value.isnan().all()
    assert found.error.isinf().all()
