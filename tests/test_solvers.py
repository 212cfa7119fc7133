"""Do the solvers solve, and say so honestly when they don't?"""

from __future__ import annotations

import cases
import oracles
import pytest
import torch
from scipy.sparse.linalg import cg as scipy_cg
from torch.func import vmap

from metabench import plugins
from metabench.misuse import Misuse
from metabench.solvers.cg import CG
from metabench.solvers.dense import Dense

SPECTRA = {
    "identity": [1.0] * 6,
    "two values": [1.0, 1e3] * 3,
    "condition 50": [1.0, 2.0, 5.0, 10.0, 20.0, 50.0],
    "condition 1e6": [1.0, 10.0, 1e2, 1e3, 1e4, 1e6],
}


def vector(P=6, seed=1, dtype=torch.float64):
    return torch.randn(P, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA.keys())
@pytest.mark.parametrize("name", cases.SOLVERS)
def test_every_solver_solves_to_the_condition_numbers_round_off(name, spectrum):
    A, b = oracles.symmetric(spectrum), vector()
    settings = {"steps": 30} if name == "cg" else {}

    found = plugins.load("solvers", name)(**settings)(lambda v: A @ v, b)

    expected = torch.linalg.solve(A, b)
    assert oracles.relative(found.x, expected) < 1e-13 * max(spectrum) / min(spectrum) + 1e-12
    assert min(spectrum) * (1 - 1e-9) <= float(found.curvature) <= max(spectrum) * (1 + 1e-9)


@pytest.mark.parametrize("name", cases.SOLVERS)
def test_the_residual_is_that_of_the_answer(name):
    A, b = oracles.symmetric([1.0, 2.0, 5.0, 10.0, 20.0, 50.0]), vector()
    settings = {"steps": 3} if name == "cg" else {}

    found = plugins.load("solvers", name)(**settings)(lambda v: A @ v, b)

    assert float(found.residual) == pytest.approx(
        float((A @ found.x - b).norm() / b.norm()), rel=1e-9, abs=1e-14
    )


@pytest.mark.parametrize("name", cases.SOLVERS)
def test_a_right_hand_side_of_zero_has_the_answer_zero(name):
    A = oracles.symmetric([1.0, 2.0, 3.0])

    found = plugins.load("solvers", name)()(lambda v: A @ v, torch.zeros(3, dtype=torch.float64))

    assert found.x.tolist() == [0.0] * 3
    assert (float(found.residual), float(found.history[-1])) == (0.0, 0.0)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_the_scale_of_the_right_hand_side_does_not_matter(scale):
    A, b = oracles.symmetric([1.0, 2.0, 5.0]), vector(3)

    found = CG()(lambda v: A @ v, scale * b).x

    assert oracles.relative(found / scale, torch.linalg.solve(A, b)) < 1e-12


