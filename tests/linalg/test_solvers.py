"""Do the solvers solve, and report when they do not?"""

from __future__ import annotations

from dataclasses import replace

import cases
import oracles
import pytest
import torch
from scipy.sparse.linalg import cg as scipy_cg
from scipy.sparse.linalg import minres as scipy_minres
from torch.func import vmap

from metabench.linalg.solvers.cg import CG, conjugate_gradients
from metabench.linalg.solvers.dense import Dense
from metabench.linalg.solvers.minres import MINRES
from metabench.linalg.solvers.neumann import Neumann
from metabench.linalg.solvers.nystrom import Nystrom
from metabench.settings import registry
from metabench.settings.errors import InvalidInput

SPECTRA = {
    "identity": [1.0] * 6,
    "two values": [1.0, 1e3] * 3,
    "condition 50": [1.0, 2.0, 5.0, 10.0, 20.0, 50.0],
    "condition 1e6": [1.0, 10.0, 1e2, 1e3, 1e4, 1e6],
}


HARD = {
    "condition 50": [1.0, 2.0, 5.0, 10.0, 20.0, 50.0],
    "ill-conditioned": [1.0, 10.0, 1e3, 1e5, 1e6, 1e7],
    "indefinite": [-4.0, -1.0, 1.0, 2.0, 3.0, 8.0],
    "singular": [0.0, 0.0, 1.0, 2.0, 3.0, 4.0],
    "clustered": [1.0, 1.0 + 1e-9, 1.0 + 2e-9, 50.0, 50.0 + 1e-9, 50.0 + 2e-9],
}

# Enough steps for the spectra above; the series can't reach a condition number of 1e3.
ENOUGH = {
    "cg": {"steps": 30},
    "minres": {"steps": 30},
    "nystrom": {"rank": 3, "steps": 30},
    "dense": {},
}


def test_every_solver_is_tested():
    assert set(cases.SOLVERS) == {*ENOUGH, "neumann"}


def vector(P=6, seed=1, dtype=torch.float64):
    return torch.randn(P, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA.keys())
@pytest.mark.parametrize("name", ENOUGH)
def test_every_solver_solves_to_the_condition_numbers_round_off(name, spectrum):
    A, b = oracles.symmetric(spectrum), vector()

    found = registry.load("solvers", name)(**ENOUGH[name])(lambda v: A @ v, b)

    expected = torch.linalg.solve(A, b)
    assert oracles.relative(found.x, expected) < 1e-13 * max(spectrum) / min(spectrum) + 1e-12
    # curvatures are good to the round-off of the largest
    assert min(spectrum) - 1e-13 * max(spectrum) <= float(found.curvature)
    assert float(found.curvature) <= max(spectrum) * (1 + 1e-9)


@pytest.mark.parametrize("steps", [3, 30])
@pytest.mark.parametrize("spectrum", HARD.values(), ids=HARD.keys())
@pytest.mark.parametrize("name", cases.SOLVERS)
def test_the_residual_is_that_of_the_solution(name, spectrum, steps):
    A, b = oracles.symmetric(spectrum), vector()
    settings = {} if name == "dense" else {"steps": steps}

    found = registry.load("solvers", name)(**settings)(lambda v: A @ v, b)

    true = float((A @ found.x - b).norm() / b.norm())
    # of x itself, to the round-off of A x: an answer may be many times as long as b
    size = float(found.x.norm() / b.norm()) * max(map(abs, spectrum))
    same = float(found.residual) == pytest.approx(true, rel=1e-9, abs=1e-14 * max(size, 1))
    # where there is no answer, singular or overflowed, there is no residual
    assert same or not (torch.isfinite(found.x).all() or torch.isfinite(found.residual))


@pytest.mark.parametrize("name", cases.SOLVERS)
def test_the_residual_is_measured_where_products_are_not_quite_symmetric(name):
    """As for products by finite differences, where the recursive residual is wrong."""
    A, b = oracles.symmetric(HARD["condition 50"]), vector()
    skew = torch.triu(torch.ones_like(A), 1)
    A = A + 0.1 * (skew - skew.T)

    found = registry.load("solvers", name)()(lambda v: A @ v, b)

    true = float((A @ found.x - b).norm() / b.norm())
    assert float(found.residual) == pytest.approx(true, rel=1e-9)
    assert true > 1e-6


