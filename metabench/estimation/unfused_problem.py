"""A subject's problem without fused norms, whose third derivatives torch computes wrongly."""

from __future__ import annotations

from metabench.algorithms.base import Algorithm
from metabench.estimation.estimator_on_tasks import Subject
from metabench.problems.problem import Problem


def unfused_problem(subject: Subject, algorithm: Algorithm) -> Problem | None:
    """Return the problem with unfused norms; None where it has fused norms and no unfused form."""
    problem = subject.problem
    if not problem.fused:
        return problem
    root = problem.base or problem
    if root.unfused is None:
        return None
    plain = root.unfused()
    if problem.base:
        plain, _ = algorithm.extend(plain, subject.theta[: root.layouts.theta.size])
    return plain
