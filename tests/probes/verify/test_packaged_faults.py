"""Does `verify` find the faults that packaged estimators have had, from outside?"""

from __future__ import annotations

from dataclasses import replace

import ills
import pytest
import torch
from torch import nn

from metabench.algorithms.black_box import BlackBox
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.sinusoid import Sinusoid
from metabench.probes.verify import Verify
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.problem import Problem
from metabench.problems.samplers import Indexed
from metabench.records.rows import from_table, to_table

DIM = 12


def exact(A, v):
    return torch.linalg.solve(A, v)


def cg(A, v, steps=DIM, old_residual=False, one_before=False, scale=1.0, guard=True):
    """Conjugate gradients, with the faults of packaged solvers switched on one by one."""
    x, r, p = torch.zeros_like(v), v, v
    for _ in range(steps):
        Ap = scale * (A @ p)
        length = (r @ r) / (p @ Ap)
        before, x = x, x + length * p
        rest = r - length * Ap
        if rest.norm() <= 1e-12 * v.norm() and guard:
            return before if one_before else x
        p = (r if old_residual else rest) + (rest @ rest) / (r @ r) * p
        r = rest
    return x


def blocks(A, v):
    """Invert the diagonal blocks of two tensors, as if they had no curvature in common."""
    half = DIM // 2
    parts = slice(0, half), slice(half, DIM)
    return torch.cat([torch.linalg.solve(A[part, part], v[part]) for part in parts])


SOLVERS = {
    "exact": exact,
    "right": cg,
    "returns the iterate before the last": lambda A, v: cg(A, v, one_before=True),
    "old residual in the direction": lambda A, v: cg(A, v, old_residual=True),
    "products scaled, answer not": lambda A, v: cg(A, v, scale=0.5),
    "diagonal blocks only": blocks,
    "no guard for zero": lambda A, v: cg(A, v, guard=False),
}


def matrix(condition: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator, dtype=torch.float64))
    return basis @ torch.diag(torch.linspace(1, condition, DIM).double()) @ basis.T


def looked(solver, condition: float, solved: bool = False):
    """A quadratic inner problem at its exact optimum, and a query loss: one linear solve."""
    A = matrix(condition)

    def estimator(theta, task):
        A_ = A.to(theta["phi"])
        phi = torch.linalg.solve(A_, theta["phi"])
        v = torch.zeros_like(phi) if solved else phi - task.query[0][0]
        return 0.5 * v @ v + 1.0, {"phi": solver(A_, v)}

    def sample(indices, seed):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(len(indices), 1, DIM, generator=generator, dtype=torch.float64)
        return (x, x), (x, x)

    layout = Layout(("phi",), ((DIM,),))

    def loss(phi, theta, data):
        return 0.5 * ((phi - data[0]) ** 2).sum()

    problem = Problem(lambda theta: theta, loss, loss, Layouts(layout, layout))
    theta = torch.linspace(-1, 1, DIM).double()
    subject = Subject(problem, Indexed(sample), BlackBox(estimator), theta)
    probe = Verify()
    table = to_table(probe.measure(subject, seed=0))
    return {row.of: row for row in from_table(table, "check", of=None)}, probe.find(table)


RIGHT = [("exact", 1), ("exact", 50), ("right", 1), ("right", 2), ("right", 50)]
WRONG = [
    ("returns the iterate before the last", 1),
    ("old residual in the direction", 2),
    ("old residual in the direction", 50),
    ("products scaled, answer not", 1),
    ("products scaled, answer not", 2),
    ("products scaled, answer not", 50),
    ("diagonal blocks only", 2),
    ("diagonal blocks only", 50),
]


@pytest.mark.parametrize(("name", "condition"), RIGHT)
def test_a_right_solver_passes(name, condition):
    checks, findings = looked(SOLVERS[name], condition)

    assert checks["finite differences"].status == "ok"
    assert {finding.level for finding in findings} == {"info"}


@pytest.mark.parametrize(("name", "condition"), WRONG)
def test_a_wrong_solver_is_found(name, condition):
    checks, findings = looked(SOLVERS[name], condition)

    bad = checks.get("finite differences")
    zero = any(finding.name == "zero" for finding in findings)
    assert zero or bad.status == "mismatch"
    assert findings[0].level in ("warning", "critical")


def test_a_solver_without_a_guard_for_zero_is_found():
    checks, findings = looked(SOLVERS["no guard for zero"], 2, solved=True)

    assert checks["finite differences"].status == "not finite"
    assert "without a guard" in findings[0].repair