@pytest.mark.parametrize("name", cases.SOLVERS)
def test_a_right_hand_side_of_zero_has_the_solution_zero(name):
    A = oracles.symmetric([1.0, 2.0, 3.0])

    found = registry.load("solvers", name)()(lambda v: A @ v, torch.zeros(3, dtype=torch.float64))

    assert found.x.tolist() == [0.0] * 3
    assert (float(found.residual), float(found.history[-1])) == (0.0, 0.0)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_the_scale_of_the_right_hand_side_does_not_matter(scale):
    A, b = oracles.symmetric([1.0, 2.0, 5.0]), vector(3)

    found = CG()(lambda v: A @ v, scale * b).x

    assert oracles.relative(found / scale, torch.linalg.solve(A, b)) < 1e-12


@pytest.mark.parametrize("name", cases.SOLVERS)
def test_every_solver_is_the_same_under_vmap_where_some_have_converged(name):
    """Zero, an eigenvector (one step), a full vector, and one that isn't finite."""
    A, solver = oracles.symmetric([1.0, 2.0, 5.0, 10.0]), registry.load("solvers", name)()
    eigenvector = torch.linalg.eigh(A).eigenvectors[:, 2]
    B = torch.stack([torch.zeros_like(A[0]), eigenvector, vector(4), A[0] / 0])

    together = vmap(lambda b: solver(lambda v: A @ v, b))(B)

    for i, b in enumerate(B):
        alone = solver(lambda v: A @ v, b)
        for one, other in zip(together, alone, strict=True):
            # 1e-9: residuals at round-off are round-off themselves
            torch.testing.assert_close(one[i], other, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("name", cases.SOLVERS)
def test_input_that_is_not_finite_gives_no_finite_solution(name):
    b = vector(3)
    solver = registry.load("solvers", name)()

    assert solver(lambda v: v * torch.nan, b).x.isnan().all()
    assert solver(lambda v: v, b * torch.nan).x.isnan().all()


def test_cg_is_exact_after_as_many_steps_as_distinct_eigenvalues():
    A, b = oracles.symmetric([1.0, 1e3] * 4), vector(8)

    found = CG(steps=2)(lambda v: A @ v, b)

    assert oracles.relative(found.x, torch.linalg.solve(A, b)) < 1e-10
    assert int(found.steps) == 2


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize(
    "spectrum",
    [
        [1.0, 1.5, 2.0, 2.5, 3.0, 3.5],
        [1.0, 1.01, 1.02, 9.0, 9.01, 9.02],
        [0.0, 1.0, 1.5, 2.0, 2.5, 3.0],
    ],
    ids=["spread", "clustered", "singular"],
)
def test_cg_takes_scipys_steps(spectrum, steps):
    A = oracles.symmetric(spectrum)
    b = A @ vector()  # so that the singular system has answers

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


def test_the_curvature_is_the_least_of_all_directions_met():
    A, b = oracles.symmetric([1.0, 2.0, 5.0, 10.0, 20.0, 50.0]), vector()

    met = [float(CG(steps=steps)(lambda v: A @ v, b).curvature) for steps in range(1, 7)]

    assert met == sorted(met, reverse=True)
    assert len(set(met)) < 6  # some direction was bent more than one before it


@pytest.mark.parametrize(
    ("solver", "enough"),
    [(CG(), 2), (MINRES(), 2), (Neumann(scale=0.4), 20), (Nystrom(rank=1), 3)],
)
def test_a_converged_solver_stops(solver, enough):
    A, b = oracles.symmetric([2.0, 3.0]), vector(2)

    early, late = (replace(solver, steps=steps)(lambda v: A @ v, b) for steps in (20, 50))

    assert torch.equal(early.x, late.x)
    assert int(late.steps) <= enough
    assert late.history.shape == (51,)


@pytest.mark.parametrize("name", cases.SOLVERS)
def test_negative_curvature_is_flagged(name):
    A, b = oracles.symmetric([-4.0, 1.0, 2.0, 3.0]), vector(4)

    assert float(registry.load("solvers", name)()(lambda v: A @ v, b).curvature) < 0


def test_a_sketch_finds_negative_curvature_outside_the_krylov_space():
    A = oracles.symmetric([-4.0, 1.0, 2.0, 3.0])
    eigenvector = torch.linalg.eigh(A).eigenvectors[:, 2]

    found = Nystrom(rank=4)(lambda v: A @ v, eigenvector)

    assert float(found.curvature) == pytest.approx(-4.0, rel=1e-12)
    assert oracles.relative(found.x, eigenvector / 2) < 1e-12


def test_dense_and_minres_solve_a_saddle_where_cg_stops():
    A, b = oracles.symmetric([-4.0, 1.0, 2.0, 3.0]), vector(4)

    dense, minres, cg = (solver(lambda v: A @ v, b) for solver in (Dense(), MINRES(), CG()))

    for found in (dense, minres):
        assert oracles.relative(found.x, torch.linalg.solve(A, b)) < 1e-13
        assert float(found.curvature) == pytest.approx(-4.0, rel=1e-12)
    assert float(cg.residual) > 1e-3


def test_float32_reaches_its_own_round_off():
    A, b = oracles.symmetric([1.0, 2.0, 5.0, 10.0]), vector(4)

    for solver in (CG(), Dense(), MINRES(), Nystrom(rank=2)):
        found = solver(lambda v: A.float() @ v, b.float())
        assert found.x.dtype == torch.float32
        assert oracles.relative(found.x.double(), torch.linalg.solve(A, b)) < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "spectrum",
    [
        [1.0, 1.5, 2.0, 2.5, 3.0, 3.5],
        [-3.0, -1.0, 0.5, 2.0, 3.0, 4.0],
        [-2.0, 1.0, 1e-3, 5, 8, 9],
        [-3.0, 0.0, 1.0, 2.0, 5.0, 6.0],
        [-2.0, -2.01, 1.0, 1.01, 3.0, 3.01],
    ],
)
def test_minres_takes_scipys_steps(spectrum, steps):
    A, b = oracles.symmetric(spectrum), vector()

    found = MINRES(steps=steps)(lambda v: A @ v, b)

    expected, _ = scipy_minres(A.numpy(), b.numpy(), maxiter=steps, rtol=1e-15)
    torch.testing.assert_close(found.x, torch.from_numpy(expected), rtol=1e-9, atol=1e-11)
    assert found.history.shape == (steps + 1,)
    assert float(found.history[-1]) == pytest.approx(float(found.residual), rel=1e-8)
    assert found.history.diff().max() <= 1e-15  # it never rises


