"""Is the implicit meta-gradient the gradient at the inner optimum, for theta of any kind?"""

from __future__ import annotations

from dataclasses import replace

import cases
import oracles
import pytest
import torch

from metabench.algorithms.fomaml import FOMAML
from metabench.algorithms.imaml import IMAML
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization
from metabench.families.quadratic import Quadratic
from metabench.families.ridge import Ridge
from metabench.linalg.solvers.cg import CG
from metabench.linalg.solvers.dense import Dense
from metabench.linalg.solvers.minres import MINRES
from metabench.linalg.solvers.neumann import Neumann
from metabench.linalg.solvers.nystrom import Nystrom
from metabench.probes.variance import Variance
from metabench.problems.problem import Problem
from metabench.problems.proximal import proximal
from metabench.problems.tasks import Address, Task, tree_map
from metabench.records.rows import from_table, to_table
from metabench.settings.errors import InvalidInput

SOLVERS = {
    "cg": CG(steps=60),
    "dense": Dense(),
    "minres": MINRES(steps=60),
    "nystrom": Nystrom(rank=6, steps=60),
}


@pytest.mark.parametrize("strength", [0.0, 0.7])
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
def test_it_is_the_dense_formula_at_any_phi_k(solver, strength):
    problem, theta, task = cases.mixed()
    imaml = IMAML(
        steps=7, inner_optimizer=SGD(rate=0.05), proximal_strength=strength, solver=solver
    )

    found = imaml(problem, theta, task)

    expected = oracles.implicit(proximal(problem, strength), found.phi, theta, task)
    assert oracles.relative(found.grad, expected) < 1e-11


@pytest.mark.parametrize("strength", [0.0, 0.7])
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
def test_it_is_the_long_unroll_once_the_inner_loop_has_converged(solver, strength):
    problem, theta, task = cases.mixed()
    imaml = IMAML(
        steps=200, inner_optimizer=SGD(rate=0.1), proximal_strength=strength, solver=solver
    )

    found = imaml(problem, theta, task)

    unroll = MAML(steps=200, inner_optimizer=SGD(rate=0.1))(
        proximal(problem, strength), theta, task
    )
    assert float(found.notes["gradient_norm"]) < 1e-13
    assert float(found.notes["curvature"]) > 0
    assert oracles.relative(found.grad, unroll.grad) < 1e-11


@pytest.mark.parametrize("kind", ["plain", "batch norm", "layer norm"])
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
def test_a_network_with_a_proximal_term_agrees_with_the_dense_formula(solver, kind):
    problem, task = cases.problem(kind), cases.one(cases.tasks(1), 0)
    theta = cases.theta(problem)
    imaml = IMAML(steps=3, inner_optimizer=SGD(rate=0.1), proximal_strength=20.0, solver=solver)

    found = imaml(problem, theta, task)

    expected = oracles.implicit(proximal(problem, 20.0), found.phi, theta, task)
    assert oracles.relative(found.grad, expected) < 1e-10
    assert float(found.notes["residual"]) < 1e-10


def test_the_proximal_term_is_half_its_strength_times_the_squared_distance_from_init():
    problem, theta, task = cases.mixed()
    phi = torch.linspace(-1, 1, 4).double()

    found = proximal(problem, 0.7).inner_loss(phi, theta, task.support)

    penalty = 0.35 * ((phi - torch.tanh(theta[:4])) ** 2).sum()
    assert float(found) == pytest.approx(
        float(problem.inner_loss(phi, theta, task.support) + penalty), rel=1e-14
    )


def test_the_neumann_series_converges_with_a_strong_proximal_term():
    """Eigenvalues lie around 20, so that each term reduces the residual tenfold."""
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    theta, series = cases.theta(problem), Neumann(steps=60, scale=0.045)

    found = IMAML(steps=3, inner_optimizer=SGD(rate=0.05), proximal_strength=20.0, solver=series)(
        problem, theta, task
    )

    expected = oracles.implicit(proximal(problem, 20.0), found.phi, theta, task)
    assert oracles.relative(found.grad, expected) < 1e-10


def test_the_regularizer_of_ridge_regression_has_its_closed_form():
    family = Ridge()
    problem, theta = family.problem(), family.theta(0)
    tasks = family.sample(Address.fresh(0, 4), seed=1)
    imaml = IMAML(
        steps=600, inner_optimizer=SGD(rate=0.5), proximal_strength=0.0, solver=CG(steps=8)
    )

    found = Vectorization().per_task(lambda at, task: imaml(problem, at, task))(theta, tasks)

    for i in range(4):
        phi, expected = family.truth(theta, tree_map(lambda leaf, i=i: leaf[i], tasks))
        assert oracles.relative(found.phi[i], phi) < 1e-12
        assert oracles.relative(found.grad[i], expected) < 1e-11


def test_the_unroll_approaches_the_closed_form_of_ridge_regression():
    family = Ridge()
    theta = family.theta(0)
    task = tree_map(lambda leaf: leaf[0], family.sample(Address.fresh(0, 1), seed=1))
    _, expected = family.truth(theta, task)

    errors = [
        oracles.relative(
            MAML(steps=steps, inner_optimizer=SGD(rate=0.5))(family.problem(), theta, task).grad,
            expected,
        )
        for steps in (10, 50, 250)
    ]

    assert errors[0] > 1e-2 > errors[1] > errors[2]
    assert errors[2] < 1e-8