class Half(nn.Module):
    """A network that computes its hidden layer in another precision."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)
        self.dtype = dtype

    def forward(self, x):
        hidden = nn.functional.linear(
            x.to(self.dtype), self.first.weight.to(self.dtype), self.first.bias.to(self.dtype)
        )
        return self.last(torch.tanh(hidden).to(x.dtype))


def of_dtype(dtype: torch.dtype):
    problem = Problem.from_module(Half(dtype), lambda p, y: ((p - y) ** 2).mean())

    def sample(indices, seed):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(len(indices), 6, 5, generator=generator, dtype=torch.float64)
        return (x[..., :3], x[..., 3:]), (x[..., :3], x[..., 3:])

    # the last layer is fixed, so that theta reaches the loss through the hidden one alone
    problem = Problem.from_module(
        Half(dtype), lambda p, y: ((p - y) ** 2).mean(), adapt=["first.*"]
    )
    subject = Subject(problem, Indexed(sample), MAML(1, SGD(0.1)), problem.theta)
    probe = Verify()
    table = to_table(probe.measure(subject, seed=0))
    return {row.of: row for row in from_table(table, "check", of=None)}, probe.find(table)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inside_the_model_is_found(dtype):
    checks, findings = of_dtype(dtype)

    assert checks["resolution"].status == "reduced_precision"
    assert [(each.name, each.level) for each in findings if each.level != "info"] == [
        ("check_resolution", "critical"),
    ]
    assert checks["finite differences"].status == "unresolved"
    assert "autocast" in findings[0].repair
    assert not any("is wrong" in each.claim for each in findings)


def test_half_precision_is_found_where_the_meta_gradient_is_zero_and_not_invented_there():
    """At a saddle conjugate gradients stop at once, and no change of theta moves the loss."""

    def statuses(half):
        case = ills.planted(["curvature", "precision"], 1)
        family = replace(case.family, half=half)
        made = Subject(family.problem(), family.sample, case.algorithm, family.theta(1).float())
        table = to_table(Verify().measure(made, 1))
        assert from_table(table, "zero", of=None)
        return {row.of: row.status for row in from_table(table, "check", of=None)}

    assert statuses(half=True)["resolution"] == "reduced_precision"
    assert "resolution" not in statuses(half=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float32_is_not_called_half_precision(dtype):
    checks, findings = of_dtype(dtype)

    assert "resolution" not in checks
    assert {each.level for each in findings} == {"info"}
    remarks = [each.claim for each in findings if "computed in float32" in each.claim]
    assert len(remarks) == (dtype is torch.float32)


def test_a_loss_with_too_large_a_gradient_is_not_called_half_precision():
    """Past the edge, the gradient is so large that 1e-6 of the loss hardly moves theta."""
    family = Sinusoid()
    subject = Subject(family.problem(), family.sample, MAML(3, SGD(10.0)), family.theta(0).float())

    checks = Verify(thorough=False).measure(subject, seed=0)

    assert "finite differences" in {row.of for row in checks}
    assert "resolution" not in {row.of for row in checks}


def test_a_detached_inner_gradient_and_dropout_left_on_are_found():
    net = nn.Linear(3, 2).double()
    problem = Problem.from_module(net, lambda p, y: ((p - y) ** 2).mean())

    def sample(indices, seed):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(len(indices), 6, 5, generator=generator, dtype=torch.float64)
        return (x[..., :3], x[..., 3:]), (x[..., :3], x[..., 3:])

    def unroll(theta, task, detached, dropped):
        theta = {name: value.requires_grad_() for name, value in theta.items()}

        def loss(at, data):
            x = nn.functional.dropout(data[0], dropped) if dropped else data[0]
            return ((x @ at["weight"].T + at["bias"] - data[1]) ** 2).mean()

        slopes = torch.autograd.grad(
            loss(theta, task.support), list(theta.values()), create_graph=not detached
        )
        phi = {k: v - 0.3 * s for (k, v), s in zip(theta.items(), slopes, strict=True)}
        value = loss(phi, task.query)
        return value.detach(), torch.autograd.grad(value, list(theta.values()))

    def look(**faults):
        box = BlackBox(lambda theta, task: unroll(theta, task, **faults))
        subject = Subject(problem, Indexed(sample), box, problem.theta)
        table = to_table(Verify().measure(subject, seed=0))
        rows = {row.of: row for row in from_table(table, "check", of=None)}
        return rows, Verify().find(table)

    right, _ = look(detached=False, dropped=0.0)
    detached, said = look(detached=True, dropped=0.0)
    dropped, also = look(detached=False, dropped=0.5)

    assert right["finite differences"].status == "ok"
    assert detached["finite differences"].status == "mismatch"
    assert "detach()" in said[0].repair
    assert dropped["repeated call"].status == "random"
    assert any("dropout" in finding.repair for finding in also)
