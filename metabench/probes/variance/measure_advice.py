"""The plan of tasks and redraws of least variance for a budget, and a measurement of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from metabench.probes.variance.collect import by_layer, gather
from metabench.problems.tasks import Address
from metabench.records.rows import Row, row
from metabench.settings.amounts import Budget
from metabench.stats import two_stage_sampling
from metabench.stats.intervals import Estimate, Interval, t_quantile
from metabench.stats.moments import Moments, variance_interval
from metabench.stats.two_stage_sampling import Cost, Plan

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

Clock = Callable[["Subject", Address, int], float]  # seconds of one meta-gradient over so many rows

TIMED_PAIRS = 9  # calls of each kind, timed in turn
DRAWS_PER_TASK = 8  # in the calls of the second kind
FEWEST_BATCHES, MOST_BATCHES = 64, 256  # that the plan is measured on


def measure(
    subject: Subject,
    seed: int,
    budget: Budget,
    found: dict[str, Estimate],
    start: int,
    tasks: int,
    memory: int,
    advance: Callable[[int], None],
    clock: Clock,
) -> list[Row]:
    """Return the plan of least variance within the budget, its variance predicted and measured.

    Args:
        subject: whose meta-gradients are averaged.
        seed: of every draw.
        budget: what one meta-gradient may cost.
        found: the variance of each source and their total; empty if they were not measured.
        start: the first of the fresh tasks that the check is made on.
        tasks: about how many draws the check may take.
        memory: bytes that may be held.
        advance: called with the number of draws done.
        clock: seconds of the mean over given draws.
    """
    if not found or not found["total"].value > 0:
        return [Row("advised", of="tasks", status="withheld")]
    room = max(min(subject.compute.chunk, tasks // 32), DRAWS_PER_TASK)
    cost, sure = _costs(subject, start, room, budget, clock)
    rows = [
        Row("seconds_each", of="task", value=cost.task, status="ok" if sure else "unresolved"),
        Row("seconds_each", of="draw", value=cost.draw),
    ]
    if not sure:
        cost = Cost(0.0, cost.draw + cost.task)
    between, within = found["task"], found["total"] + found["task"].scaled(-1)
    afford = budget.seconds(cost.task + cost.draw)
    most = subject.compute.chunk
    plan = two_stage_sampling.minimum_variance_plan(
        two_stage_sampling.conservative_between(between), within.value, cost, afford, most
    )
    rows += [Row("budget", value=afford), *_plan_rows(plan)]
    if not plan.tasks:
        return rows
    plain = Plan(math.floor(afford / (cost.task + cost.draw) * (1 + 1e-12)), 1)
    for of, each in (("foretold", plan), ("fresh tasks", plain)):
        rows.append(
            row(
                "advised_variance",
                two_stage_sampling.plan_variance(between, within, each).skewed(),
                of=of,
            )
        )
    rows += _checked(subject, seed, plan, start, tasks, memory, advance)
    rows.append(Row("advised_seconds", of="foretold", value=cost.seconds(plan)))
    if plan.tasks * plan.draws <= subject.compute.chunk:
        address = plan_address(plan, start)
        taken = np.median([clock(subject, address, len(address.task)) for _ in range(3)])
        rows.append(Row("advised_seconds", of="measured", value=float(taken)))
    return rows


def plan_address(plan: Plan, start: int, batches: int = 1) -> Address:
    """Return the addresses of batches of a plan on fresh tasks, with all sets redrawn.

    Args:
        plan: tasks and draws of each.
        start: first task.
        batches: number of batches.
    """
    task = start + np.repeat(np.arange(batches * plan.tasks, dtype=np.int64), plan.draws)
    redraw = np.tile(np.arange(plan.draws, dtype=np.int64), batches * plan.tasks)
    return Address(task, redraw, redraw, redraw, redraw)


def _costs(
    subject: Subject, start: int, room: int, budget: Budget, clock: Clock
) -> tuple[Cost, bool]:
    """Time a new task and a draw, from equally many draws of many and of few tasks in turn.

    The second result is whether the cost of a task is distinguishable from zero.
    """
    fresh = plan_address(Plan(room, 1), start)
    each = clock(subject, fresh, room) / room  # the first call, which may trace or compile
    wanted = budget.amount if budget.unit == "tasks" else budget.amount / each
    count = DRAWS_PER_TASK * max(min(room, round(wanted)) // DRAWS_PER_TASK, 1)
    few = Plan(count // DRAWS_PER_TASK, DRAWS_PER_TASK)
    pair = plan_address(Plan(count, 1), start), plan_address(few, start)
    seconds = np.array(
        [[clock(subject, address, count) for address in pair] for _ in range(TIMED_PAIRS + 1)]
    )[1:]
    apart = (seconds[:, 0] - seconds[:, 1]) / (count - few.tasks)
    error = float(apart.std(ddof=1)) / math.sqrt(TIMED_PAIRS)
    task = max(float(np.median(apart)), 0.0)
    whole = float(np.median(seconds[:, 0])) / count
    draw = max(whole - task, 0.0)
    return Cost(task, draw), float(apart.mean()) > t_quantile(TIMED_PAIRS - 1) * error


def _checked(
    subject: Subject,
    seed: int,
    plan: Plan,
    start: int,
    tasks: int,
    memory: int,
    advance: Callable[[int], None],
) -> list[Row]:
    """Measure the plan's variance on batches of fresh tasks.

    Where 64 batches would take too long, it uses fewer tasks each and scales to the plan's.
    """
    room = min(tasks // FEWEST_BATCHES, subject.compute.chunk)
    held = Plan(min(plan.tasks, max(room // plan.draws, 1)), plan.draws)
    size = held.tasks * held.draws
    batches = min(max(tasks // size, FEWEST_BATCHES), MOST_BATCHES)
    sample = gather(subject, plan_address(held, start, batches), seed, size, memory, advance)
    if not sample.finite.all():
        return [Row("advised_variance", of="measured", status="diverged")]
    layout = subject.problem.layouts.theta
    moments = by_layer(layout, [sample], Moments.from_samples, Moments.joined)[""]
    scale = held.tasks / plan.tasks
    measured = variance_interval(moments)
    interval = Interval(*(end * scale for end in measured))
    rows = [row("advised_variance", interval, of="measured")]
    if held.tasks < plan.tasks:
        rows.append(Row("advised", of="tasks measured", value=float(held.tasks)))
    return rows


def _plan_rows(plan: Plan) -> list[Row]:
    return [
        Row("advised", of="tasks", value=float(plan.tasks)),
        Row("advised", of="draws", value=float(plan.draws)),
    ]