def minimum(problem: Problem, theta: torch.Tensor, task: Task) -> torch.Tensor:
    """The inner optimum by Newton's method, from a dense Hessian by torch.autograd."""
    phi = problem.init(theta)
    for _ in range(8):
        loss = lambda p: problem.inner_loss(p, theta, task.support)  # ruff: ignore[lambda-assignment]
        gradient = torch.autograd.functional.jacobian(loss, phi)
        phi = phi - torch.linalg.solve(torch.autograd.functional.hessian(loss, phi), gradient)
    assert gradient.norm() < 1e-13
    return phi


@pytest.mark.parametrize("strength", [0.0, 0.7])
def test_it_agrees_with_finite_differences_of_the_loss_at_the_optimum(strength):
    """F(phi*(theta), theta), phi* solved at every theta, without unrolling or adjoint."""
    problem, theta, task = cases.mixed()
    pulled = proximal(problem, strength)
    imaml = IMAML(
        steps=200, inner_optimizer=SGD(rate=0.1), proximal_strength=strength, solver=Dense()
    )

    found = imaml(problem, theta, task).grad

    def loss(at):
        return float(problem.outer_loss(minimum(pulled, at, task), at, task.query))

    for seed in (4, 5):
        generator = torch.Generator().manual_seed(seed)
        along = torch.randn(6, generator=generator, dtype=torch.float64)
        difference = oracles.directional(loss, theta, along, h=1e-3)
        assert float(found @ along) == pytest.approx(difference, rel=1e-8)


def test_ridge_regression_agrees_with_finite_differences_of_its_closed_form_optimum():
    family = Ridge()
    problem, theta = family.problem(), family.theta(0)
    task = tree_map(lambda leaf: leaf[0], family.sample(Address.fresh(0, 1), seed=1))
    imaml = IMAML(
        steps=600, inner_optimizer=SGD(rate=0.5), proximal_strength=0.0, solver=CG(steps=8)
    )

    found = imaml(problem, theta, task).grad

    def loss(at):
        return float(problem.outer_loss(family.truth(at, task)[0], at, task.query))

    for entry, along in zip(found, torch.eye(6, dtype=torch.float64), strict=True):
        difference = oracles.directional(loss, theta, along, h=1e-3)
        assert float(entry) == pytest.approx(difference, rel=1e-8, abs=1e-11)


def test_more_solver_steps_come_closer():
    family = Quadratic(dim=12, condition=50.0, jitter=0.0)
    theta = family.theta(0)
    task = tree_map(lambda leaf: leaf[0], family.sample(Address.fresh(0, 1), seed=1))
    exact = IMAML(steps=50, inner_optimizer=SGD(rate=0.5), proximal_strength=0.1, solver=Dense())

    expected = exact(family.problem(), theta, task).grad

    errors = [
        oracles.relative(
            replace(exact, solver=CG(steps=n))(family.problem(), theta, task).grad, expected
        )
        for n in (1, 3, 6, 12)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-10


def test_a_strong_proximal_term_gives_the_gradient_at_theta():
    """As lambda grows, phi* -> phi_0 and (I + H / lambda)^-1 -> I: the first-order gradient."""
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    theta, strength = cases.theta(problem), 1e9

    found = IMAML(steps=5, inner_optimizer=SGD(rate=0.5 / strength), proximal_strength=strength)(
        problem, theta, task
    )

    expected = FOMAML(steps=0)(problem, theta, task).grad
    assert oracles.relative(found.grad, expected) < 1e-7


def test_negative_curvature_reveals_a_saddle():
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    theta = cases.theta(problem)

    found = IMAML(steps=1, proximal_strength=1e-3, solver=Dense())(problem, theta, task)

    assert float(found.notes["curvature"]) < 0


def test_an_optimum_that_does_not_depend_on_theta_is_rejected():
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)

    with pytest.raises(
        InvalidInput, match=r"doesn't depend on theta.*--set algo.proximal_strength=2"
    ):
        IMAML(proximal_strength=0.0).check(problem, cases.theta(problem), task)

    IMAML().check(problem, cases.theta(problem), task)
    ridge = Ridge()
    one = tree_map(lambda leaf: leaf[0], ridge.sample(Address.fresh(0, 1), 0))
    MAML(steps=3)(ridge.problem(), ridge.theta(0), one)


def test_a_negative_proximal_strength_is_rejected():
    with pytest.raises(InvalidInput, match="strength is -1"):
        IMAML(proximal_strength=-1.0)


def test_few_shots_move_its_objective_by_the_closed_form():
    """On a bowl E g = h lambda^2 theta E (A + lambda)^-2, A the mean of two curvatures h (1 +- j).

    With many shots A is h.
    """
    family = Quadratic(2, 1.5, spread=0.2, noise=0.2, jitter=0.9, offset=2.0, shots=2)
    algorithm = IMAML(20, SGD(0.5), proximal_strength=1.0, solver=Dense())
    subject = Subject(family.problem(), family.sample, algorithm, family.theta(0))

    table = to_table(Variance(tasks=128, sizes=(1, 4), redrawn_tasks=512).measure(subject, 0))

    h, theta = family.curvatures, family.theta(0).numpy()
    few = sum(
        chance / (h * (1 + 0.9 * s) + 1) ** 2 for s, chance in ((-1, 0.25), (0, 0.5), (1, 0.25))
    )
    truth = ((h * theta * (few - 1 / (h + 1) ** 2)) ** 2).sum()
    (gap,) = [r for r in from_table(table, "bias", of="objective") if r.at is None]
    assert 0.5 * truth < gap.low < truth < gap.high
