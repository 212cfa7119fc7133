"""Do checks that a time budget stopped keep what was made, and name what was not?"""

from __future__ import annotations

import itertools

import pytest

import metabench as mb
from metabench.probes.verify.out_of_time import affordable, estimates_of
from metabench.records.rows import to_table
from metabench.settings.alarms import TimeUp

FAMILY = mb.Quadratic(dim=2)
MAML = mb.MAML(steps=1)


def stopped_after(calls):
    """Return a right black box whose time is up after so many calls."""
    count = itertools.count()

    def estimate(theta, task):
        if next(count) >= calls:
            raise TimeUp
        (value,) = theta.values()
        made = MAML(FAMILY.problem(), value, task)
        return made.loss, made.grad

    return mb.Subject(FAMILY.problem(), FAMILY.sample, mb.BlackBox(estimate), FAMILY.theta(0))


def test_checks_that_were_made_are_kept_and_the_others_are_not_called_fine():
    rows = mb.Verify().measure(stopped_after(8), 0)

    checks = {row.of: row.status for row in rows if row.quantity == "check"}
    assert checks == {
        "repeated call": "ok",
        "precision": "ok",
        "finite differences": "out of time",
    }
    findings = mb.Verify().find(to_table(rows))
    assert "fine" not in {finding.state for finding in findings}
    (first,) = [each for each in findings if each.name == "unchecked"]
    assert "finite differences (out of time)" in first.claim


def test_without_any_check_the_time_is_up():
    with pytest.raises(TimeUp):
        mb.Verify().measure(stopped_after(2), 0)


def test_fewer_checks_are_begun_where_their_forecast_does_not_fit():
    asked = mb.Verify()
    least = affordable(asked, layers=4, each=600.0, seconds=30.0)

    assert affordable(asked, layers=4, each=0.01, seconds=30.0) == asked
    assert (least.tasks, least.directions, least.thorough) == (1, 1, False)
    assert estimates_of(least, 4) < estimates_of(asked, 4) / 8
