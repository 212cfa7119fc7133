"""Does the memory of the exact meta-gradient grow by the inner iterates only?"""

from __future__ import annotations

import pytest
import torch

import metabench as mb
from metabench.autodiff.operation_counts import work_of
from metabench.problems import architectures
from metabench.problems.tasks import tree_map

SHORT, LONG = 1, 50


def subject():
    """A convolutional net, whose graphs outweigh its parameters, with one task."""
    net = architectures.conv(2, 8, 5, 14)
    problem = mb.Problem.from_module(net, torch.nn.functional.cross_entropy)
    noise = torch.Generator().manual_seed(0)
    images = lambda n: (torch.randn(n, 1, 14, 14, generator=noise), torch.arange(n) % 5)  # ruff: ignore[lambda-assignment]
    return problem, architectures.initial_parameters(net, 0).float(), mb.Task(images(5), images(20))


def unrolled(problem, steps, theta, task):
    """Differentiate through all steps by autograd, as other libraries do."""
    theta = theta.clone().requires_grad_()
    phi = theta
    for _ in range(steps):
        loss = problem.inner_loss(phi, theta, task.support)
        phi = phi - 0.01 * torch.autograd.grad(loss, phi, create_graph=True)[0]
    return torch.autograd.grad(problem.outer_loss(phi, theta, task.query), theta)[0]


@pytest.mark.parametrize("step", [mb.SGD(), mb.Momentum(), mb.Adam()], ids=lambda s: str(type(s)))
def test_recomputed_memory_grows_by_less_than_the_inner_iterates(step):
    problem, theta, task = subject()

    held = {
        steps: work_of(mb.MAML(steps, step, rematerialize="sqrt"), problem, theta, task).bytes
        for steps in (SHORT, LONG)
    }

    numbers = (1 + len(step.start(theta))) * theta.numel()
    iterates = (LONG - SHORT) * numbers * theta.element_size()
    # the least that can be held is 2 sqrt(K) of the K steps
    assert 0.25 * iterates < held[LONG] - held[SHORT] <= 0.5 * iterates


def test_it_holds_less_than_a_quarter_of_a_plain_unroll():
    problem, theta, task = subject()

    ours = work_of(mb.MAML(LONG, rematerialize="sqrt"), problem, theta, task).bytes
    theirs = work_of(unrolled, problem, LONG, theta, task).bytes

    assert ours < theirs / 4


def test_per_task_gradients_take_no_more_arithmetic_than_the_averaged_one():
    problem, theta, task = subject()
    tasks = tree_map(lambda leaf: torch.stack([leaf] * 3), task)
    each = mb.Vectorization("loop", engine="eager").per_task(
        lambda at, one: mb.MAML(5, rematerialize="none")(problem, at, one).grad
    )

    ours = work_of(each, theta, tasks).flops
    averaged = 3 * work_of(unrolled, problem, 5, theta, task).flops

    assert ours <= 1.15 * averaged
