"""Is an input that is not finite named, and no setting blamed for what it does?"""

from __future__ import annotations

import math

import pytest
import torch

import metabench as mb
from metabench.estimation.inputs_not_finite import inputs_not_finite
from metabench.probes.agreement import Agreement
from metabench.probes.constants import Constants
from metabench.probes.cost import Cost
from metabench.probes.explosion import Explosion
from metabench.probes.not_finite_inputs import with_inputs
from metabench.probes.spectrum import Spectrum
from metabench.records.rows import Row, from_table, to_table

FAMILY = mb.Quadratic(dim=3, condition=2.0, jitter=0.3, shots=3, queries=3)
PROBES = {
    "explosion": Explosion(tasks=16, steps=12, mitigated=4, directions=1, precision=False),
    "spectrum": Spectrum(tasks=16, meta=8),
    "agreement": Agreement(tasks=8, at=(1, 3), proximal_strengths=(), minimum_steps=30, rounds=1),
    "constants": Constants(tasks=16, hessians=8, run=0),
    "cost": Cost(tasks=16, steps=(1,), sizes=(1,), rounds=1),
}


def test_a_meta_gradient_that_is_not_finite_is_no_input():
    checked = to_table([Row("not_finite", of="meta-gradient", value=0.5, status="diverged")])

    assert with_inputs(checked, []) == []


def planted(where, bad=math.nan):
    """Draw bowls of which task 5 has one label that is not finite."""

    def sample(address, seed):
        tasks = FAMILY.sample(address, seed)
        hit = torch.as_tensor(address.task == 5)
        sets = {"support": tasks.support, "query": tasks.query}
        curvature, target = sets[where]
        target = target.clone()
        target[hit, 0, 0] = bad
        sets[where] = (curvature, target)
        return mb.Task(**sets)

    return sample


def subject(sample, rate=0.1, theta=None, K=3):
    theta = FAMILY.theta(0) if theta is None else theta
    return mb.Subject(FAMILY.problem(), sample, mb.MAML(K, mb.SGD(rate)), theta)


def measured(name, *args, **settings):
    probe = PROBES[name]
    table = to_table(probe.measure(subject(*args, **settings), 0))
    return table, probe.find(table)


@pytest.mark.parametrize("where", ["support", "query"])
@pytest.mark.parametrize("name", PROBES)
def test_a_nan_label_is_named_and_no_rate_is_advised_against_it(name, where):
    _, findings = measured(name, planted(where))

    faults = [f for f in findings if f.level != "info"]
    assert [f.name for f in faults] == ["not_finite_input"]
    assert f"task 5, {where} y" in faults[0].claim
    assert "sampler" in faults[0].repair
    assert [f.repair for f in findings if "ower the inner rate" in f.repair] == []
    assert [f.name for f in findings if f.name == "diverged" and f.state] == []


@pytest.mark.parametrize("name", PROBES)
def test_finite_inputs_give_no_such_finding(name):
    table, findings = measured(name, FAMILY.sample)

    assert from_table(table, "not_finite", of=None) == []
    assert "not_finite_input" not in {f.name for f in findings}


def test_tasks_that_are_not_finite_are_left_out_of_stable_rates():
    """Of a quadratic the stable rate is 2 over the largest curvature of a task's support set."""
    table, _ = measured("spectrum", planted("support", math.inf))
    a = FAMILY.sample(mb.Address.fresh(0, 16), 0).support[0].mean(1).amax(1)
    for row in from_table(table, "stable_rate", of="start"):
        assert row.value >= 2 / float(a.max()) * 0.999
    table, _ = measured("explosion", planted("support", math.inf))
    (half,) = from_table(table, "stable_rate", of="50 % of tasks")
    assert half.value >= 2 / float(a.max()) * 0.99


def test_a_diverged_loop_is_a_fault_though_an_input_is_not_finite_too():
    """At rate 1e200 every loop diverges, not only the task whose label is NaN."""
    for name in ("explosion", "spectrum", "agreement"):
        _, findings = measured(name, planted("query"), rate=1e200)

        states = {(f.name, f.state) for f in findings}
        assert {("not_finite_input", "fault"), ("diverged", "fault")} <= states


def test_agreement_records_how_many_tasks_diverged_for_each_method():
    table, findings = measured("agreement", planted("query"))
    lost = from_table(table, "diverged", of=None)

    assert {row.of for row in lost} >= {"maml", "fomaml", "hf_maml", "dense"}
    assert {row.value for row in lost} == {1 / 8}
    assert {row.status for row in from_table(table, "cosine", of="maml")} == {"diverged"}
    assert "diverged" in {f.name for f in findings}


def test_theta_and_every_bad_task_are_listed():
    theta = FAMILY.theta(0)
    theta[1] = math.inf
    rows = inputs_not_finite(subject(planted("query"), theta=theta), mb.Address.fresh(3, 6), 0)

    assert [(row.of, row.at, row.value) for row in rows] == [
        ("theta: phi", None, None),
        ("query y", 5.0, None),
        ("share of tasks", None, 1 / 6),
    ]


def test_a_query_loss_that_is_not_finite_before_any_step_blames_no_rate():
    rows = [
        Row("diverged", at=float(K), value=0.1, low=0.05, high=0.2, status="diverged")
        for K in (0, 5)
    ]
    (found,) = [f for f in Explosion().find(to_table(rows)) if f.name == "diverged"]

    assert "inner rate is not the cause" in found.claim
    assert "Lower the inner rate" not in found.repair


@pytest.mark.parametrize("rate", [2.3, 40.0, 1e12])
def test_no_rate_is_advised_from_the_end_of_loops_that_grew(rate):
    """Log-cosh flattens out, so curvature where a loop flew to is far from that at its start."""
    family = mb.LogCosh(dim=3)
    made = mb.Subject(family.problem(), family.sample, mb.MAML(12, mb.SGD(rate)), family.theta(0))
    table = to_table(PROBES["spectrum"].measure(made, 0))
    tasks = family.sample(mb.Address.fresh(0, 16), 0)
    problem, theta = family.problem(), family.theta(0)

    def rises(i):
        task = torch.utils._pytree.tree_map(lambda leaf: leaf[i], tasks)
        phi = problem.init(theta)
        first = problem.inner_loss(phi, theta, task.support)
        for _ in range(12):
            step = torch.func.grad(problem.inner_loss)(phi, theta, task.support)
            phi = phi - rate * step
        return not bool(problem.inner_loss(phi, theta, task.support) <= first)

    rose = sum(rises(i) for i in range(16)) / 16
    (row,) = from_table(table, "loss_rose", of="adapted")
    assert row.value == pytest.approx(rose)
    for finding in PROBES["spectrum"].find(table):
        if finding.name == "inner_rate_unstable" and "at the end" in finding.claim:
            assert ("about" in finding.repair) == (rose == 0)


@pytest.mark.parametrize("lost", [False, True])
def test_no_lambda_is_advised_from_curvature_beside_diverged_loops(lost):
    rows = [
        Row("proximal_strength", value=2.0),
        Row("saddles", at=5.0, value=0.5, low=0.3, high=0.7),
        Row("least_curvature", at=5.0, value=-1e30),
        Row("minimum_found", value=1.0, low=0.9, high=1.0),
        Row("gradient_norm_at_minimum", value=1e-9),
    ]
    if lost:
        rows.append(Row("diverged", at=5.0, of="maml", value=0.5, low=0.3, status="diverged"))
    (found,) = [f for f in Agreement().find(to_table(rows)) if f.name == "saddles"]

    assert (" above " in found.repair) != lost
