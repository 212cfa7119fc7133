"""Does the explosion probe report what quadratics are known to do?"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import metabench as mb
from metabench.probes.explosion import Explosion, growth, mitigations, stable
from metabench.problems.parameter_layout import Layouts
from metabench.records.rows import from_table, to_table

BOWL = mb.Quadratic(dim=4, condition=2.0, jitter=0.0, shots=3, queries=3)
QUICK = {"tasks": 64, "steps": 20, "rounds": 1, "precision": False, "mitigated": 0}


def subject(algorithm, family=BOWL, theta=None):
    theta = family.theta(0) if theta is None else theta
    return mb.Subject(family.problem(), family.sample, algorithm, theta)


def table_of(algorithm, family=BOWL, **settings):
    probe = Explosion(**{**QUICK, **settings})
    return probe, to_table(probe.measure(subject(algorithm, family), 0))


def one(table, quantity, at=None, of="", layer=""):
    found = [r for r in from_table(table, quantity, of, layer) if at is None or r.at == at]
    (row,) = found
    return row


def closed_form(family, rate, K, count):
    """|g(K)| of each task: curvature a, |(1 - alpha a)^K a (phi_K - c_query)| by coordinates."""
    tasks = family.sample(mb.Address.fresh(0, count), 0)
    theta, a = family.theta(0).numpy(), family.curvatures
    seen, asked = (t[1].mean(1).numpy() for t in (tasks.support, tasks.query))
    shrink = (1 - rate * a) ** K
    phi = seen + shrink * (theta - seen)
    return np.linalg.norm(shrink * a * (phi - asked), axis=1)


@pytest.mark.parametrize("rate", [0.3, 2.6])
def test_norms_are_the_closed_form_of_a_quadratic(rate):
    probe, table = table_of(mb.MAML(1, mb.SGD(rate)))

    for K in probe.plan:
        expected = closed_form(BOWL, rate, K, 64)
        assert one(table, "norm", K).value == pytest.approx(np.median(expected), rel=1e-10)
    rates = growth.growth_rates(
        np.stack([closed_form(BOWL, rate, K, 64) for K in probe.plan], 1), probe.plan
    )
    assert one(table, "growth").value == pytest.approx(np.median(rates), rel=1e-8)


def test_an_exploding_bowl_is_reported_with_rate_and_cause():
    """At rate 2.6 and curvature 1, iterates and adjoint grow by 1.6 a step, the norm by 1.6^2."""
    probe, table = table_of(mb.MAML(100, mb.SGD(2.6)), steps=100)
    findings = {f.name: f for f in probe.find(table)}

    assert one(table, "growth").value == pytest.approx(2 * math.log(1.6), rel=0.01)
    assert one(table, "exponent", of="1").value == pytest.approx(math.log(1.6), rel=1e-6)
    assert one(table, "amplification_by_step", 100).value == pytest.approx(1.6**100, rel=0.05)
    assert findings["explodes"].level == "warning"
    assert "overshoot (rate times curvature above 2) in 100 %" in findings["stretching"].claim
    assert findings["inner_rate_unstable"].level == "warning"
    assert one(table, "stable_rate", of="50 % of tasks").value == pytest.approx(2.0, rel=1e-6)


def test_vanishing_is_distinguished_from_good_adaptation():
    """Backpropagation shrinks the gradient of a bowl at rate 0.9 until it vanishes."""
    probe, table = table_of(mb.MAML(50, mb.SGD(0.9)), steps=50)
    findings = {f.name: f for f in probe.find(table)}

    assert findings["vanishes"].level == "warning"
    assert "multi-step" in findings["vanishes"].repair
    assert "inner_rate_stable" in findings


def test_what_only_longer_loops_do_is_information_and_no_warning():
    """At K = 1 nothing has grown or faded tenfold yet, though it will have at 100 steps."""
    for rate, name in ((2.6, "explodes"), (0.9, "vanishes")):
        probe, table = table_of(mb.MAML(1, mb.SGD(rate)), steps=100)

        (finding,) = [f for f in probe.find(table) if f.name == name]
        assert finding.level == "info"
        assert "At your K = 1" in finding.claim


def test_negative_curvature_is_no_overshoot():
    """A saddle: 1 - alpha lambda is 1.2 along the direction that curves down."""
    layout = mb.Layout(("phi",), ((2,),))
    bend = torch.tensor([1.0, -0.4], dtype=torch.float64)

    def loss(phi, theta, data):
        return (bend * (phi - data[0].mean(0)) ** 2).sum() / 2

    problem = mb.Problem(lambda t: t, loss, loss, Layouts(layout, layout))
    family = mb.Quadratic(dim=2)

    def sample(address, seed):
        tasks = family.sample(address, seed)
        return mb.Task(tasks.support[1:], tasks.query[1:])

    made = mb.Subject(problem, sample, mb.MAML(1, mb.SGD(0.5)), torch.ones(2).double())
    probe = Explosion(**QUICK)
    table = to_table(probe.measure(made, 0))

    assert one(table, "negative_curvature", 20, of="curvature").low > 0.79
    assert one(table, "stretching", 20, of="curvature").value == pytest.approx(math.log(1.2))
    (cause,) = [f for f in probe.find(table) if f.name == "stretching"]
    assert "Over your K = 1 that is at most a factor of 1.2 [1.2, 1.2]." in cause.claim
    assert not cause.repair  # for so short a loop


def test_momentum_has_its_own_edge():
    _, table = table_of(mb.MAML(1, mb.Momentum(0.1, momentum=0.5)))

    assert one(table, "stable_rate", of="50 % of tasks").value == pytest.approx(3.0, rel=1e-6)


def test_stable_rates_are_counted_on_held_out_tasks():
    """Curvatures that differ between tasks: half of them are stable at the median threshold."""
    family = replace(BOWL, dim=1, jitter=0.9, shots=2)
    _, table = table_of(mb.MAML(1, mb.SGD(0.5)), family, steps=100, tasks=256)
    largest = family.sample(mb.Address.fresh(0, 256), 0).support[0].mean(1).numpy()[:, 0]

    assert one(table, "stable_rate", of="50 % of tasks").value == pytest.approx(
        np.quantile(2 / largest, 0.5, method="inverted_cdf"), rel=1e-3
    )
    counts = {r.at: r for r in from_table(table, "unstable", of="rate")}
    held_out = family.sample(mb.Address.fresh(256, 256), 0).support[0].mean(1).numpy()[:, 0]
    clear = [rate for rate in counts if (np.abs(rate * held_out - 2) > 1e-6).all()]
    assert len(clear) >= 5
    for rate in clear:
        row = counts[rate]
        assert row.value == pytest.approx(np.mean(rate * held_out > 2))


def test_mitigations_have_the_norms_of_the_closed_forms():
    """Half the rate at curvature about 1 and K = 10; and clipping, whose share is its quantile."""
    far = replace(BOWL, offset=3.0)
    probe, table = table_of(mb.MAML(1, mb.SGD(2.6)), far, mitigated=10, tasks=128)
    plain, slow = (closed_form(far, rate, 10, 128) for rate in (2.6, 1.3))

    assert one(table, "norm_kept", 10, "rate x 0.5").value == pytest.approx(np.median(slow / plain))
    first = one(table, "norm_kept", 10, "first order").value
    assert first == pytest.approx(1.6**-10, rel=0.3)
    clips = [r for r in from_table(table, "share_clipped", of=None) if "norm" in r.of]
    assert [r.value for r in clips] == pytest.approx([0.5, 0.25, 0.1], abs=0.02)
    largest = float(clips[0].of.rpartition(" ")[2])
    expected = np.median(np.minimum(1, largest / plain))
    assert one(table, "norm_kept", 10, clips[0].of).value == pytest.approx(expected, rel=0.01)
    (found,) = [f for f in probe.find(table) if f.name == "mitigation"]
    assert "to the exact mean meta-gradient" in found.claim


def test_without_second_moments_there_is_no_interval():
    """Meta-gradients of tail index 1.5 have no variance; those of fifty tasks no interval of it."""
    noise = np.random.default_rng(0)
    plain = noise.standard_normal((200, 5))
    wild = plain * noise.random((200, 1)) ** (-1 / 1.5)

    def of(*samples):
        return {r.quantity: r for r in mitigations._comparison_rows(*samples, 4, "other")}

    assert of(plain, plain / 2)["variance_left"].high == pytest.approx(0.25, rel=1e-6)
    assert of(plain[:50], plain[:50] / 2)["variance_left"].status == "unresolved"
    assert of(plain[:50], plain[:50] / 2)["variance_left"].high is None
    assert {of(wild, plain)[name].status for name in ("bias", "cosine", "variance_left")} == {
        "withheld"
    }
    poles = mitigations._comparison_rows(plain, plain / 2, 4, "implicit", has_poles=True)
    assert [r.status for r in poles[1:]] == ["withheld"] * 3


def test_the_first_non_finite_value_is_located():
    """One task in a hundred starts so far off that float32 overflows within the inner loop."""
    family = replace(BOWL, tail=0.3)
    made = subject(mb.MAML(60, mb.SGD(40.0)), family, family.theta(0).float())
    probe = Explosion(**{**QUICK, "steps": 60})
    table = to_table(probe.measure(made, 0))
    findings = {f.name: f for f in probe.find(table)}

    assert findings["diverged"].level == "critical"
    task = int(one(table, "first_diverged", of="task").value)
    place = one(table, "first_diverged", of="step of phi, in phi")
    tasks = made.draw(mb.Address.fresh(0, 64), 0)
    phi = made.theta.expand(64, -1)
    step = 0
    while torch.isfinite(phi).all():
        a, z = tasks.support
        phi = phi - 40.0 * (a * (phi[:, None] - z)).mean(1)
        step += 1
    broken = ~torch.isfinite(phi).all(1)
    assert (task, place.value) == (int(broken.int().argmax()), step)


def test_float32_departs_where_its_own_error_says():
    """At rate 2.6: rounding errors of 6e-8 grow by 1.6 a step."""
    made = subject(mb.MAML(1, mb.SGD(2.6)), BOWL, BOWL.theta(0).float())
    probe = Explosion(**{**QUICK, "steps": 50, "precision": True})
    repeated = Explosion(**{**QUICK, "steps": 50, "precision": True})
    table = to_table(probe.measure(made, 0))
    double = to_table(repeated.measure(subject(mb.MAML(1, mb.SGD(2.6))), 0))

    for K in (1, 10, 50):
        errors = [one(t, "float32_error", K).value for t in (table, double)]
        assert 0 < errors[0] < 1e-4
        assert errors[0] == pytest.approx(errors[1], rel=0.2)


@pytest.mark.parametrize(
    ("settings", "family"),
    [({"steps": 0}, BOWL), ({"tasks": 1}, BOWL), ({}, replace(BOWL, dim=1)), ({}, mb.Ridge())],
    ids=["K = 0", "one task", "P = 1", "phi and theta differ"],
)
def test_edge_cases_give_numbers_or_a_finding(settings, family):
    probe, table = table_of(mb.MAML(1, mb.SGD(0.1)), family, **{**settings, "precision": True})

    assert all(math.isfinite(r.value) for r in from_table(table, "norm"))
    probe.find(table)
    for drawing in probe.drawings(table):
        drawing.draw(_axes())


def test_a_black_box_is_withheld_with_a_finding():
    box = mb.BlackBox(lambda theta, task: theta)
    probe = Explosion(**QUICK)

    (finding,) = probe.find(to_table(probe.measure(subject(box), 0)))

    assert "needs the inner iterates" in finding.claim


def test_mini_batches_last_for_all_inner_steps():
    _, table = table_of(mb.MAML(1, mb.SGD(0.1), batch=2))

    assert one(table, "norm", 20).status == "ok"


def test_growth_rates_use_steps_as_far_as_a_task_is_finite():
    norms = np.array([[9, 1, 2, 4, math.inf], [9, 1, 1, 1, 1], [9, 1, math.nan, 1, 1], [0.0] * 5])

    found = growth.growth_rates(norms, (0, 1, 2, 3, 4))

    assert found.tolist() == [pytest.approx(math.log(2)), 0.0, math.inf, -math.inf]


def test_without_positive_curvature_there_is_no_edge():
    assert stable.stable_rates(np.array([-1.0, 0.5]), 2.0).tolist() == [math.inf, 4.0]


def _axes():
    from matplotlib.figure import Figure

    return Figure().subplots()


def test_a_preconditioned_optimizer_has_no_edge_of_the_plain_hessian():
    """Adam has an edge of the preconditioned Hessian, which `spectrum` measures."""
    _, adam = table_of(mb.MAML(1, mb.Adam(0.01)), steps=2)
    _, heavy = table_of(mb.MAML(1, mb.Momentum(0.1, momentum=0.5)), steps=2)

    assert mb.Adam().stability_edge() is not None
    assert [r.status for r in from_table(adam, "stable_rate", of=None)] == ["withheld"]
    found = one(heavy, "stable_rate", of="50 % of tasks")
    assert found.value == pytest.approx(2 * 1.5, rel=1e-6)


@pytest.mark.parametrize("settings", [{}, {"precision": False}, {"directions": 0}])
def test_progress_reaches_its_end_and_never_goes_back(settings):
    bowl = mb.Quadratic(dim=3, condition=2.0, jitter=0.0, shots=3, queries=3)
    subject = mb.Subject(bowl.problem(), bowl.sample, mb.MAML(2, mb.SGD(0.1)), bowl.theta(0))
    small = {"tasks": 8, "steps": 4, "rounds": 1, "directions": 2, "mitigated": 4}
    seen = []

    Explosion(**{**small, **settings}).measure(subject, 0, lambda *told: seen.append(told))

    done, totals = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert done[0] > 0
    assert done[-1] == totals[-1]
    assert len(set(totals)) == 1