def test_the_residual_of_minres_is_the_least_of_the_krylov_space():
    A, b = oracles.symmetric([-4.0, -1.0, 0.5, 2.0, 7.0, 9.0]), vector()
    powers = [b]
    for steps in range(1, 6):
        powers.append(A @ powers[-1])
        space = torch.linalg.qr(torch.stack(powers[:-1], -1))[0]
        best = space @ torch.linalg.lstsq(A @ space, b[:, None]).solution[:, 0]

        found = MINRES(steps=steps)(lambda v: A @ v, b)

        assert float(found.residual) == pytest.approx(float((A @ best - b).norm() / b.norm()))


def test_minres_solves_a_singular_system_with_least_norm_or_least_residual():
    A = oracles.symmetric([0.0, 0.0, 1.0, -2.0, 3.0])
    b = vector(5)

    can, cannot = (MINRES(steps=10)(lambda v: A @ v, rhs) for rhs in (A @ b, b))

    assert oracles.relative(can.x, torch.linalg.pinv(A, hermitian=True) @ A @ b) < 1e-12
    nearest = (A @ torch.linalg.pinv(A, hermitian=True) @ b - b).norm() / b.norm()
    assert float(cannot.residual) == pytest.approx(float(nearest), rel=1e-6)
    assert float(cannot.curvature) < 0


@pytest.mark.parametrize("solver", [CG(), MINRES(), Nystrom(rank=3), Neumann(300, 0.3)])
def test_a_consistent_singular_system_is_solved_with_least_norm(solver):
    A = oracles.symmetric([0.0, 0.0, 1.0, 2.0, 3.0])
    b = A @ vector(5)

    found = solver(lambda v: A @ v, b)

    assert oracles.relative(found.x, torch.linalg.pinv(A, hermitian=True) @ b) < 1e-11
    assert float(found.residual) < 1e-11


def test_the_dense_solver_rejects_only_matrices_singular_to_round_off():
    singular, near = (oracles.symmetric([least, 0.5, 1.0, 3.0]) for least in (0.0, 1e-13))
    # both systems have answers; of the first's, round-off would choose one
    found, close = (Dense()(lambda v, A=A: A @ v, A @ vector(4)) for A in (singular, near))

    assert not torch.isfinite(found.x).all()
    assert not torch.isfinite(found.residual)
    assert oracles.relative(close.x, vector(4)) < 1e-2


@pytest.mark.parametrize("terms", [1, 4, 30])
def test_neumann_is_the_sum_of_its_powers(terms):
    A, b, scale = oracles.symmetric([0.5, 1.0, 2.0, 3.0]), vector(4), 0.3
    expected, power = torch.zeros_like(b), b
    for _ in range(terms):
        expected, power = expected + scale * power, power - scale * A @ power

    found = Neumann(steps=terms, scale=scale)(lambda v: A @ v, b)

    assert oracles.relative(found.x, expected) < 1e-13
    assert float(found.history[-1]) == pytest.approx(float(found.residual), rel=1e-9)


