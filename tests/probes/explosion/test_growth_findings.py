"""Is growth over K called fine, a fault or undecided only where its interval says so?"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import metabench as mb
from metabench.probes.explosion import Explosion
from metabench.records.rows import Row, to_table

BOWL = mb.Quadratic(dim=4, condition=2.0, jitter=0.0, shots=3, queries=3)
QUICK = {"tasks": 64, "steps": 20, "directions": 0, "precision": False, "mitigated": 0}


def findings(*rows, tasks=128):
    return {f.name: f for f in Explosion(tasks=tasks).find(to_table(rows))}


def grown(low, high, norms=None, steps=200):
    """The rows of a table whose growth a step lies between two ends."""
    norms = norms or {0: 1.0, 1: 1.0, steps: 1.0}
    share = Row("growing_share", value=0.5, low=0.4, high=0.6)
    growth = Row("growth", value=(low + high) / 2, low=low, high=high)
    lines = [
        Row("norm", at=float(K), value=v, low=0.99 * v, high=1.01 * v) for K, v in norms.items()
    ]
    return [growth, share, *lines]


def test_an_interval_that_holds_a_factor_of_seventy_is_no_steady_meta_gradient():
    """[-.29 %, +2.15 %] a step over 199 steps is a factor between .56 and 69."""
    found = findings(*grown(math.log1p(-0.0029), math.log1p(0.0215)))["growth"]

    assert found.state == "undecided"
    assert "neither explodes nor vanishes" not in found.claim
    assert "[0.561, 68.9] over 199 steps" in found.claim
    width = 199 * (math.log1p(0.0215) - math.log1p(-0.0029))
    tasks = float(f"{128 * (width / math.log(1.1)) ** 2:.2g}")
    assert f"About {tasks:.0f} tasks would decide it" in found.repair


@pytest.mark.parametrize(
    ("low", "high", "name", "state"),
    [
        (math.log(0.92), math.log(1.09), "growth", "fine"),
        (math.log(0.90), math.log(1.09), "growth", "undecided"),
        (math.log(0.92), math.log(1.11), "growth", "undecided"),
        (math.log(1.2), math.log(9.0), "growth", ""),
        (math.log(0.2), math.log(0.8), "growth", ""),
        (math.log(1.2), math.log(11.0), "growth", "undecided"),
        (math.log(11.0), math.log(20.0), "explodes", "fault"),
    ],
)
def test_the_margin_is_the_factor_over_the_steps_taken(low, high, name, state):
    found = findings(*grown(low / 199, high / 199))

    assert found[name].state == state
    assert ("neither explodes nor vanishes" in found[name].claim) == (state == "fine")


def test_tasks_that_diverge_leave_nothing_fine():
    rows = grown(-1e-5, 1e-5)
    lost = Row("diverged", at=200.0, value=0.016, low=0.002, high=0.055, status="diverged")

    assert findings(*rows)["growth"].state == "fine"
    found = findings(*rows, lost)
    assert [f.name for f in found.values() if f.state == "fine"] == []
    assert "1.6 %" in found["growth"].claim


def test_a_norm_that_rises_and_falls_is_not_steady():
    """A straight line through log |g| is level though |g| is a hundred times larger between."""
    found = findings(*grown(-1e-5, 1e-5, {1: 1.0, 20: 100.0, 200: 1.0}))["growth"]

    assert found.state == "undecided"
    assert "K = 20 (100)" in found.claim


def test_an_interval_without_an_end_is_undecided_and_not_left_out():
    family = replace(BOWL, jitter=0.5)
    subject = mb.Subject(family.problem(), family.sample, mb.MAML(5, mb.SGD(0.1)), family.theta(0))
    probe = Explosion(**{**QUICK, "tasks": 3})

    found = {f.name: f for f in probe.find(to_table(probe.measure(subject, 0)))}

    assert found["growth"].state == "undecided"
    assert "Measure more tasks" in found["growth"].repair


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [(0.02, 0.03, ""), (0.02, 0.08, "undecided"), (0.06, 0.08, "fault")],
)
def test_what_happens_at_the_own_k_is_said_only_where_its_interval_lies_on_one_side(
    low, high, state
):
    """At K = 50 the threshold is log(10) / 50 = .046 a step."""
    found = findings(*grown(low, high), Row("own_steps", value=50.0))["explodes"]

    assert found.state == state
    assert ("still below" in found.claim, "can't be told" in found.claim) == (
        state == "",
        state == "undecided",
    )


@pytest.mark.parametrize(
    ("ends", "state", "words"),
    [
        ((0.2, 0.4), "", "not the cause"),
        ((0.05, 0.4), "undecided", "can't be told"),
        ((0.01, 0.05), "fault", "shrinks the query gradient"),
    ],
)
def test_backpropagation_is_cleared_only_by_its_interval(ends, state, words):
    back = Row("amplification_by_step", at=200.0, value=sum(ends) / 2, low=ends[0], high=ends[1])
    found = findings(*grown(-0.05, -0.04), back)["vanishes"]

    assert (found.state, found.level) == (state, "warning" if state == "fault" else "info")
    assert words in found.claim


def test_the_own_k_is_called_finite_only_of_the_tasks_measured():
    lost = Row("diverged", at=200.0, value=0.016, low=0.002, high=0.055, status="diverged")
    own = Row("diverged", at=5.0, value=0.0, low=0.0, high=0.0284)
    found = findings(own, lost, Row("own_steps", value=5.0), *grown(-0.01, 0.01))["diverged"]

    assert "finite in every task measured (at most 2.84 % of tasks)" in found.claim


@pytest.mark.parametrize("share", [(0.0, 0.0, 0.028), (0.01, 0.0, 0.08), (0.3, 0.2, 0.4)])
def test_a_rate_is_stable_only_if_the_upper_end_of_the_unstable_share_is_small(share):
    value, low, high = share
    rates = [
        Row("stable_rate", of=f"{of} % of tasks", value=2.0, low=2.0, high=2.0) for of in (50, 95)
    ]
    rows = [*grown(-1e-5, 1e-5), *rates,
            Row("past_edge", at=2.6, of="rate", value=value, low=low, high=high)]  # fmt: skip
    found = findings(*rows)
    lost = Row("diverged", at=200.0, value=0.016, low=0.002, high=0.055, status="diverged")

    if low > 0.05:
        assert "below 2, the edge of stability" in found["inner_rate_unstable"].repair
        return
    assert found["inner_rate_stable"].state == ("fine" if high <= 0.05 else "undecided")
    assert findings(*rows, lost)["inner_rate_stable"].state == "undecided"


@pytest.mark.parametrize(("rate", "state"), [(1e-5, "fine"), (4e-3, "undecided")])
def test_the_states_of_bowls_are_those_of_their_closed_form(rate, state):
    """The change of log |g| from K = 1 to 20, as the quadratic's formula gives it for each task."""
    probe = Explosion(**QUICK)
    subject = mb.Subject(BOWL.problem(), BOWL.sample, mb.MAML(1, mb.SGD(rate)), BOWL.theta(0))
    tasks = BOWL.sample(mb.Address.fresh(0, 64), 0)
    seen, asked = (t[1].mean(1).numpy() for t in (tasks.support, tasks.query))
    theta, a = BOWL.theta(0).numpy(), BOWL.curvatures

    def norms(K):
        shrink = (1 - rate * a) ** K
        return np.linalg.norm(shrink * a * (seen + shrink * (theta - seen) - asked), axis=1)

    change = np.sort(np.log(norms(20) / norms(1)))
    low, high = change[23], change[40]  # by binomial ranks, a 95 % interval of the median of 64
    inside = max(-low, high) < math.log(1.1)
    assert inside == (state == "fine")
    assert high > -math.log(1.1)
    found = {f.name: f for f in probe.find(to_table(probe.measure(subject, 0)))}
    assert found["growth"].state == state


