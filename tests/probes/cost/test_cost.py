"""Are memory and time of algorithms counted right, and are their errors closed forms?"""

from __future__ import annotations

import cases
import oracles
import pytest
import torch
from matplotlib.figure import Figure

import metabench as mb
import metabench.probes.cost.measure as measure_module
from metabench.probes.cost import Cost
from metabench.probes.cost.comparison_algorithms import Autograd, comparison_algorithms
from metabench.records.rows import from_table, to_table
from metabench.settings.errors import InvalidInput

BOWL = mb.Quadratic(dim=4, condition=2.0, jitter=0.5, shots=3, queries=3, offset=2.0)
QUICK = {"tasks": 2048, "steps": (1, 10), "sizes": (1, 4), "batch": 4, "rounds": 1}


def measured(algorithm, family=BOWL, **settings):
    subject = mb.Subject(family.problem(), family.sample, algorithm, family.theta(0))
    probe = Cost(**{**QUICK, **settings})
    return probe, to_table(probe.measure(subject, 0))


def one(table, quantity, of, at=None):
    found = [r for r in from_table(table, quantity, of) if at is None or r.at == at]
    (row,) = found
    return row


def near(row, truth):
    """Within four standard errors: coverage at 95 % is measured in reports/paths_calibration."""
    return abs(row.value - truth) <= row.high - row.low


@pytest.fixture(scope="module")
def bowl():
    return measured(mb.MAML(2, mb.SGD(0.5)))


@pytest.mark.parametrize("name", cases.STEPS)
def test_autograd_is_autograd_through_the_unroll(name):
    problem, algorithm = cases.problem(), Autograd(3, cases.STEPS[name])
    theta, task = cases.theta(problem), cases.one(cases.tasks(1), 0)

    found = algorithm(problem, theta, task)

    assert oracles.relative(found.grad, oracles.unrolled(algorithm, problem, theta, task)) < 1e-12


def test_errors_hold_the_closed_forms(bowl):
    _, table = bowl
    exact, short = (BOWL.truth(BOWL.theta(0), 2, 0.5, first) for first in (False, True))
    bias = float(((short.mean - exact.mean) ** 2).sum())

    assert one(table, "bias", "maml").status == "zero"
    found = one(table, "bias", "fomaml")
    assert near(found, bias)
    for name, variance, squared in (("maml", exact.variance, 0), ("fomaml", short.variance, bias)):
        for B in (1, 4):
            row = one(table, "mse", name, B)
            assert near(row, squared + variance / B)


def test_the_error_for_a_budget_uses_as_many_tasks_as_it_has_time_for(bowl):
    _, table = bowl
    seconds = one(table, "seconds_by_k", "maml", 2).value / 4
    variance = one(table, "variance", "maml").value

    assert one(table, "mse_by_seconds", "maml", 1.0).value == pytest.approx(variance * seconds)


def test_memory_is_flat_for_algorithms_that_store_no_iterates(bowl):
    _, table = bowl

    def grown(name):
        return one(table, "bytes", name, 10).value / one(table, "bytes", name, 1).value

    assert grown("fomaml") == pytest.approx(1, abs=0.05)
    assert grown("imaml") == pytest.approx(1, abs=0.05)
    assert grown("maml") > 2
    assert grown("autograd") > 2


def test_findings_name_the_batch(bowl):
    probe, table = bowl
    findings = {f.name: f for f in probe.find(table)}

    assert "at B = 4" in findings["lowest_error"].claim
    assert "the lowest mean squared error" in findings["lowest_error"].claim
    assert "keeps only phi" in findings["memory"].repair
    assert "autograd through the unroll" in findings["compared_with_autograd"].claim
    for drawing in probe.drawings(table):
        drawing.draw(Figure().subplots())


def error(name, value, low, high, quantity="mse", at=4.0):
    return mb.Row(quantity, at=at, of=name, value=value, low=low, high=high)


def found(*rows):
    return {finding.name: finding for finding in Cost(**QUICK).find(to_table(rows))}