def test_neumann_reduces_the_residual_by_its_factor_and_reports_divergence():
    A, b = oracles.symmetric([1.0, 4.0]), vector(2)

    slow, edge, past = (
        Neumann(steps=40, scale=scale)(lambda v: A @ v, b) for scale in (0.1, 0.5, 0.6)
    )

    assert float(slow.history[-1] / slow.history[-2]) == pytest.approx(0.9, rel=1e-6)
    assert 0 < float(edge.residual) < 1  # |1 - 0.5 * 4| = 1: what lies there stays
    assert float(edge.history[-1]) == pytest.approx(float(edge.history[-2]), rel=1e-6)
    assert float(past.residual) > 1
    assert float(past.history[-1] / past.history[-2]) == pytest.approx(1.4, rel=1e-6)


def low_rank(P=40, damping=0.5):
    """A few large eigenvalues above a floor, as of a Hessian plus a proximal term."""
    return oracles.symmetric([damping] * (P - 4) + [damping + top for top in (1, 10, 1e2, 1e4)])


def test_a_sketch_of_full_rank_inverts_the_matrix():
    A, b = low_rank(), vector(40)

    exact, short, unknown = (
        Nystrom(rank=rank, damping=damping, steps=0)(lambda v: A @ v, b)
        for rank, damping in ((4, 0.5), (2, 0.5), (4, 0.0))
    )

    assert oracles.relative(exact.x, torch.linalg.solve(A, b)) < 1e-9
    assert int(exact.steps) == 4
    assert float(short.residual) > 1e-3
    assert float(unknown.residual) > 1e-3


def test_a_sketch_preconditions_ill_conditioned_spectra():
    """Four outliers above a decade of small eigenvalues, condition number 1e6."""
    small = [0.01 + 0.09 * i / 59 for i in range(60)]
    A, b = oracles.symmetric([*small, 10.0, 1e2, 1e3, 1e4]), vector(64)

    plain = CG(steps=300, tol=1e-8)(lambda v: A @ v, b)
    sketched = Nystrom(rank=12, steps=300, tol=1e-8)(lambda v: A @ v, b)

    assert float(plain.residual) < 1e-7
    assert float(sketched.residual) < 1e-7
    assert int(sketched.steps) < 0.8 * int(plain.steps)  # its 12 products included


def test_a_preconditioner_of_one_changes_nothing():
    A, b = oracles.symmetric([1.0, 2.0, 5.0, 10.0, 20.0, 50.0]), vector()

    one = conjugate_gradients(lambda v: A @ v, b, 4, 0.0, lambda r: r)

    assert torch.equal(one.x, CG(steps=4, tol=0.0)(lambda v: A @ v, b).x)


@pytest.mark.parametrize(
    "spectrum", [[2.0] * 3 + [3.0] * 3, [1e-4, 1.0, 1.0, 1.0, 1.0, 1.0]], ids=["clusters", "gap"]
)
@pytest.mark.parametrize("solver", [CG(), MINRES(), Nystrom(rank=1)])
def test_clusters_cost_as_many_steps_as_there_are(solver, spectrum):
    A, b = oracles.symmetric(spectrum), vector()

    found = solver(lambda v: A @ v, b)

    assert oracles.relative(found.x, torch.linalg.solve(A, b)) < 1e-9
    assert int(found.steps) <= 4


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MINRES(steps=0), "MINRES needs at least 1 step"),
        (lambda: MINRES(tol=-1.0), "tol is -1"),
        (lambda: Neumann(steps=0), "at least 1 term"),
        (lambda: Neumann(scale=0.0), "scale is 0"),
        (lambda: Neumann(tol=2.0), "tol is 2"),
        (lambda: Nystrom(rank=0), "at least 1 direction"),
        (lambda: Nystrom(steps=-1), "steps is -1"),
        (lambda: Nystrom(damping=-1.0), "damping is -1"),
        (lambda: Nystrom(tol=1.0), "tol is 1"),
    ],
)
def test_invalid_settings_of_the_other_solvers_are_rejected(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


def test_invalid_settings_of_cg_are_rejected():
    with pytest.raises(InvalidInput, match="at least 1 step"):
        CG(steps=0)
    with pytest.raises(InvalidInput, match="tol is 1"):
        CG(tol=1.0)
    with pytest.raises(InvalidInput, match=r"given 4 parameters.*limit is 3\. Use the solver cg"):
        Dense(limit=3)(lambda v: v, vector(4))
