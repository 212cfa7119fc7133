"""Are the eigenvalues right, each found once, and within its bound?"""

from __future__ import annotations

import cases
import numpy as np
import oracles
import pytest
import torch
from scipy.sparse.linalg import eigsh

from metabench.autodiff import per_task_products
from metabench.linalg.lanczos import cumulative, lanczos, lanczos_extremes


def starts(n: int, P: int = 60, seed: int = 9) -> torch.Tensor:
    return torch.randn(n, P, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", cases.SPECTRA)
def test_a_full_run_finds_the_prescribed_spectrum_with_its_multiplicities(name):
    matrices = torch.stack([oracles.symmetric(cases.SPECTRA[name], seed) for seed in range(3)])

    ritz = lanczos(lambda v: torch.einsum("npq,nq->np", matrices, v), starts(3), steps=60)

    expected = torch.linalg.eigvalsh(matrices)
    error = (ritz.values - expected).abs().max() / expected.abs().max()
    assert float(error) < 1e-11
    torch.testing.assert_close(ritz.weights.sum(1), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("name", cases.SPECTRA)
def test_extremes_are_those_of_dense_and_of_scipy(name):
    matrix = oracles.symmetric(cases.SPECTRA[name], seed=4)

    found = lanczos_extremes(lambda v: v @ matrix, starts(2), tolerance=1e-9, steps=60)

    dense = torch.linalg.eigvalsh(matrix)
    scale = float(dense.abs().max())
    (scipy_largest,) = eigsh(matrix.numpy(), k=1, which="LA", return_eigenvectors=False)
    assert found.converged.all()
    assert float((found.largest - dense[-1]).abs().max()) < 1e-8 * scale
    assert float((found.smallest - dense[0]).abs().max()) < 1e-8 * scale
    assert abs(float(found.largest[0]) - scipy_largest) < 1e-8 * scale


def test_an_eigenvalue_lies_within_every_bound():
    matrix = oracles.symmetric(cases.SPECTRA["spread"], seed=1)

    ritz = lanczos(lambda v: v @ matrix, starts(4), steps=12)

    gaps = (ritz.values[:, :, None] - torch.linalg.eigvalsh(matrix)).abs().min(2).values
    assert (gaps <= ritz.bounds + 1e-12).all()
    assert float(ritz.bounds[:, -1].max()) > 1e-6


def test_three_hundred_steps_leave_no_ghost_copies():
    """Plain Lanczos finds outliers that converge early several times."""
    P = 600
    eigenvalues = torch.cat([torch.linspace(0, 1, P - 3), torch.tensor([50.0, 100.0, 200.0])])
    scale = eigenvalues.double()

    ritz = lanczos(lambda v: v * scale, starts(2, P), steps=300)

    outliers = (ritz.values > 2).sum(1)
    assert outliers.tolist() == [3, 3]
    torch.testing.assert_close(ritz.values[:, -3:], scale[-3:].expand(2, 3), rtol=1e-10, atol=0)


def test_fewer_products_are_taken_when_the_tolerance_allows():
    matrix = oracles.symmetric(cases.SPECTRA["one large"], seed=2)

    loose = lanczos_extremes(lambda v: v @ matrix, starts(1), tolerance=1e-2, steps=60)
    unfinished = lanczos_extremes(lambda v: v @ matrix, starts(1), tolerance=1e-30, steps=20)

    assert loose.steps < 20
    assert not unfinished.converged.any()


@pytest.mark.parametrize("name", ["spread", "indefinite", "rank deficient"])
def test_quadrature_moments_are_those_of_the_matrix(name):
    """m steps integrate polynomials up to degree 2 m - 1 exactly against the start's measure."""
    matrix, start = oracles.symmetric(cases.SPECTRA[name], seed=3), starts(1)

    ritz = lanczos(lambda v: v @ matrix, start, steps=8)

    unit = start[0] / start[0].norm()
    for degree in range(8):
        moment = unit @ torch.linalg.matrix_power(matrix, degree) @ unit
        found = (ritz.weights * ritz.values**degree).sum()
        assert float(found) == pytest.approx(float(moment), rel=1e-10, abs=1e-12)


def test_the_cumulative_density_averages_to_the_empirical_one():
    matrix = oracles.symmetric(cases.SPECTRA["spread"], seed=5)
    grid = torch.linspace(-2, 11, 14, dtype=torch.float64) + 0.03
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(2, (400, 60), generator=generator).double() * 2 - 1

    found = cumulative(lanczos(lambda v: v @ matrix, signs, steps=60), grid)

    exact = (torch.linalg.eigvalsh(matrix)[:, None] <= grid).double().mean(0)
    error = found.std(0) / np.sqrt(400)
    assert ((found.mean(0) - exact).abs() <= 4.5 * error + 1e-9).all()


@pytest.mark.parametrize("kind", ["plain", "batch norm", "layer norm"])
def test_per_task_products_are_those_of_each_tasks_dense_hessian(kind):
    problem, many = cases.problem(kind), cases.tasks(4)
    theta, P = cases.theta(problem), problem.layouts.phi.size
    phis = torch.stack([cases.theta(problem, seed) for seed in range(4)])
    vectors = starts(4, P)

    found = per_task_products.per_task_hvp(problem.inner_loss, phis, theta, many.support)(vectors)

    for i in range(4):
        support = cases.one(many, i).support
        dense = torch.func.jacrev(torch.func.grad(problem.inner_loss))(phis[i], theta, support)
        torch.testing.assert_close(found[i], dense @ vectors[i], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(dense, dense.T, rtol=1e-8, atol=1e-10)


def test_a_linear_loss_has_a_zero_hessian():
    def linear(phi, theta, data):
        return (phi * data).sum()

    product = per_task_products.per_task_hvp(linear, starts(2, 5), starts(1, 5)[0], starts(2, 5))

    assert product(starts(2, 5)).eq(0).all()


def test_the_device_is_asked_once_in_five_steps(monkeypatch):
    """Each question waits for all that a GPU has to do; a step had asked two."""
    asked = []
    truth = torch.Tensor.__bool__
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda self: asked.append(1) or truth(self))
    A = torch.diag(torch.linspace(1, 9, 200, dtype=torch.float64))

    lanczos(lambda v: v @ A, torch.ones(3, 200, dtype=torch.float64), steps=20)

    assert len(asked) == 4