def test_a_better_algorithm_is_only_named_where_intervals_are_disjoint():
    maml = error("maml", 5.0, 4.0, 6.0)

    near = found(maml, error("fomaml", 6.0, 5.0, 7.0))["lowest_error"]
    far = found(maml, error("fomaml", 9.0, 8.0, 10.0))["lowest_error"]

    assert near.state == "undecided"
    assert "is undecided: maml 5 [4, 6]; fomaml 6 [5, 7]." in near.claim
    assert far.repair == "Use --algo maml at this budget."


@pytest.mark.parametrize(("value", "low"), [(-0.5, -1.0), (0.0, 0.0), (0.3, -0.2)])
@pytest.mark.parametrize(("quantity", "at"), [("mse", 4.0), ("mse_by_seconds", 1.0)])
def test_an_error_that_is_not_resolved_is_never_called_the_lowest(value, low, quantity, at):
    unresolved = error("hf_maml", value, low, 9.0, quantity, at)

    (finding,) = found(unresolved, error("maml", 2.0, 1.5, 3.0, quantity, at)).values()

    assert finding.state == "undecided"
    assert "hf_maml at most 9 (a lower limit is not resolved)" in finding.claim
    assert finding.claim.index("maml 2 [1.5, 3]") < finding.claim.index("hf_maml")


def test_a_break_even_below_the_batch_decides_where_intervals_overlap():
    even = mb.Row("break_even", of="fomaml", value=1.0, low=0.0, high=2.0)
    errors = error("maml", 5.0, 4.0, 6.0), error("fomaml", 5.5, 4.5, 5.9)

    exact = found(*errors, even)["lowest_error"]
    short = found(*errors, even._replace(value=9.0, low=8.0, high=12.0))["lowest_error"]

    assert exact.repair == "Use --algo maml at this budget."
    assert short.repair == "Use --algo fomaml at this budget."


def test_algorithms_are_compared_with_the_exact_one_by_where_the_batch_lies():
    rows = [
        mb.Row("break_even", of=name, value=value, low=low, high=high)
        for name, value, low, high in (
            ("fomaml", 1.0, 0.0, 2.0), ("anil", 0.0, 0.0, 0.0),
            ("imaml", 9.0, 8.0, 12.0), ("reptile", 4.0, 1.0, 12.0),
        )
    ]  # fmt: skip
    rows += [r._replace(quantity="bias", value=1.0, low=0.5, high=2.0) for r in rows]

    findings = found(*rows)

    assert "fomaml (B* = 1 [0, 2]); anil (at every B)" in findings["exact_is_better"].claim
    assert findings["exact_is_worse"].repair == "Keep imaml at this batch."
    assert findings["exact_or_not"].state == "undecided"


def test_errors_in_equal_time_contain_the_error_of_the_timing():
    settings = {"tasks": 512, "rounds": 6}
    _, table = measured(mb.MAML(2, mb.SGD(0.5)), **settings)
    timed = one(table, "seconds_by_k", "maml", 2)
    variance = one(table, "variance", "maml")

    row = one(table, "mse_by_seconds", "maml", 1.0)

    assert row.low == pytest.approx(variance.low * timed.low / 4)  # the batch takes `timed`
    assert row.high == pytest.approx(variance.high * timed.high / 4)


def test_an_algorithm_that_appends_parameters_is_left_out():
    subject = mb.Subject(BOWL.problem(), BOWL.sample, mb.MAML(1), BOWL.theta(0))

    names, rows = comparison_algorithms(subject, 0)

    assert not rows
    assert {"maml", "fomaml", "imaml", "reptile", "autograd"} <= set(names)
    assert "meta_sgd" not in names


def test_the_subjects_own_algorithm_is_timed_without_error_if_it_appends_parameters():
    small = {"tasks": 16, "steps": (2,), "sizes": (4,)}
    (_, table), (_, plain) = (
        measured(algorithm(2, mb.SGD(0.5)), **small) for algorithm in (mb.MetaSGD, mb.MAML)
    )

    (reason,) = [r.of for r in from_table(table, "unavailable", of=None)]
    assert reason.startswith("the error of meta_sgd, which learns parameters beyond theta")
    assert one(table, "seconds_by_k", "meta_sgd", 2).value > 0
    for quantity, at in (("mse", 4.0), ("bytes", 2.0)):
        for name in ("maml", "fomaml"):
            assert one(table, quantity, name, at) == one(plain, quantity, name, at)
    assert not [r for r in from_table(table, "mse", of=None) if r.of == "meta_sgd"]


