"""Does the error of the Hessian-free meta-gradient follow its displacement?"""

from __future__ import annotations

from dataclasses import replace

import cases
import numpy as np
import oracles
import pytest
import torch

from metabench.algorithms.hf_maml import HFMAML
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.families.quadratic import Quadratic
from metabench.problems.tasks import Address, tree_map
from metabench.settings.errors import InvalidInput


def errors(deltas, kind="plain", inner_optimizer=None):
    problem, task = cases.problem(kind), cases.one(cases.tasks(1), 0)
    theta, step = cases.theta(problem), inner_optimizer or SGD(rate=0.1)
    exact = MAML(steps=3, inner_optimizer=step)(problem, theta, task).grad
    return np.array([
        oracles.relative(
            HFMAML(steps=3, inner_optimizer=step, delta=delta)(problem, theta, task).grad, exact
        )
        for delta in deltas
    ])  # fmt: skip


@pytest.mark.parametrize("kind", ["plain", "batch norm", "layer norm"])
def test_the_error_falls_as_the_square_of_delta_then_rises_as_round_off_over_it(kind):
    falling, rising = np.array([1e-2, 1e-3]), np.array([1e-7, 1e-8, 1e-9, 1e-10])

    square, round_off = errors(falling, kind), errors(rising, kind)

    assert np.diff(np.log10(square)) == pytest.approx(-2, abs=0.1)
    # round-off is random: its slope over three decades, and its size, eps / delta times a few
    assert np.polyfit(np.log10(rising), np.log10(round_off), 1)[0] == pytest.approx(-1, abs=0.3)
    assert (round_off * rising < 1e-14).all()


@pytest.mark.parametrize("step", cases.STEPS.values(), ids=cases.STEPS.keys())
def test_every_inner_optimizer_is_differentiated_exactly_except_for_the_hessian(step):
    assert errors([1e-5], inner_optimizer=step)[0] < 1e-8


def test_on_quadratics_any_delta_is_exact():
    """Differences of linear gradients have no error but round-off."""
    family = Quadratic(dim=5)
    task = tree_map(lambda leaf: leaf[0], family.sample(Address.fresh(0, 1), 0))
    theta, problem = family.theta(0), family.problem()

    found = HFMAML(steps=4, inner_optimizer=SGD(rate=0.3), delta=1.0)(problem, theta, task)

    expected = MAML(steps=4, inner_optimizer=SGD(rate=0.3))(problem, theta, task)
    assert oracles.relative(found.grad, expected.grad) < 1e-13
    assert torch.equal(found.phi, expected.phi)


def test_theta_in_the_inner_loss_is_reached_by_differences_too():
    problem, theta, task = cases.mixed()
    maml = MAML(steps=3, inner_optimizer=SGD(rate=0.05))

    found = HFMAML(steps=3, inner_optimizer=SGD(rate=0.05), delta=1e-5)(problem, theta, task).grad

    assert oracles.relative(found, maml(problem, theta, task).grad) < 1e-9


def test_delta_is_a_length_whatever_the_size_of_the_vector():
    """The paper's displacement would be delta |v|: the error would grow with the loss."""
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    theta, hf = cases.theta(problem), HFMAML(steps=3, inner_optimizer=SGD(rate=0.1), delta=1e-2)
    loud = problem._replace(outer_loss=lambda *at: 1e6 * problem.outer_loss(*at))

    quiet, large = (hf(p, theta, task).grad for p in (problem, loud))

    assert oracles.relative(large / 1e6, quiet) < 1e-12


def test_a_displacement_that_is_not_positive_is_rejected():
    for delta in (0.0, -1.0, float("inf")):
        with pytest.raises(InvalidInput, match="delta is"):
            replace(HFMAML(), delta=delta)
