"""Are right gradients left alone, and what can't be decided called undecided?"""

from __future__ import annotations

import black_boxes
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from metabench.algorithms.black_box import BlackBox
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.estimation.estimator_on_tasks import Subject
from metabench.probes.verify import Verify
from metabench.problems.problem import Problem
from metabench.problems.samplers import Indexed
from metabench.records.rows import from_table, to_table


def net(activation=nn.Tanh, out=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), activation(), nn.Linear(8, out))


def sample(indices, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(indices), 12, 5, generator=generator, dtype=torch.float64)
    return (x[:, :6, :3], x[:, :6, 3:]), (x[:, 6:, :3], x[:, 6:, 3:])


def classes(indices, seed):
    (x, y), (x_query, y_query) = sample(indices, seed)
    return (x, y.argmax(-1)), (x_query, y_query.argmax(-1))


def verified(loss, algorithm, draw=sample, module=None):
    problem = Problem.from_module(module or net(), loss)
    made = Subject(problem, Indexed(draw), algorithm, problem.theta)
    table = to_table(Verify().measure(made, 0))
    return {row.of: row for row in from_table(table, "check", of=None)}, Verify().find(table)


def accused(findings):
    return [f for f in findings if f.state == "fault" and f.name.startswith("check_")]


def squares(p, y):
    return functional.mse_loss(p.float(), y.float())


FLOAT32 = {
    "cross-entropy of float logits": (lambda p, y: functional.cross_entropy(p.float(), y), classes),
    "squares of floats": (squares, sample),
    "times 1e-9": (lambda p, y: 1e-9 * squares(p, y), sample),
    "times 1e9": (lambda p, y: 1e9 * squares(p, y), sample),
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(("loss", "draw"), FLOAT32.values(), ids=FLOAT32.keys())
def test_a_loss_in_float32_is_not_accused(loss, draw, steps, seed):
    def drawn(indices, _):
        return draw(indices, seed)

    rate = 1e-10 if loss is FLOAT32["times 1e9"][0] else 0.1
    _, findings = verified(loss, MAML(steps, SGD(rate)), drawn)

    assert accused(findings) == []
    assert any("computed in float32" in finding.claim for finding in findings)


@pytest.mark.parametrize(("loss", "draw"), FLOAT32.values(), ids=FLOAT32.keys())
def test_the_checks_before_a_probe_do_not_warn_of_float32(loss, draw):
    """They leave the unroll out; that vmap and the loop agree is more than a repeated call."""
    problem = Problem.from_module(net(), loss)
    rate = 1e-10 if loss is FLOAT32["times 1e9"][0] else 0.1
    made = Subject(problem, Indexed(draw), MAML(3, SGD(rate)), problem.theta)
    gate = Verify(thorough=False)

    findings = gate.find(to_table(gate.measure(made, 0)))

    assert {finding.level for finding in findings} == {"info"}


def test_a_black_box_in_float32_is_not_accused_and_a_wrong_one_is():
    module = net()

    def estimate(theta, task, factor=1.0, detach=False):
        theta = {name: value.requires_grad_() for name, value in theta.items()}

        def loss(at, data):
            return functional.mse_loss(functional_call(module, at, (data[0],)).float(),
                                       data[1].float())  # fmt: skip

        grads = torch.autograd.grad(
            loss(theta, task.support), list(theta.values()), create_graph=not detach
        )
        phi = {k: v - 0.3 * g for (k, v), g in zip(theta.items(), grads, strict=True)}
        outer = loss(phi, task.query)
        found = torch.autograd.grad(outer, list(theta.values()))
        return outer, [factor * g for g in found]

    right, said = verified(None or functional.mse_loss, BlackBox(estimate), module=module)
    _, first = verified(
        functional.mse_loss, BlackBox(lambda t, task: estimate(t, task, detach=True)), module=module
    )
    _, times = verified(
        functional.mse_loss, BlackBox(lambda t, task: estimate(t, task, 25.0)), module=module
    )

    assert right["finite differences"].status in ("ok", "unresolved")
    assert accused(said) == []
    assert [f.name for f in accused(first)] == ["check_finite_differences"]
    (scaled,) = accused(times)
    assert "25 times the gradient of the loss" in scaled.claim
    assert scaled.evidence[0].value == pytest.approx(0.96, abs=1e-3)


def test_amplified_round_off_is_undecided():
    """Where adaptation is chaotic, two orders of the same sums end at different gradients."""
    torch.manual_seed(3)
    wide = nn.Sequential(nn.Linear(3, 40), nn.Tanh(), nn.Linear(40, 2))

    checks, findings = verified(
        lambda p, y: 30 * functional.mse_loss(p, y), MAML(100, SGD(0.2)), module=wide
    )

    assert accused(findings) == []
    assert checks["vmap against a loop"].status in ("ok", "unresolved", "diverged")


class Rounded(nn.Module):
    """A network whose output is rounded, with the gradient passed straight through."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        p = self.net(x)
        return p + (torch.round(8 * p) / 8 - p).detach()


def test_a_loss_that_is_constant_between_jumps_is_not_called_half_precision():
    checks, findings = verified(functional.mse_loss, MAML(2, SGD(0.1)), module=Rounded())

    assert "resolution" not in checks
    assert not any("float16" in f.claim for f in findings)


def test_a_black_box_without_a_loss_is_no_all_clear():
    silent = BlackBox(lambda theta, task: black_boxes.plain_loop(theta, task)[1])

    table = to_table(Verify().measure(black_boxes.subject(silent), 0))
    first = Verify().find(table)[0]

    assert (first.name, first.level, first.state) == ("unchecked", "warning", "not_looked_at")
    assert "Return (loss, gradient)" in first.repair


def test_a_planted_error_is_found_through_float32_where_differences_resolve_it():
    class Off(MAML):
        def __call__(self, problem, theta, task):
            found = super().__call__(problem, theta, task)
            wrong = torch.cos(torch.arange(len(theta)).to(theta))
            size = found.grad.norm() / len(theta) ** 0.5
            return found._replace(grad=found.grad + 0.2 * size * wrong)

        exact = True

    loss, draw = FLOAT32["squares of floats"]

    checks, findings = verified(loss, Off(3, SGD(0.1)), draw)

    assert checks["finite differences"].status == "wrong"
    assert accused(findings)