def stretched(at, own):
    curved = [
        Row(name, at=at, of="curvature", value=value, low=value, high=value)
        for name, value in (
            ("stretching", math.log(1.2)), ("overshoot", 0.0), ("negative_curvature", 1.0),
        )
    ]  # fmt: skip
    return findings(*curved, Row("own_steps", value=own))["stretching"]


@pytest.mark.parametrize(
    ("at", "own", "advised"),
    [(0.0, 2.0, False), (0.0, 20.0, True), (50.0, 20.0, False)],
    ids=["short loop", "long loop", "beyond the loop"],
)
def test_only_growth_within_the_algorithms_own_steps_calls_for_a_change(at, own, advised):
    found = stretched(at, own)

    assert ("fewer inner steps" in found.repair) == advised
    assert ("beyond your loop of K = 20" in found.claim) == (at > own)


def test_a_change_below_tenfold_is_not_said_to_explode_perhaps():
    found = findings(*grown(-0.001, 0.003))["growth"]

    assert found.state == "undecided"
    assert found.claim.startswith("The meta-gradient changes by less than a factor of 10, but")


def test_an_algorithm_without_backpropagation_is_not_warned_of_it():
    other = Row("other_gradient", of="by implicit differentiation", status="info")

    found = findings(*grown(0.2, 0.3), Row("own_steps", value=50.0), other)

    assert (found["explodes"].level, found["explodes"].repair) == ("info", "")
    assert "computes its meta-gradient by implicit differentiation" in found["unrolled_only"].claim
