"""Is what is called fine supported by an interval, and what can't be told called undecided?"""

from __future__ import annotations

import pytest

from metabench.probes.explosion import Explosion
from metabench.probes.variance import Variance
from metabench.probes.verify import Verify
from metabench.records.rows import Row, to_table


def states(probe, *rows):
    return {finding.name: finding.state for finding in probe.find(to_table(rows))}


def variance(slope=(-1.0, -1.02, -0.98), order=(), scale=(10.0, 9.0, 11.0), batch=25):
    value, low, high = slope
    rows = [Row("variance", at=1.0, value=1.0), Row("snr", at=4.0, value=1.0, low=0.9, high=1.1),
            Row("slope", value=value, low=low, high=high), *order,
            Row("mean_norm_squared", value=0.1, low=0.09, high=0.11),
            Row("noise_scale", value=scale[0], low=scale[1], high=scale[2])]  # fmt: skip
    return states(Variance(batch=batch), *rows)


@pytest.mark.parametrize(
    ("slope", "name", "state"),
    [
        ((-1.0, -1.04, -0.96), "independent_tasks", "fine"),
        ((-1.0, -1.2, -0.8), "slope_unclear", "undecided"),
        ((-1.0, -1.4, -0.6), "slope_unclear", "undecided"),
        ((-0.9, -0.95, -0.85), "slope_unclear", "undecided"),
    ],
)
def test_independence_is_fine_only_within_its_margin(slope, name, state):
    assert variance(slope)[name] == state


@pytest.mark.parametrize(
    ("slope", "name", "state"),
    [
        ((-0.5, -0.6, -0.4), "dependent_tasks", "fault"),
        ((-1.0, -1.4, -0.6), "dependent_tasks", "fault"),
        ((-0.97, -0.99, -0.955), "independent_tasks", "fine"),  # some dependence, within the margin
    ],
)
def test_an_order_of_tasks_that_is_not_random_is_a_fault_unless_the_slope_is_near_its_law(
    slope, name, state
):
    order = (
        Row("independence", value=1e-4, status="refuted"),
        Row("batch_excess", value=1.5),
    )

    assert variance(slope, order)[name] == state


@pytest.mark.parametrize(
    ("batch", "state"),
    [(4, "fault"), (5, "undecided"), (10, "undecided"), (22, "undecided"), (23, "fine")],
)
def test_a_batch_is_enough_only_above_twice_the_noise_scales_upper_end(batch, state):
    assert variance(batch=batch)["noise_scale"] == state


@pytest.mark.parametrize(("ends", "state"), [((-0.001, 0.001), "fine"), ((-0.2, 0.2), "undecided")])
def test_a_meta_gradient_is_steady_only_if_its_interval_says_so(ends, state):
    growth = Row("growth", value=0.0, low=ends[0], high=ends[1])
    norms = [Row("norm", at=float(K), value=1.0, low=0.9, high=1.1) for K in (0, 1, 5, 10)]

    assert states(Explosion(), growth, *norms)["growth"] == state


def test_verified_is_fine_only_if_nothing_was_left_out():
    checks = [Row("check", of=name, value=0.0) for name in ("finite differences", "precision")]
    kink = Row("check", of="finite differences", status="kink")

    assert states(Verify(), *checks) == {"verified": "fine"}
    unroll = Row("check", of="autograd through the unroll", value=0.0)
    assert states(Verify(), unroll, kink) == {"verified": "not_looked_at"}
    assert states(Verify(), checks[1], kink) == {"unchecked": "not_looked_at"}
    assert states(Verify(), checks[1]) == {"unchecked": "not_looked_at"}
