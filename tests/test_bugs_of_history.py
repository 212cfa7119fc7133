"""Does `verify` find the faults that were published, and pass their mended versions?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from metabench.problems.tasks import Address, cast, tree_map
from reports.bugs_of_history import estimators
from reports.bugs_of_history.faults import FAULTS
from reports.bugs_of_history.run import faults_of, findings, names_it

SOLVERS = ["--tasks", "1", "--set", "probe.directions=1"]  # whose checks are thorough ones
BOXES = ["--tasks", "2", "--set", "probe.directions=1", "--set", "probe.thorough=false"]
by_name = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


@by_name
def test_a_published_fault_is_found_and_named(fault):
    broken = findings(fault.broken, SOLVERS if "solver" in fault.broken else BOXES)
    said = names_it(fault, broken)

    assert said is not None, broken
    assert said["state"] == "fault"
    assert said["level"] in ("warning", "critical")


@by_name
def test_its_mended_version_is_not_blamed(fault):
    mended = findings(fault.mended, SOLVERS if "solver" in fault.mended else BOXES)

    assert faults_of(mended) == []
    assert "verified" in [finding["name"] for finding in mended]


def slopes(estimator, problem, theta, tasks):
    """Differentiate the reported loss by central differences, entry by entry."""

    def loss(at):
        return estimator.estimate(problem, at, tasks).loss

    steps = 1e-5 * torch.eye(len(theta), dtype=theta.dtype)
    return torch.stack([(loss(theta + step) - loss(theta - step)) / 2e-5 for step in steps])


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("clipping", estimators.regression),
        ("adam_root", estimators.regression),
        ("one_task", estimators.regression),
        ("fused_norm", estimators.normed),
        ("first_order", estimators.search_space),
        ("no_path", estimators.straight),
    ],
)
def test_the_rebuilt_fault_is_one_and_the_mended_version_is_right(name, problem):
    theta = problem.theta.double()
    tasks = cast(problem.tasks(Address.fresh(0, 3), 0), theta)
    errors = {}
    for which in (name, f"{name}_mended"):
        estimator = getattr(estimators, which)
        given = tasks if estimator.batched else tree_map(lambda leaf: leaf[0], tasks)
        true = slopes(estimator, problem, theta, given)
        grad = estimator.estimate(problem, theta, given).grad
        errors[which] = float((grad - true).norm() / true.norm())

    assert errors[f"{name}_mended"] < 1e-7
    assert not errors[name] < 1e-2  # or NaN
