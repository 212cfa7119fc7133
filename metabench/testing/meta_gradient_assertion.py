"""Assertion for users' test suites: the meta-gradient is right, as far as `verify` can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metabench.algorithms.base import Estimator
from metabench.algorithms.black_box import BlackBox
from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.base import Family
from metabench.families.own_problem import family_of_problem, sampler_of
from metabench.probes.verify import Verify
from metabench.problems.checkpoints import Weights
from metabench.problems.problem import Problem
from metabench.records.rows import Finding, to_table
from metabench.records.severity import SEVERITIES, as_severe
from metabench.settings.errors import InvalidInput


def assert_meta_gradient(
    problem: Problem | Family,
    estimator: Estimator | Callable[..., Any],
    *,
    theta: Weights | None = None,
    seed: int = 0,
    fail_on: str = "warning",
) -> list[Finding]:
    """Raise AssertionError with the findings of `verify` if the meta-gradient has a fault.

    Args:
        problem: a Problem with tasks, or a Family.
        estimator: an algorithm, a BlackBox, or a function (theta, task) -> (loss, gradient).
        theta: meta-parameters `(Q,)`, a module, a state dict or a file; None takes the initial
            ones of the problem, in float64.
        seed: of the tasks.
        fail_on: least severity that raises: not_looked_at, undecided, warning or critical. The
            default accepts what can't be decided unless no independent check could be made.

    Returns:
        All findings of `verify`, to see what was fine, undecided and not looked at.

    >>> import metabench as mb
    >>> found = mb.testing.assert_meta_gradient(mb.Quadratic(dim=3), mb.MAML(steps=2))
    >>> {finding.level for finding in found}
    {'info'}

    Raises:
        AssertionError: if a finding is as severe as `fail_on`.
        InvalidInput: if the meta-gradient can't be computed at all, with what to change.
    """
    if fail_on not in SEVERITIES:
        raise InvalidInput(f"fail_on is {fail_on!r}; give one of {', '.join(SEVERITIES)}.")
    family = family_of_problem(problem) if isinstance(problem, Problem) else problem
    made = estimator if isinstance(estimator, Estimator) else BlackBox(estimator)
    at: Any = family.theta(seed) if theta is None else theta
    probe = Verify()
    subject = Subject(family.problem(), sampler_of(family), made, at)
    findings = probe.find(to_table(probe.measure(subject, seed)))
    said = [f"{each.claim} {each.repair}".rstrip() for each in as_severe(findings, fail_on)]
    if said:
        raise AssertionError("\n".join(said))
    return findings