@pytest.mark.parametrize("name", cases.SOLVERS)
def test_every_solver_is_the_same_under_vmap_where_some_stand_still(name):
    """Zero, an eigenvector (one step), a full vector, and one that isn't finite."""
    A, solver = oracles.symmetric([1.0, 2.0, 5.0, 10.0]), plugins.load("solvers", name)()
    eigenvector = torch.linalg.eigh(A).eigenvectors[:, 2]
    B = torch.stack([torch.zeros_like(A[0]), eigenvector, vector(4), A[0] / 0])

    together = vmap(lambda b: solver(lambda v: A @ v, b))(B)

    for i, b in enumerate(B):
        alone = solver(lambda v: A @ v, b)
        for one, other in zip(together, alone, strict=True):
            # 1e-9: residuals at round-off are round-off themselves
            torch.testing.assert_close(one[i], other, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("name", cases.SOLVERS)
def test_what_is_not_finite_does_not_pass_for_an_answer(name):
    b = vector(3)
    solver = plugins.load("solvers", name)()

    assert solver(lambda v: v * torch.nan, b).x.isnan().all()
    assert solver(lambda v: v, b * torch.nan).x.isnan().all()


def test_cg_is_exact_after_as_many_steps_as_distinct_eigenvalues():
    A, b = oracles.symmetric([1.0, 1e3] * 4), vector(8)

    found = CG(steps=2)(lambda v: A @ v, b)

    assert oracles.relative(found.x, torch.linalg.solve(A, b)) < 1e-10
    assert int(found.steps) == 2


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_cg_takes_scipys_steps(steps):
    A, b = oracles.symmetric([1.0, 1.5, 2.0, 2.5, 3.0, 3.5]), vector()

    expected, _ = scipy_cg(A.numpy(), b.numpy(), maxiter=steps, rtol=0.0)

    # the residual falls at every one of these steps, so that the best iterate is the last
    found = CG(steps=steps)(lambda v: A @ v, b)
    assert found.history.diff().max() < 0
    torch.testing.assert_close(found.x, torch.from_numpy(expected), rtol=1e-10, atol=1e-12)


def test_the_history_holds_the_residual_of_every_step():
    A, b = oracles.symmetric([1.0, 2.0, 5.0, 10.0, 20.0, 30.0]), vector()

    history = CG(steps=5)(lambda v: A @ v, b).history

    assert history[0] == torch.ones(())
    for steps in range(1, 6):
        x, _ = scipy_cg(A.numpy(), b.numpy(), maxiter=steps, rtol=0.0)
        expected = float((A @ torch.from_numpy(x) - b).norm() / b.norm())
        assert float(history[steps]) == pytest.approx(expected, rel=1e-8)


def test_the_best_iterate_is_kept_where_the_residual_rises():
    A, b = oracles.symmetric([1.0, 10.0, 1e3, 1e5, 1e6, 1e7]), vector()

    short, long = (CG(steps=steps)(lambda v: A @ v, b) for steps in (1, 3))

    assert float(long.history[1:].max()) > 1.0  # it did rise
    assert float(short.residual) <= 1.0
    assert float(long.residual) == pytest.approx(float(long.history.min()), rel=1e-6)


def test_what_has_converged_stands_still():
    A, b = oracles.symmetric([2.0, 3.0]), vector(2)

    early, late = (CG(steps=steps)(lambda v: A @ v, b) for steps in (2, 50))

    assert torch.equal(early.x, late.x)
    assert int(late.steps) == 2
    assert late.history.shape == (51,)


@pytest.mark.parametrize("name", cases.SOLVERS)
def test_negative_curvature_is_flagged(name):
    A, b = oracles.symmetric([-4.0, 1.0, 2.0, 3.0]), vector(4)

    assert float(plugins.load("solvers", name)()(lambda v: A @ v, b).curvature) < 0


def test_the_dense_solver_solves_a_saddle_where_cg_stops():
    A, b = oracles.symmetric([-4.0, 1.0, 2.0, 3.0]), vector(4)

    dense, cg = (solver(lambda v: A @ v, b) for solver in (Dense(), CG()))

    assert oracles.relative(dense.x, torch.linalg.solve(A, b)) < 1e-13
    assert float(dense.curvature) == pytest.approx(-4.0, rel=1e-12)
    assert float(cg.residual) > 1e-3


def test_float32_reaches_its_own_round_off():
    A, b = oracles.symmetric([1.0, 2.0, 5.0, 10.0]), vector(4)

    for solver in (CG(), Dense()):
        found = solver(lambda v: A.float() @ v, b.float())
        assert found.x.dtype == torch.float32
        assert oracles.relative(found.x.double(), torch.linalg.solve(A, b)) < 1e-5


def test_settings_that_solve_nothing_are_refused():
    with pytest.raises(Misuse, match="at least 1 step"):
        CG(steps=0)
    with pytest.raises(Misuse, match="tol is 1"):
        CG(tol=1.0)
    with pytest.raises(Misuse, match=r"given 4 parameters.*stops at 3; use the solver cg"):
        Dense(limit=3)(lambda v: v, vector(4))
