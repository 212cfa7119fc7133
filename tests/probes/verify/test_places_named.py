"""Does `verify` name the place of a gradient of its own, and of numbers that aren't finite?"""

from __future__ import annotations

import re

import pytest
import torch
from nets import TASKS, Net, mlp, subject
from torch import nn
from torch.nn.functional import mse_loss

import metabench as mb


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.sin()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def findings(of):
    probe = mb.Verify(tasks=2, thorough=False)
    return mb.find(probe, mb.to_table(mb.measure_checked(probe, of)))


def hooked():
    torch.manual_seed(0)
    net = mlp()
    net[1].register_full_backward_hook(lambda module, given, taken: (0.5 * given[0],))
    return net


def net_of(forward):
    torch.manual_seed(0)
    return Net(forward, one=nn.Linear(3, 2), other=nn.Linear(2, 2))


OWN = {
    "a function": (
        net_of(lambda self, x: self.other(Straight.apply(self.one(x)))),
        r"torch\.autograd\.Function Straight\.",
    ),
    "detach": (
        net_of(lambda self, x: self.one(x) * self.one(x).detach()),
        r"detach\(\) \(test_places_named\.py, line \d+: .*\)\.",
    ),
    "no_grad": (
        net_of(lambda self, x: self.one(x) * torch.no_grad()(self.one)(x)),
        r"no_grad\(\) \(test_places_named\.py, line",
    ),
    "data": (
        net_of(lambda self, x: self.one(x) * self.one(x).data),
        r"\.data \(test_places_named\.py, line",
    ),
    "a hook": (hooked(), r"a backward hook\."),
}


@pytest.mark.parametrize(("net", "place"), OWN.values(), ids=OWN)
def test_a_gradient_that_is_not_the_losss_is_named_with_its_line_and_differs(net, place):
    wrong = [each for each in findings(subject(net)) if each.level == "critical"]

    assert wrong
    assert any(matches(f"need not be that of .*: {place}", each.claim) for each in wrong)
    assert all("differs=" in each.repair for each in wrong if "Possible" in each.claim)


def test_a_declared_difference_is_reported_and_not_judged():
    net = OWN["a function"][0]
    of = subject(net)
    declared = mb.Subject(
        of.problem._replace(differs="straight-through"), of.sample, of.algorithm, of.theta
    )

    assert all(each.level == "info" for each in findings(declared))


def test_a_right_gradient_names_no_place():
    for net in (mlp(), net_of(lambda self, x: self.one(x) + 0 * self.one.weight.detach().sum())):
        assert not any("Possible" in each.claim for each in findings(subject(net)))


LOST = {
    "a logarithm": (
        net_of(lambda self, x: torch.log(self.one(x) - 100)),
        r"phi_0 of task 0.*: the inner loss: `log` \(test_places_named\.py, line",
    ),
    "a masked row": (
        net_of(lambda self, x: (self.one(x) + torch.full((), -torch.inf)).softmax(1)),
        "the inner loss: `_softmax`",
    ),
    "a derivative": (
        net_of(lambda self, x: torch.where(self.one(x) > 0, self.one(x).sqrt(), 0)),
        "the gradient of the inner loss: the derivative of `sqrt`",
    ),
}


@pytest.mark.parametrize(("net", "words"), LOST.values(), ids=LOST)
def test_what_is_not_finite_before_any_inner_step_is_no_matter_of_the_rate(net, words):
    (found,) = (each for each in findings(subject(net)) if each.name == "not_finite")

    assert matches(words, found.claim)
    assert "Lower the inner rate" not in found.repair


def test_a_loss_that_diverges_is_a_matter_of_the_rate():
    of = subject(mlp(), lambda p, y: 1e9 * mse_loss(p, y) ** 4)

    (found,) = (each for each in findings(of) if each.name == "not_finite")

    assert "before any inner step" not in found.claim
    assert "Lower the inner rate" in found.repair


@pytest.mark.parametrize(("part", "name"), [(0, "support x"), (1, "support y")])
def test_data_that_are_not_finite_are_named_by_task_and_part(part, name):
    broken = [x.clone() for x in TASKS.support]
    broken[part][1, 0, 0] = torch.nan
    of = subject(mlp())
    tasks = TASKS._replace(support=tuple(broken))

    found = findings(mb.Subject(of.problem, lambda a, seed: tasks, of.algorithm, of.theta))

    assert any(f"Not finite in the input: task 1, {name}." in each.claim for each in found)


def test_rounding_below_float64_inside_the_loss_accuses_no_hessian():
    def cast(self, x):
        return self.one(x).float()

    assert not any(each.level == "critical" for each in findings(subject(net_of(cast))))


def matches(words, text):
    return re.search(words, text) is not None