@pytest.mark.parametrize(
    ("algorithm", "family"),
    [
        (mb.MAML(0), BOWL),
        (mb.MAML(1, mb.SGD(0.1)), mb.Quadratic(dim=1)),
        (mb.MAML(2, mb.SGD(0.1)), mb.Ridge()),
        (mb.MAML(12, mb.SGD(1e30)), BOWL),
    ],
    ids=["K = 0", "P = 1", "phi and theta differ", "diverged"],
)
def test_edge_cases_give_numbers_or_a_finding(algorithm, family):
    probe, table = measured(algorithm, family, tasks=16, steps=(1,), sizes=(1,))

    findings = [finding.name for finding in probe.find(table)]
    for drawing in probe.drawings(table):
        drawing.draw(Figure().subplots())
    assert ("diverged" in findings) == (algorithm.inner_optimizer.rate > 1)


def test_a_black_box_is_withheld_with_a_finding():
    subject = mb.Subject(
        BOWL.problem(), BOWL.sample, mb.BlackBox(lambda theta, task: theta), BOWL.theta(0)
    )
    probe = Cost(**QUICK)

    (finding,) = probe.find(to_table(probe.measure(subject, 0)))

    assert finding.name == "withheld"


def through(loss):
    """The bowl with another query loss."""

    class Other(mb.Quadratic):
        def problem(self):
            return BOWL.problem()._replace(outer_loss=loss)

    family = Other(dim=4)
    return mb.Subject(family.problem(), family.sample, mb.FOMAML(1), family.theta(0))


class Once(torch.autograd.Function):
    """The square, which can be differentiated once."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, gradient):
        return Never.apply(2 * ctx.saved_tensors[0] * gradient)


class Never(torch.autograd.Function):
    """An operation that can't be differentiated."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("derivative for once_backward is not implemented")


def test_an_operation_that_another_algorithm_cant_differentiate_is_a_row_with_its_reason():
    def inner(phi, theta, data):
        return (0.5 * data[0] * Once.apply(phi - data[1])).sum(-1).mean()

    class Hard(mb.Quadratic):
        def problem(self):
            return BOWL.problem()._replace(inner_loss=inner)

    family = Hard(dim=4)
    compute = mb.Vectorization("loop", engine="eager")
    subject = mb.Subject(family.problem(), family.sample, mb.FOMAML(1), family.theta(0), compute)

    table = to_table(Cost(**{**QUICK, "tasks": 16}).measure(subject, 0))

    reasons = [r.of for r in from_table(table, "unavailable", of=None)]
    assert any(of.startswith("maml does not run here (") for of in reasons)
    assert any(of.startswith("autograd does not run here (") for of in reasons)
    assert one(table, "seconds_by_k", "fomaml", 1).value > 0


@pytest.mark.parametrize("error", [TypeError, ValueError, KeyError])
def test_what_the_users_loss_raises_is_raised(error):
    def broken(phi, theta, data):
        raise error("a mistake in my loss")

    with pytest.raises(InvalidInput, match="a mistake in my loss") as raised:
        Cost(**QUICK).measure(through(broken), 0)

    assert isinstance(raised.value.__cause__, error)


def test_an_algorithm_too_large_for_memory_is_a_row(monkeypatch):
    seconds = measure_module._seconds

    def short(subject, B, seed):
        if subject.algorithm.steps == 10 and type(subject.algorithm) is mb.MAML:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return seconds(subject, B, seed)

    monkeypatch.setattr(measure_module, "_seconds", short)

    _, table = measured(mb.MAML(2, mb.SGD(0.5)), tasks=16)

    assert one(table, "seconds_by_k", "maml", 10).status == "out of memory"
    assert one(table, "seconds_by_k", "maml", 2).value > 0
    assert one(table, "seconds_by_k", "fomaml", 10).value > 0
