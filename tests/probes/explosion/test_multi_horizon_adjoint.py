"""Do meta-gradients of one shared unroll equal separate unrolls, and exponents dense ones?"""

from __future__ import annotations

import math

import cases
import oracles
import pytest
import torch
from torch.func import grad, jacrev

from metabench.algorithms.anil import ANIL
from metabench.algorithms.base import Loop
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.algorithms.meta_sgd import MetaSGD
from metabench.estimation.vectorization import Vectorization
from metabench.families.quadratic import Quadratic
from metabench.families.ridge import Ridge
from metabench.probes.explosion import measure_multi_horizon_adjoint
from metabench.problems.proximal import proximal
from metabench.problems.tasks import Address, tree_map

AT = (0, 1, 2, 5, 7)


def sweep_tasks(step, problem, theta, tasks, at=AT, how="vmap"):
    compute, loop = Vectorization(how, engine="eager"), Loop(problem, step)
    return compute.per_task(lambda t, task: measure_multi_horizon_adjoint.sweep(loop, at, t, task))(
        theta, tasks
    )


@pytest.mark.parametrize("name", cases.STEPS)
@pytest.mark.parametrize("kind", ["plain", "batch norm", "layer norm"])
def test_every_k_is_autograd_through_its_own_unroll(name, kind):
    step, problem = cases.STEPS[name], cases.problem(kind)
    theta, tasks = cases.theta(problem), cases.tasks(2)

    found = sweep_tasks(step, problem, theta, tasks).grads

    for i in range(2):
        for n, K in enumerate(AT):
            expected = oracles.unrolled(MAML(K, step), problem, theta, cases.one(tasks, i))
            assert oracles.relative(found[i, n], expected) < 1e-10


def test_theta_in_the_inner_loss_contributes():
    """Ridge: theta is the penalty, of another size than phi, and doesn't move phi_0."""
    family = Ridge()
    problem, theta = family.problem(), family.theta(0)
    tasks = family.sample(Address.fresh(0, 2), 0)
    step = cases.STEPS["momentum"]

    found = sweep_tasks(step, problem, theta, tasks).grads

    assert not found[:, 0].any()  # theta moves no phi_0
    task = tree_map(lambda leaf: leaf[1], tasks)
    for n, K in list(enumerate(AT))[1:]:

        def outer(theta, K=K):
            phi = problem.init(theta)
            slots = step.start(phi)
            for k in range(K):
                phi, slots = step(grad(problem.inner_loss)(phi, theta, task.support), phi, slots, k)
            return problem.outer_loss(phi, theta, task.query)

        torch.testing.assert_close(found[1, n], grad(outer)(theta), rtol=1e-10, atol=1e-14)


def test_norms_of_the_backward_pass_are_those_of_maml():
    problem, step = cases.problem(), cases.STEPS["sgd"]
    theta, tasks = cases.theta(problem), cases.tasks(1)

    found = sweep_tasks(step, problem, theta, tasks, how="loop")
    expected = MAML(7, step)(problem, theta, cases.one(tasks, 0)).notes["norms"]

    torch.testing.assert_close(found.adjoint[0], expected)
    torch.testing.assert_close(found.starts[0, -1], expected[0])
    torch.testing.assert_close(found.ends[0, -1], expected[-1])


@pytest.mark.parametrize("name", cases.STEPS)
def test_exponents_are_the_singular_values_of_the_dense_jacobian(name):
    step, K = cases.STEPS[name], 4
    problem = proximal(cases.problem(), 0.5)
    theta, tasks = cases.theta(problem), cases.tasks(2)
    P = len(theta)
    start = torch.eye(P, dtype=torch.float64)  # the whole space: exact after one pass

    passes = Vectorization("vmap", engine="eager").per_task(
        lambda t, task: measure_multi_horizon_adjoint.lyapunov_exponents(
            Loop(problem, step), K, t, task, start, 60
        )
    )(theta, tasks)
    found = passes[:, -1]

    for i in range(2):
        task = cases.one(tasks, i)

        def last(start, task=task):
            phi, slots = start, step.start(start)
            for k in range(K):
                gradient = grad(problem.inner_loss)(phi, theta, task.support)
                phi, slots = step(gradient, phi, slots, k)
            return phi

        expected = torch.linalg.svdvals(jacrev(last)(theta)).log() / K
        torch.testing.assert_close(found[i, :3], expected[:3], rtol=0, atol=1e-3)
        # the product of all is a determinant, which no rotation of the block changes
        torch.testing.assert_close(found[i].sum(), expected.sum(), rtol=1e-8, atol=1e-8)


def test_exponents_of_a_quadratic_are_closed_forms_beyond_overflow():
    """The factors commute: log |1 - alpha a| for curvature a, where their product overflows."""
    family = Quadratic(dim=5, condition=3.0, jitter=0.0)
    problem, theta = family.problem(), family.theta(0)
    tasks = family.sample(Address.fresh(0, 1), 0)
    step, K = SGD(rate=20.0), 250  # grows by up to 19 a step: 19^250 = 1e319

    start = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    passes = Vectorization("vmap", engine="eager").per_task(
        lambda t, task: measure_multi_horizon_adjoint.lyapunov_exponents(
            Loop(problem, step), K, t, task, start, 1
        )
    )(theta, tasks)
    before, found = passes[:, 0], passes[:, 1]

    expected = [math.log(abs(1 - 20 * a)) for a in family.curvatures[:3]]
    assert found[0].tolist() == pytest.approx(expected, rel=1e-10)
    assert float((found - before).abs().max()) < 0.02


def test_float32_norms_beyond_1e19_are_finite():
    assert math.isfinite(float(measure_multi_horizon_adjoint.norm(torch.full((3,), 1e30))))


@pytest.mark.parametrize("algorithm", [MetaSGD(5, SGD(0.1)), ANIL(5, SGD(0.1))])
def test_appended_parameters_have_meta_gradients_too(algorithm):
    of = cases.problem()
    problem, theta = algorithm.extend(of, cases.theta(of))
    tasks = cases.tasks(2)
    loop = algorithm.loop(problem)

    found = Vectorization("vmap", engine="eager").per_task(
        lambda t, task: measure_multi_horizon_adjoint.sweep(loop, (2, 5), t, task)
    )(theta, tasks)

    expected = algorithm(problem, theta, cases.one(tasks, 1)).grad
    torch.testing.assert_close(found.grads[1, 1], expected, rtol=1e-10, atol=1e-14)


def test_exponents_see_learned_rates():
    """A bowl of curvature 1, with rates of 0.5 and 3: 1 - rate is 0.5 and -2."""
    family = Quadratic(dim=2, condition=1.0, jitter=0.0)
    algorithm = MetaSGD(6)
    problem, theta = algorithm.extend(family.problem(), family.theta(0))
    theta[2:] = torch.tensor([0.5, 3.0], dtype=torch.float64)
    task = tree_map(lambda leaf: leaf[0], family.sample(Address.fresh(0, 1), 0))

    start = torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64)
    passes = measure_multi_horizon_adjoint.lyapunov_exponents(
        algorithm.loop(problem), 6, theta, task, start, 20
    )

    assert passes[-1].tolist() == pytest.approx([math.log(2), math.log(0.5)], rel=1e-6)
