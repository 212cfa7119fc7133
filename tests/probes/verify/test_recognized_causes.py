"""Is what a wrong gradient is said to be what was planted?"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad
from torch.nn.functional import mse_loss

import metabench as mb
from metabench.probes.verify import Verify
from metabench.problems.samplers import Indexed
from metabench.records.rows import to_table

STEPS, RATE = 2, 0.3
torch.manual_seed(0)
NET = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2), nn.Linear(2, 1)).double()


def sample(indices, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(indices), 12, 3, generator=generator, dtype=torch.float64)
    return (x[:, :5, :2], x[:, :5, 2:]), (x[:, 5:, :2], x[:, 5:, 2:])


PROBLEM = mb.Problem.from_module(NET, mse_loss, tasks=Indexed(sample))


def loss(phi, data):
    return mse_loss(functional_call(NET, phi, (data[0],)), data[1])


def objective(theta, task, steps=STEPS, rate=RATE):
    phi = theta
    for _ in range(steps):
        slopes = grad(loss)(phi, task.support)
        phi = {n: phi[n] - rate * slopes[n] for n in phi}
    return loss(phi, task.query)


def said(wrong, right=objective, implements=None):
    """Return claim and repair of the first finding on an estimator (loss, wrong gradient)."""
    box = mb.BlackBox(lambda t, task: (right(t, task), wrong(t, task)), implements=implements)
    subject = mb.Subject(PROBLEM, PROBLEM.tasks, box, PROBLEM.theta)
    probe = Verify(directions=2)
    first = probe.find(to_table(probe.measure(subject, 0)))[0]
    assert first.state == "fault"
    return f"{first.claim} {first.repair}"


def of(function):
    return lambda theta, task: grad(function)(theta, task)


def changed(change):
    return lambda theta, task: change(grad(objective)(theta, task), theta)


FROM_OUTSIDE = {
    "with support and query set exchanged": of(
        lambda t, task: objective(t, mb.Task(task.query, task.support))
    ),
    "without adaptation": of(lambda t, task: loss(t, task.query)),
    "last query example": of(
        lambda t, task: objective(t, mb.Task(task.support, [x[:-1] for x in task.query]))
    ),
    "by 0.1 theta: a penalty": changed(lambda g, t: {n: g[n] + 0.1 * t[n] for n in g}),
    "a bfloat16 number": changed(lambda g, t: {n: v.bfloat16().to(v) for n, v in g.items()}),
    "a float16 number": changed(lambda g, t: {n: v.half().to(v) for n, v in g.items()}),
    "Its norm is 0.5 on every task": changed(
        lambda g, t: {
            n: 0.5 * v / torch.cat([x.ravel() for x in g.values()]).norm() for n, v in g.items()
        }
    ),
    "of layers `0.weight` and `2.weight` exchanged": changed(
        lambda g, t: {**g, "0.weight": g["2.weight"], "2.weight": g["0.weight"]}
    ),
    "layer `2.weight` transposed": changed(lambda g, t: {**g, "2.weight": g["2.weight"].T}),
    "`3.bias` by 1 (it is zero)": changed(lambda g, t: {**g, "3.bias": 0 * g["3.bias"]}),
}


@pytest.mark.parametrize("words", FROM_OUTSIDE)
def test_a_slip_that_shows_from_outside_is_named(words):
    assert words in said(FROM_OUTSIDE[words])


def first_order(theta, task):
    phi = theta
    for _ in range(STEPS):
        slopes = grad(loss)(phi, task.support)
        phi = {n: phi[n] - RATE * slopes[n] for n in phi}
    return grad(loss)(phi, task.query)


DECLARED = {
    "the first-order gradient (FOMAML)": first_order,
    "after 1 inner steps; the loss is taken after 2": of(lambda t, x: objective(t, x, steps=1)),
    "at 2 times the inner rate": of(lambda t, x: objective(t, x, rate=2 * RATE)),
}


@pytest.mark.parametrize("words", DECLARED)
def test_a_slip_of_a_declared_algorithm_is_named(words):
    assert words in said(DECLARED[words], implements=mb.MAML(STEPS, mb.SGD(RATE)))


def test_a_right_gradient_of_another_algorithm_than_declared_is_told_by_its_loss():
    text = said(of(objective), implements=mb.MAML(STEPS + 1, mb.SGD(RATE)))

    assert "is not the algorithm that it is said to implement: the loss" in text


def test_what_is_declared_rightly_passes_more_checks():
    box = mb.BlackBox(
        lambda t, task: (objective(t, task), grad(objective)(t, task)),
        implements=mb.MAML(STEPS, mb.SGD(RATE)),
    )
    subject = mb.Subject(PROBLEM, PROBLEM.tasks, box, PROBLEM.theta)
    probe = Verify(directions=2)

    table = to_table(probe.measure(subject, 0))

    checks = {row["of"]: row["status"] for _, row in table[table["quantity"] == "check"].iterrows()}
    assert checks["loss of its algorithm"] == checks["gradient of its algorithm"] == "ok"
    assert {finding.level for finding in probe.find(table)} == {"info"}
