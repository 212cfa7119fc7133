"""Are wrong policy gradients named, and right ones left alone?"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

import metabench as mb
from metabench.probes.verify import Verify
from metabench.probes.verify.measure_sampled import sampled_rows
from metabench.problems import random_numbers
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.records.rows import Row, to_table


@dataclass(frozen=True)
class Uncontrolled(mb.Surrogate):
    """The published form that divides weights by episodes and lacks the control term."""

    def __call__(self, log_probabilities, returns, baselines):
        earlier, total = torch.zeros_like(log_probabilities[..., 0]), 0.0
        for t, taken in enumerate(log_probabilities.unbind(-1)):
            earlier = taken + 0.25 * earlier
            total = total + (earlier - earlier.detach()).exp() * (returns - baselines)[..., t]
        return total


def finding(**settings):
    family = mb.Tabular(**settings)
    return found(family.problem(), family.sample, family.theta(0))


def found(problem, sample, theta):
    rows = sampled_rows(mb.Subject(problem, sample, mb.MAML(), theta), 0, tasks=2)
    checks = [Row("check", of="repeated call", value=0.0, status="ok"), *rows]
    (said,) = [f for f in Verify().find(to_table(checks)) if f.name.startswith("sampled")]
    return said


@pytest.mark.parametrize(
    ("settings", "order", "words"),
    [
        ({"surrogate": mb.Naive()}, "second order", "naive kind"),
        ({"surrogate": mb.LVC()}, "second order", "LVC's kind"),
        ({"surrogate": mb.LoadedDiCE(decay=0.1)}, "second order", "LVC's kind"),
        ({"surrogate": Uncontrolled()}, "first order", "lack the term"),
        ({"surrogate": Uncontrolled(), "baseline": "exact"}, "second order", "lack the term"),
        ({"baseline": "batch"}, "first order", "fitted on the samples"),
        ({"baseline": "standardized"}, "first order", "standardized advantages"),
    ],
)
def test_what_is_wrong_is_named(settings, order, words):
    said = finding(**settings)

    assert (said.level, said.state) == ("warning", "fault")
    assert f"biased at {order}" in said.claim
    assert words in said.claim


@pytest.mark.parametrize("baseline", ["none", "time", "exact", "independent", "leave_one_out"])
def test_loaded_dice_is_not_accused_with_any_right_baseline(baseline):
    assert finding(baseline=baseline).level == "info"


def test_log_probabilities_that_are_not_normalized_are_named():
    family = mb.Tabular(shots=5)
    sampling = family.problem().sampling

    def raw(phi, theta, sample):
        return phi.view(2, 2)[sample.observations, sample.actions]

    problem = family.problem()._replace(sampling=sampling._replace(log_probabilities=raw))

    said = found(problem, family.sample, family.theta(0))

    assert said.name == "sampled_score"
    assert "not zero" in said.claim


def dropped(scale):
    """Dropout of phi by masks of the task's own numbers, with its expected loss."""
    layout = Layout(("point",), ((3,),))

    def loss(phi, theta, data):
        keep, target = data
        return ((scale * keep * phi - target) ** 2).mean()

    def expected(phi, theta, data):
        squares = (phi - data[1]) ** 2 + phi**2  # keep with probability 1/2, twice as large
        return squares.mean()

    def sample(address, seed):
        def sets(axis):
            numbers = torch.from_numpy(random_numbers.uniform(seed, axis, address, 30))
            return (numbers.view(-1, 10, 3) < 0.5).double(), torch.ones(
                len(numbers), 10, 3
            ).double()

        return mb.Task(sets("support"), sets("query"))

    problem = mb.Problem(
        lambda theta: theta,
        loss,
        loss,
        Layouts(layout, layout),
        sampled=True,
        expected_inner_loss=expected,
        expected_outer_loss=expected,
    )
    return found(problem, sample, torch.tensor([0.5, -1.0, 2.0]).double())


def test_dropout_from_the_tasks_own_numbers_is_held_to_its_expectation():
    assert dropped(2.0).level == "info"
    assert "biased at first order" in dropped(1.0).claim


def test_finite_differences_do_not_judge_what_samples():
    family = mb.Tabular(surrogate=mb.Naive())
    subject = mb.Subject(family.problem(), family.sample, mb.MAML(), family.theta(0))

    rows = Verify(thorough=False).measure(subject, seed=0)

    assert {row.of: row.status for row in rows}["finite differences"] == "sampled"
    assert all(f.level == "info" for f in Verify().find(to_table(rows)))
