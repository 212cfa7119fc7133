"""Is a gradient that is meant to differ from its loss's named, and nothing else let through?"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import mse_loss

import metabench as mb
from metabench.probes.verify import Verify
from metabench.records.rows import from_table, to_table


class Reversal(nn.Module):
    """Features whose gradient is reversed on its way back."""

    def forward(self, x):
        return 2 * x.detach() - x


class Net(nn.Module):
    def __init__(self, reverse):
        super().__init__()
        self.body, self.head = nn.Linear(2, 2).double(), nn.Linear(2, 1).double()
        self.back = Reversal() if reverse else nn.Identity()

    def forward(self, x):
        return self.head(self.back(self.body(x).tanh()))


def sample(indices, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(indices), 12, 3, generator=generator, dtype=torch.float64)
    return (x[:, :5, :2], x[:, :5, 2:]), (x[:, 5:, :2], x[:, 5:, 2:])


def verified(reverse, differs):
    torch.manual_seed(0)
    problem = mb.Problem.from_module(
        Net(reverse), mse_loss, tasks=mb.Indexed(sample), differs=differs
    )
    subject = mb.Subject(problem, problem.tasks, mb.MAML(2, mb.SGD(0.1)), problem.theta)
    table = to_table(Verify(directions=1).measure(subject, 0))
    return table, Verify().find(table)


def test_a_declared_difference_is_named_with_its_size_and_no_fault():
    _, undeclared = verified(True, "")
    table, findings = verified(True, "gradient reversal")

    assert {f.state for f in undeclared if f.name.startswith("check_")} == {"fault"}
    assert {f.level for f in findings} == {"info"}
    (said,) = [f for f in findings if f.name == "declared_difference"]
    assert "(gradient reversal): it does, by" in said.claim
    (row,) = from_table(table, "declared_difference", of=None)
    assert row.of == "gradient reversal"


def test_a_declared_difference_that_is_not_there_is_said_to_be_none():
    _, findings = verified(False, "gradient reversal")

    (said,) = [f for f in findings if f.name == "declared_difference"]
    assert "no check shows a difference" in said.claim
