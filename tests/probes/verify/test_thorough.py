"""Does `verify` find a wrong adjoint, a wrong layer and a wrong solve, and name them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from matplotlib.figure import Figure

import metabench as mb
from metabench.measurement import measure_with_checks
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.problem import Problem
from metabench.records.rows import from_table, to_table

UNROLL, IMPLICIT, SOLVE = (
    "autograd through the unroll",
    "implicit against unrolled",
    "solver residual",
)
NET = mb.Sinusoid(hidden=(5,), shots=5, queries=5)
BOWL = mb.Quadratic(dim=4, condition=2.0)


def verified(family, algorithm, problem=None):
    theta = family.theta(0)
    subject = mb.Subject(problem or family.problem(), family.sample, algorithm, theta)
    probe = mb.Verify()
    table = to_table(probe.measure(subject, 0))
    probe.draw(table, Figure().subplots())
    rows = from_table(table, "check", of=None, layer=None)
    checks = {(row.of, row.layer): row for row in rows}
    return checks, {finding.name: finding for finding in probe.find(table)}


@dataclass(frozen=True)
class Off(mb.MAML):
    """MAML whose gradient of one layer is half as large again."""

    exact: ClassVar[bool] = True
    layer: str = ""

    def __call__(self, problem, theta, task):
        found = super().__call__(problem, theta, task)
        wrong = found.grad.clone()
        wrong[dict(problem.layouts.theta.segments())[self.layer]] *= 1.5
        return found._replace(grad=wrong)


@pytest.mark.parametrize("algorithm", [mb.MAML(3), mb.MetaSGD(2), mb.ANIL(2), mb.MAMLPP(2)])
def test_what_is_right_equals_autograd_through_the_unroll_in_every_layer(algorithm):
    checks, findings = verified(NET, algorithm)

    held = [row for (of, _), row in checks.items() if of == UNROLL]
    assert len(held) > 4
    assert {row.status for row in held} == {"ok"}
    assert max(row.value for row in held) < 1e-12
    assert not any(name.startswith("check") for name in findings)


def test_a_wrong_layer_is_named_and_the_others_are_not():
    layer = NET.problem().layouts.theta.names[1]

    checks, findings = verified(NET, Off(2, layer=layer))

    wrong = {name for (of, name), row in checks.items() if of == UNROLL and row.status == "wrong"}
    assert wrong == {"", layer}
    for check in ("autograd_through_the_unroll", "finite_differences"):
        claim = findings[f"check_{check}"].claim
        assert f"Wrong in `{layer}` by" in claim
        assert "3 of 4 layers pass" in claim


def test_a_layer_too_small_for_the_whole_to_show_it_is_found():
    """Layer b moves the loss a hundred thousand times less than layer a."""
    layout = Layout(("a", "b"), ((3,), (3,)))

    def loss(phi, theta, data):
        a, b = phi[:3], phi[3:]
        z = data[1].mean()
        return ((a - z) ** 2).sum() + 1e-5 * ((b - z) ** 2).sum()

    class Scaled(mb.Quadratic):
        def problem(self):
            return Problem(lambda theta: theta, loss, loss, Layouts(layout, layout))

    right, _ = verified(Scaled(dim=6), mb.MAML(2))
    checks, findings = verified(Scaled(dim=6), Off(2, layer="b"))

    assert right["finite differences", "b"].status == "ok"
    assert checks["finite differences", ""].status == "ok"
    assert checks["finite differences", "b"].status == "wrong"
    assert findings["check_layers"].level == "critical"
    assert "`b` by 0." in findings["check_layers"].claim


def test_first_order_is_reported_with_its_error_and_not_judged():
    checks, findings = verified(NET, mb.FOMAML(3))

    assert checks[UNROLL, ""].status == "approximate"
    assert checks[UNROLL, ""].value > 1e-3
    assert {finding.level for finding in findings.values()} == {"info"}


CONVERGED = {"steps": 60, "inner_optimizer": mb.SGD(0.35), "proximal_strength": 2.0}


def test_an_implicit_gradient_is_the_unrolled_one_where_its_loop_has_converged():
    checks, findings = verified(BOWL, mb.IMAML(**CONVERGED, solver=mb.Dense()))
    short, _ = verified(BOWL, mb.IMAML(2, mb.SGD(0.1), solver=mb.Dense()))

    assert checks[IMPLICIT, ""].status == "ok"
    assert checks[IMPLICIT, ""].value < 1e-8
    assert checks[SOLVE, ""].status == "ok"
    assert {finding.level for finding in findings.values()} == {"info"}
    assert short[IMPLICIT, ""].status == "approximate"


@dataclass(frozen=True)
class Tilted(mb.IMAML):
    """An implicit gradient whose solve is right and whose cross derivative is a tenth off."""

    def __call__(self, problem, theta, task):
        found = super().__call__(problem, theta, task)
        return found._replace(grad=1.1 * found.grad)


def test_a_wrong_implicit_gradient_at_an_optimum_is_found():
    checks, findings = verified(BOWL, Tilted(**CONVERGED, solver=mb.Dense()))

    assert checks[IMPLICIT, ""].status == "wrong"
    assert checks[IMPLICIT, ""].value == pytest.approx(0.1, rel=1e-6)
    assert findings["check_implicit_against_unrolled"].level == "critical"


@dataclass(frozen=True)
class Boasting(mb.Solver):
    """An answer a tenth off that claims to be exact."""

    def __call__(self, matvec, b):
        found = mb.Dense()(matvec, b)
        return found._replace(x=1.1 * found.x)


def test_solves_that_stop_early_or_report_a_wrong_residual_are_found():
    short, few = verified(mb.Quadratic(dim=12), mb.IMAML(5, solver=mb.CG(steps=1)))
    boast, found = verified(BOWL, mb.IMAML(**CONVERGED, solver=Boasting()))

    assert short[SOLVE, ""].status == "unsolved"
    assert "algo.solver.steps" in few["check_solver_residual"].repair
    assert boast[SOLVE, ""].status == "misreported"
    assert boast[SOLVE, ""].value == pytest.approx(0.1, rel=1e-6)
    assert found["check_solver_residual"].level == "critical"


def test_the_checks_before_a_measurement_leave_out_the_thorough_ones():
    theta = BOWL.theta(0)
    subject = mb.Subject(BOWL.problem(), BOWL.sample, mb.MAML(1), theta)
    probe = mb.Explosion(tasks=8, steps=2, rounds=1, mitigated=0)

    rows = measure_with_checks.measure_checked(probe, subject)

    asked = {row.of for row in rows if row.quantity == "check"}
    assert "finite differences" in asked
    assert UNROLL not in asked


def test_a_solve_of_zero_and_dead_layers_are_no_error():
    """A query loss that is at its minimum: b = 0, and nothing to hold against."""
    layout = Layout(("a", "b"), ((2,), (2,)))

    def loss(phi, theta, data):
        return (phi[:2] ** 2).sum() + 0 * data[1].mean()

    class Half(mb.Quadratic):
        def problem(self):
            return Problem(lambda theta: theta, loss, loss, Layouts(layout, layout))

    checks, _ = verified(Half(dim=4), mb.MAML(2))

    assert checks[UNROLL, "b"].status == "ok"
    assert checks["finite differences", "b"].status == "ok"
    assert torch.isfinite(torch.tensor(checks[UNROLL, ""].value))
