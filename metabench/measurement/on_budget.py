"""A measurement within a time budget: with fewer tasks where all don't fit, and what is left out.

The cost of one estimate is timed first, and forecasts the checks and the first, smallest settings
of the probe; what those took forecasts larger ones. Whatever was finished last is kept.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from metabench.measurement.clock import Clock
from metabench.measurement.measure_with_checks import measure_checked
from metabench.measurement.measurement import Measurement
from metabench.measurement.reduced_settings import fewer_tasks, larger, left_out, smallest
from metabench.probes.base import Probe
from metabench.probes.verify import Verify
from metabench.problems.tasks import Address
from metabench.records.rows import Row
from metabench.settings.alarms import TimeUp

PAGE_SECONDS = 5.0  # kept for the page and the files, at most a quarter of the budget
CHECK_SHARE = 0.25  # of the time, for the checks ahead of a probe
ATTEMPT_SHARE = 0.4  # of the time, for a first attempt that may not end
ESTIMATES_OF_A_TASK = 8.0  # that a probe is assumed to take before anything is known
FITS = 0.8  # of the time: a larger setting is begun if its forecast is below


class OnBudget(NamedTuple):
    """What was measured, with the settings that were reached."""

    measurement: Measurement
    rows: list[Row]


def measure_on_budget(asked: Measurement, clock: Clock) -> OnBudget:
    """Measure as much as fits into the time.

    Args:
        asked: all settings.
        clock: the time budget, which may have begun before.

    Returns:
        The measurement with the settings that were reached. Its rows say what was left out:
        `left_out` names reduced settings, `not_measured` a probe without any number.

    Raises:
        InvalidInput: if the meta-gradient can't be computed; says what to change.
    """
    until = clock.seconds - min(PAGE_SECONDS, clock.seconds / 4)
    try:
        with clock.within(until - clock.elapsed):
            made = asked.resolved()
            each = _seconds_of_an_estimate(made)
    except TimeUp:
        return OnBudget(asked, _nothing(asked, clock, None))
    if isinstance(made.probe, Verify):
        return _verified(made, made.probe, clock, until, each)
    checks = _checks(made, clock, until, each)
    found = _largest(made, clock, until, each, checks)
    differences = made.theta_differences()
    if found is None:
        return OnBudget(made, [*_nothing(made, clock, each), *checks, *differences])
    probe, rows = found
    rows = [*_left_out(made.probe, probe, clock), *rows, *differences]
    return OnBudget(replace(made, probe=probe), rows)


def _seconds_of_an_estimate(measurement: Measurement) -> float:
    """Return the seconds of one task's estimate; 0 if it raises, which the checks explain."""
    seconds = 0.0
    try:
        subject = measurement.subject()
        for _ in range(2):  # the first also imports and sets up
            begun = time.monotonic()
            subject.meta_gradients(Address.fresh(0, 1), measurement.seed)
            seconds = time.monotonic() - begun
    except Exception:
        return 0.0
    return seconds


def _verified(
    made: Measurement, probe: Verify, clock: Clock, until: float, each: float
) -> OnBudget:
    """Make the checks that fit.

    Args:
        made: the measurement, whose probe is `verify`.
        probe: that probe.
        clock: the time budget.
        until: when to stop [seconds elapsed].
        each: seconds of an estimate.
    """
    left = until - clock.elapsed
    reached = affordable_checks(probe, made, each, FITS * left)
    try:
        with clock.within(left) as tick:
            rows = replace(made, probe=reached).measure(tick)
    except TimeUp:
        return OnBudget(made, [*_nothing(made, clock, each), *made.theta_differences()])
    return OnBudget(replace(made, probe=reached), [*_left_out(probe, reached, clock), *rows])


def affordable_checks(probe: Verify, made: Measurement, each: float, seconds: float) -> Verify:
    """Return the checks that are forecast to fit into the time.

    Args:
        probe: the checks that were asked for.
        made: the measurement.
        each: seconds of an estimate.
        seconds: that the checks may take.
    """
    from metabench.probes.verify.out_of_time import affordable

    layers = len(made.subject().problem.layouts.theta.names)
    return affordable(probe, layers, each, seconds)


def _checks(made: Measurement, clock: Clock, until: float, each: float) -> list[Row]:
    """Make the checks ahead of a probe, within their share of the time."""
    share = CHECK_SHARE * (until - clock.elapsed)
    probe = affordable_checks(Verify(thorough=False), made, each, share)
    try:
        with clock.within(2 * share):
            return measure_checked(probe, made.subject(), made.seed)
    except TimeUp:
        return [Row("check", of="finite differences", status="out of time")]


def _largest(
    made: Measurement, clock: Clock, until: float, each: float, checks: Sequence[Row]
) -> tuple[Probe, list[Row]] | None:
    """Measure with the smallest settings, then with larger ones while their forecast fits.

    Args:
        made: the measurement.
        clock: the time budget.
        until: when to stop [seconds elapsed].
        each: seconds of an estimate.
        checks: rows of the checks.

    Returns:
        The probe that was reached and its rows; None if not even the fewest tasks fit.
    """
    probe: Probe | None = smallest(made.probe)
    if each:
        most = int((until - clock.elapsed) / (ESTIMATES_OF_A_TASK * each))
        probe = fewer_tasks(smallest(made.probe), most)
    found: tuple[Probe, list[Row]] | None = None
    while probe is not None:
        begun, left = clock.elapsed, until - clock.elapsed
        whole = probe == made.probe
        rows = _attempt(made, probe, clock, left * (1 if found or whole else ATTEMPT_SHARE), checks)
        if rows is None:
            probe = None if found or whole else fewer_tasks(probe, _tasks(probe) // 8)
            continue
        found = probe, rows
        room = FITS * (until - clock.elapsed) / max(clock.elapsed - begun, 1e-3)
        probe = larger(probe, made.probe, room)
    return found


def _attempt(
    made: Measurement, probe: Probe, clock: Clock, seconds: float, checks: Sequence[Row]
) -> list[Row] | None:
    """Return the rows of a probe, None if it takes longer than these seconds."""
    try:
        with clock.within(max(seconds, 0.0)) as tick:
            return measure_checked(probe, made.subject(), made.seed, tick, checks=checks)
    except TimeUp:
        return None


def _tasks(probe: Probe) -> int:
    return int(getattr(probe, "tasks", 0))


def _left_out(asked: Probe, reached: Probe, clock: Clock) -> list[Row]:
    """Return the row that names reduced settings, if there are any."""
    text = left_out(asked, reached)
    return [Row("left_out", of=text, value=clock.seconds, status="out of time")] if text else []


def _nothing(measurement: Measurement, clock: Clock, each: float | None) -> list[Row]:
    """Return the row of a probe that has no number.

    Args:
        measurement: what was asked for.
        clock: the time budget.
        each: seconds of an estimate, None if not even one ended.
    """
    name = type(measurement.probe).__name__.lower()
    return [
        Row("not_measured", at=each, of=name, value=clock.seconds, status="out of time"),
    ]
