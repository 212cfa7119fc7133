"""Does the advice on a budget name the better plan, and predict its measured variance?"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass

import numpy as np
import pytest

from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization
from metabench.families.quadratic import Quadratic
from metabench.probes.variance import Variance
from metabench.probes.variance.measure_advice import plan_address
from metabench.records.rows import from_table, to_table
from metabench.settings.errors import InvalidInput
from metabench.stats.two_stage_sampling import Cost, Plan, minimum_variance_plan

PLAIN = Quadratic(dim=8, shots=3, queries=3)
TASK, DRAW = 0.03, 0.001  # seconds that the clock of these tests counts


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """A clock that counts: each different task 30 ms, each draw 1 ms."""

    def clock(subject, address, seed, size):
        return TASK * len(np.unique(address.task)) + DRAW * len(address.task)

    measure = importlib.import_module("metabench.probes.variance.measure_seconds")
    monkeypatch.setattr(measure, "seconds_taken", clock)


def measured(family, amount, tasks=4096, seed=1, **settings):
    theta = family.theta(0).double()
    algorithm = MAML(steps=1, inner_optimizer=SGD(rate=0.1))
    subject = Subject(family.problem(), family.sample, algorithm, theta, Vectorization(chunk=4096))
    probe = Variance(tasks, sizes=(1, 4), shot_multiples=0, budget=amount, **settings)
    table = to_table(probe.measure(subject, seed))
    (finding,) = [each for each in probe.find(table) if each.name == "advice"]
    return table, finding


def rows(table, quantity):
    return {row.of: row for row in from_table(table, quantity, of=None)}


def truth_of(plan: Plan, family: Quadratic = PLAIN) -> float:
    truth = family.truth(family.theta(0), 1, 0.1)
    task = truth.components["task"]
    return (task + (truth.variance - task) / plan.draws) / plan.tasks


def planned(table) -> Plan:
    advised = rows(table, "advised")
    return Plan(int(advised["tasks"].value), int(advised["draws"].value))


def test_the_best_plan_approaches_the_closed_form_as_the_budget_grows():
    cost = Cost(0.5, 0.02)

    plan = minimum_variance_plan(2.0, 9.0, cost, 1e6, 1000)

    assert plan.draws == pytest.approx(math.sqrt(0.5 * 9.0 / (0.02 * 2.0)), abs=1)
    assert cost.seconds(plan) == pytest.approx(1e6, rel=1e-3)


@pytest.mark.parametrize(("between", "within"), [(1.0, 5.0), (0.0, 1.0), (1.0, 0.0)])
def test_no_affordable_plan_is_better(between, within):
    cost, money = Cost(0.1, 0.04), 3.0

    plan = minimum_variance_plan(between, within, cost, money, 60)

    def variance(p):
        return (between + within / p.draws) / p.tasks

    others = [Plan(n, r) for n in range(1, 30) for r in range(1, 61)]
    affordable = [p for p in others if cost.seconds(p) <= money + 1e-9]
    assert cost.seconds(plan) <= money + 1e-9
    assert variance(plan) == pytest.approx(min(map(variance, affordable)))


def test_a_budget_below_one_task_buys_none():
    assert minimum_variance_plan(1.0, 1.0, Cost(0.1, 0.04), 0.13, 60) == Plan(0, 0)


def test_the_design_redraws_every_set_of_a_task_and_shares_none():
    address = plan_address(Plan(2, 3), start=10, batches=2)

    assert address.task.tolist() == [10, 10, 10, 11, 11, 11, 12, 12, 12, 13, 13, 13]
    for axis in address[1:]:
        assert axis.tolist() == [0, 1, 2] * 4


def test_costs_are_those_of_the_clock_and_foretell_what_the_plan_takes():
    table, _ = measured(PLAIN, "2s")

    each, seconds = rows(table, "seconds_each"), rows(table, "advised_seconds")
    assert each["task"].value == pytest.approx(TASK)
    assert each["draw"].value == pytest.approx(DRAW)
    assert seconds["foretold"].value == pytest.approx(seconds["measured"].value)
    assert seconds["foretold"].value <= 2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_predicted_and_measured_variance_agree_with_the_closed_form(seed):
    table, finding = measured(PLAIN, "2s", seed=seed)

    expected, found = truth_of(planned(table)), rows(table, "advised_variance")
    for of, width in (("foretold", 0.15), ("measured", 0.5)):
        assert found[of].value == pytest.approx(expected, rel=width)
        assert found[of].low < found[of].value < found[of].high
    assert expected < truth_of(Plan(int(2 / (TASK + DRAW)), 1))
    assert finding.level == "info"
    assert "predicted" in finding.claim
    assert "measured" in finding.claim


def test_a_plan_too_large_to_be_measured_is_measured_with_fewer_tasks_and_said_so():
    table, finding = measured(PLAIN, "100s", tasks=2048)

    held, plan = rows(table, "advised")["tasks measured"].value, planned(table)
    assert held < plan.tasks
    assert f"(with {held:.0f} tasks, then scaled)" in finding.claim
    found = rows(table, "advised_variance")["measured"]
    assert found.value == pytest.approx(truth_of(plan), rel=0.5)


@dataclass(frozen=True)
class OneQuery(Quadratic):
    """All tasks share their center and one query set: only support draws differ."""

    def sample(self, address, seed):
        zero = 0 * address.task
        same = super().sample(address._replace(task=zero, query=zero), seed)
        draws = super().sample(address, seed)
        return draws._replace(query=same.query)


def test_all_variance_in_the_support_advises_redraws():
    table, finding = measured(OneQuery(dim=8, shots=3, queries=3, spread=0.0), "2s")

    assert planned(table).draws > 10
    assert "independent draws of its support" in finding.repair


def test_all_variance_in_the_task_advises_tasks():
    table, finding = measured(Quadratic(dim=8, noise=0.003, jitter=0.003), "2s")

    assert planned(table) == Plan(64, 1)  # 2 s at 31 ms each
    assert "Use 64 fresh tasks" in finding.repair


def test_a_budget_in_tasks_is_what_so_many_fresh_tasks_take():
    table, _ = measured(PLAIN, "100tasks")

    (amount,) = from_table(table, "budget")
    assert amount.value == pytest.approx(100 * (TASK + DRAW))


def test_a_budget_that_buys_nothing_is_said_so():
    _, finding = measured(PLAIN, "20ms")

    assert finding.level == "warning"
    assert "20 ms is too small for one task" in finding.claim


@dataclass(frozen=True)
class Fixed(Quadratic):
    """Each task comes with the sets that it has, whatever redraw is asked for."""

    def sample(self, address, seed):
        zero = 0 * address.task
        return super().sample(address._replace(support=zero, query=zero), seed)


def test_without_redraws_there_is_no_advice_but_a_reason():
    _, finding = measured(Fixed(dim=3), "2s", tasks=512)

    assert "No advice" in finding.claim


@pytest.mark.parametrize("text", ["fast", "-3s", "0s", "3 apples"])
def test_a_budget_that_is_none_is_refused_at_the_door(text):
    with pytest.raises(InvalidInput, match="30s, 20ms or 200tasks"):
        Variance(budget=text)


def test_a_budget_needs_redraws():
    with pytest.raises(InvalidInput, match=r"probe\.redrawn_tasks"):
        Variance(budget="3s", redrawn_tasks=0)
