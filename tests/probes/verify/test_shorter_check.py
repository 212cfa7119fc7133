"""Is what round-off leaves undecided over K steps decided over fewer, and told so?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

import metabench as mb
from metabench.probes.verify import Verify
from metabench.probes.verify.limits import DIFFERENCES
from metabench.probes.verify.measure_shorter import shorter
from metabench.records.rows import Row, to_table

FAMILY = mb.Quadratic(dim=3)
OPEN = Row("check", of=DIFFERENCES, value=1e-3, high=1e-2, status="unresolved")
DECIDED = OPEN._replace(status="ok")


@dataclass(frozen=True)
class Doubled(mb.MAML):
    """MAML whose gradient is twice the right one."""

    exact: ClassVar[bool] = True

    def __call__(self, problem, theta, task):
        found = super().__call__(problem, theta, task)
        return found._replace(grad=2 * found.grad)


def rows(algorithm, given=OPEN):
    theta = FAMILY.theta(0).double()
    subject = mb.Subject(FAMILY.problem(), FAMILY.sample, algorithm, theta)
    tasks = subject.draw(mb.Address.fresh(0, 2), 0)
    return shorter(subject, tasks, 1, 2e-16, [given])


def said(found):
    return Verify().find(to_table([OPEN, *found]))[0]


def test_a_right_gradient_is_right_at_half_the_steps():
    (row,) = rows(mb.MAML(9, mb.SGD(0.1)))

    assert (row.quantity, row.at, row.status) == ("shorter_check", 4.0, "ok")
    assert "At K = 4 it is right" in next(
        f.claim for f in Verify().find(to_table([OPEN, row])) if f.name == "undecided"
    )


def test_a_wrong_one_is_a_fault_though_the_whole_is_undecided():
    (row,) = rows(Doubled(9, mb.SGD(0.1)))

    finding = said([row])
    assert (row.at, row.status) == (4.0, "wrong")
    assert (finding.name, finding.state) == ("check_shorter", "fault")
    assert "At K = 4 the meta-gradient is wrong, by 0.5" in finding.claim


@pytest.mark.parametrize("algorithm", [mb.FOMAML(8), mb.MAML(1), mb.MAML(0)], ids=str)
def test_nothing_is_repeated_without_a_loop_to_shorten_or_an_exact_gradient(algorithm):
    assert rows(algorithm) == []


def test_nothing_is_repeated_where_the_whole_decides():
    assert rows(mb.MAML(8, mb.SGD(0.1)), DECIDED) == []
