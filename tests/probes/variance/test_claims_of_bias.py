"""Is an estimator called unbiased, or too biased, only where checks and paired errors say so?"""

from __future__ import annotations

import pytest
import torch

import metabench as mb
from metabench.estimation.vectorization import Vectorization
from metabench.families.quadratic import Quadratic
from metabench.records.rows import Row, from_table, to_table

FAMILY = Quadratic(dim=6, shots=2, queries=4, jitter=0.9, offset=2.0, spread=0.5, noise=0.5)
STEP = mb.SGD(rate=0.7)


def subject(algorithm, sample=FAMILY.sample, problem=None):
    theta = FAMILY.theta(0).double()
    return mb.Subject(problem or FAMILY.problem(), sample, algorithm, theta, Vectorization())


def measured(given, checked=True, tasks=256, batch=4, **settings):
    settings = {"redrawn_tasks": 128, "shot_multiples": 0, "sizes": (1, 4), **settings}
    probe = mb.Variance(tasks, batch=batch, **settings)
    measure = mb.measure_checked if checked else lambda probe, *rest: probe.measure(*rest)
    table = to_table(measure(probe, given, 1))
    return table, {finding.name: finding for finding in probe.find(table)}


def only(table, quantity, of=""):
    (row,) = from_table(table, quantity, of=of)
    return row


class Detached(torch.autograd.Function):
    """The identity, with a backward pass that is wrong by a factor of two."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value):
        return value.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad


def with_wrong_backward():
    problem = FAMILY.problem()

    def outer(phi, theta, data):
        return Detached.apply(problem.outer_loss(phi, theta, data))

    return problem._replace(outer_loss=outer)


def test_an_exact_class_whose_gradient_verify_calls_wrong_is_not_called_unbiased():
    table, findings = measured(subject(mb.MAML(2, STEP), problem=with_wrong_backward()))

    assert {row.status for row in from_table(table, "check", of="finite differences")} == {"wrong"}
    bias = only(table, "bias", "estimator")
    assert (bias.value, bias.status) == (None, "declared")
    found = findings["estimator_bias"]
    assert found.state == "undecided"
    assert "unbiased" not in found.claim
    assert "contradicts" in found.claim
    assert "smaller error" not in found.claim


def test_an_exact_class_is_called_unbiased_where_finite_differences_confirm_it():
    _, findings = measured(subject(mb.MAML(2, STEP)))

    assert findings["estimator_bias"].state == "fine"
    assert "maml is unbiased for its objective" in findings["estimator_bias"].claim


@pytest.mark.parametrize("status", ["kink", "reduced_precision", None])
def test_without_a_decided_check_its_bias_is_unknown(status):
    table, _ = measured(subject(mb.MAML(2, STEP)), checked=False)
    rows = [] if status is None else [Row("check", of="finite differences", status=status)]
    for row in rows:
        table.loc[len(table)] = {**row._asdict(), "at": float("nan")}

    (found,) = [f for f in mb.Variance(256, batch=4).find(table) if f.name == "estimator_bias"]

    assert found.state == "undecided"
    said = "were not run" if status is None else f"did not confirm that ({status})"
    assert f"finite differences {said}" in found.claim


@pytest.mark.parametrize("algorithm", [mb.MAML(2, STEP), mb.FOMAML(2, STEP)])
def test_a_sampler_that_cannot_redraw_does_not_hide_the_estimators_bias(algorithm):
    """Its tasks are those of the family, so that so is its bias, bit for bit."""

    def sample(indices, seed):
        task = FAMILY.sample(mb.Address.fresh(0, 10**4).part(0, 0)._replace(
            **{name: torch.zeros(len(indices), dtype=torch.int64).numpy()
               for name in ("support", "query", "inner", "label")},
            task=indices), seed)  # fmt: skip
        return task.support, task.query

    table, findings = measured(subject(algorithm, mb.Indexed(sample)), shot_multiples=4)
    whole, _ = measured(subject(algorithm))

    assert only(table, "bias", "estimator") == only(whole, "bias", "estimator")
    assert only(table, "bias", "objective").status == "not_redrawable"
    assert "bias_not_reported" not in findings
    claims = " ".join(finding.claim for finding in findings.values())
    assert "objective of its own" not in claims
    assert "names no exact estimator" not in claims


def test_a_finite_stream_is_long_enough_for_its_bias():
    drawn = FAMILY.sample(mb.Address.fresh(0, 200), 1)
    stream = mb.Stream(zip(zip(*drawn.support, strict=True), zip(*drawn.query, strict=True),
                           strict=True))  # fmt: skip

    table, _ = measured(subject(mb.FOMAML(2, STEP), stream), tasks=32, sizes=(1, 2), batch=1000,
                        redrawn_tasks=16)  # fmt: skip

    assert only(table, "bias", "estimator").value is not None


def test_a_shortcut_with_the_larger_paired_error_is_a_fault_though_the_errors_overlap():
    """Errors of 2.19 [1.71, 2.88] and 1.41 [1.05, 1.9] overlap; those of pairs don't."""
    rows = (
        Row("bias", of="estimator", value=0.3, low=0.1, high=0.6),
        Row("mse", at=25.0, of="maml", value=1.41, low=1.05, high=1.9),
        Row("mse", at=25.0, of="fomaml", value=2.19, low=1.71, high=2.88),
        Row("break_even", value=0.0, low=0.0, high=0.0),
        Row("negligible_up_to", value=0.0, low=0.0, high=0.0),
        Row("slope", value=-1.0, low=-1.03, high=-0.97),
        Row("mean_norm_squared", value=1.0, low=0.9, high=1.1),
    )

    (found,) = [f for f in mb.Variance().find(to_table(rows)) if f.name == "estimator_bias"]

    assert (found.level, found.state) == ("warning", "fault")
    assert "Use maml" in found.repair


@pytest.mark.parametrize("seed", range(3))
def test_the_batch_up_to_which_an_error_is_negligible_is_that_of_the_closed_form(seed):
    exact, short = (FAMILY.truth(FAMILY.theta(0), 2, 0.7, first) for first in (False, True))
    bias = float(((exact.mean - short.mean) ** 2).sum())
    expected = max((1.05 * exact.variance - short.variance) / bias, 0.0)
    probe = mb.Variance(4096, batch=4, redrawn_tasks=2048, shot_multiples=0, sizes=(1, 4))

    table = to_table(probe.measure(subject(mb.FOMAML(2, STEP)), seed))

    limit = only(table, "negligible_up_to")
    assert limit.low <= expected <= limit.high
    assert limit.value == pytest.approx(expected, rel=0.25)
