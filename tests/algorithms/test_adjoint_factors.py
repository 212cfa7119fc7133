"""Are missing and scaled second-order terms located, by layer and by step?"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import mse_loss
from torch.testing import assert_close

from metabench.algorithms.adjoint_factors import fit_by_layer, fit_by_step, unrolled
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task

STEPS, RATE = 3, 0.2
torch.manual_seed(0)
NET = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
PROBLEM = Problem.from_module(NET, mse_loss)
MADE = torch.randn(2, 4, 5, 3, dtype=torch.float64)
TASKS = [Task(*((x[:, :2], x[:, 2:]) for x in task[:2])) for task in MADE]


def plain(task, factor=lambda k, name: 1.0):
    """Autograd through the unroll; a factor of 0 detaches that inner gradient."""
    start = {n: v.detach().clone().requires_grad_() for n, v in NET.named_parameters()}
    phi = start
    for k in range(STEPS):
        inner = mse_loss(functional_call(NET, phi, (task.support[0],)), task.support[1])
        grads = torch.autograd.grad(inner, list(phi.values()), create_graph=True)
        used = [factor(k, n) * g + (1 - factor(k, n)) * g.detach()
                for n, g in zip(phi, grads, strict=True)]  # fmt: skip
        phi = {n: v - RATE * g for (n, v), g in zip(phi.items(), used, strict=True)}
    outer = mse_loss(functional_call(NET, phi, (task.query[0],)), task.query[1])
    return torch.cat([g.ravel() for g in torch.autograd.grad(outer, list(start.values()))])


def runs():
    loop = MAML(STEPS, SGD(RATE)).loop(PROBLEM)
    return [unrolled(loop, STEPS, PROBLEM, PROBLEM.theta.double(), task) for task in TASKS]


def test_the_recursion_is_autograd_through_the_unroll():
    assert_close(torch.stack([run.gradient() for run in runs()]),
                 torch.stack([plain(task) for task in TASKS]))  # fmt: skip


@pytest.mark.parametrize(
    "planted",
    [{"0.weight": 0.0}, {"2.weight": 0.0, "2.bias": 0.0}, {"0.bias": 2.0}, {"0.weight": -1.0}],
    ids=str,
)
def test_the_layers_whose_inner_gradient_is_detached_or_scaled_are_found(planted):
    given = torch.stack([plain(t, lambda k, name: planted.get(name, 1.0)) for t in TASKS])

    fit = fit_by_layer(runs(), given)

    assert fit.error < 1e-8
    expected = [planted.get(name, 1.0) for name in PROBLEM.layouts.phi.names]
    assert_close(fit.factors, torch.tensor(expected).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("step", range(STEPS))
def test_the_step_that_is_detached_is_found_and_no_layer_explains_it(step):
    given = torch.stack([plain(t, lambda k, name: float(k != step)) for t in TASKS])

    fit = fit_by_step(runs(), given)

    assert fit.error < 1e-8
    assert_close(fit.factors, torch.tensor([float(k != step) for k in range(3)]).double(),
                 atol=1e-6, rtol=0)  # fmt: skip
    assert fit_by_layer(runs(), given).error > 1e-4
