"""Do finite differences distinguish derivatives from kinks?"""

from __future__ import annotations

import torch

from metabench.autodiff.finite_differences import directional_derivatives

AT = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
ALONG = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64) / 3


def derivatives(*functions):
    both = directional_derivatives(
        lambda x: torch.stack([f(x) for f in functions]), AT, ALONG, torch.ones(len(functions))
    )
    exact = [torch.autograd.functional.jvp(f, AT, ALONG)[1] for f in functions]
    return both, torch.stack(exact)


def test_derivatives_of_smooth_functions_are_found():
    found, exact = derivatives(
        lambda x: x.sin().prod(), lambda x: (x**4).sum(), lambda x: (30 * x).tanh().sum()
    )

    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-7)


def test_a_nearby_kink_is_avoided_by_smaller_steps():
    """A kink at a distance of 2e-6: the largest step sees it, the smaller ones don't."""

    def near(x):
        return (x[0] - AT[0] - 2e-6).abs() + 1e-3 * x[0]

    found, exact = derivatives(near)

    torch.testing.assert_close(found, exact, rtol=1e-6, atol=0)


def test_a_kink_at_the_point_gives_nan():
    found, _ = derivatives(
        lambda x: (x - AT).abs().sum(), lambda x: (x - AT).relu().sum(), torch.sum
    )

    assert found.isnan().tolist() == [True, True, False]


def test_values_that_are_not_finite_give_nan():
    found = directional_derivatives(lambda x: (x.sum() / 0)[None], AT, ALONG, torch.ones(1))

    assert found.isnan().all()
