"""The finding that says what to spend a budget on, and whether that held when measured."""

from __future__ import annotations

from metabench.probes.wording import interval, number
from metabench.records.rows import Finding, Row, Rows, from_table

VARIANCES = {"foretold", "measured", "fresh tasks"}  # of the plan, and of one draw a task instead


def advice(table: Rows) -> list[Finding]:
    """Say which plan a budget buys, its variance as foretold and as measured."""
    plan = {r.of: r for r in from_table(table, "advised", of=None)}
    tasks = plan.get("tasks")
    if tasks is None:
        return []
    if tasks.value is None:
        claim = "No advice on the budget, because the variance within tasks couldn't be measured."
        repair = "Give a sampler that redraws sets: sample(address, seed)."
        return [Finding("advice", "info", "not_looked_at", claim, repair, (tasks,))]
    (budget,) = from_table(table, "budget")
    if not tasks.value:
        each = {r.of: r for r in from_table(table, "seconds_each", of=None)}
        claim = f"{_seconds(budget)} buy no task: one takes {_seconds(each['draw'])} and more."
        return [
            Finding("advice", "warning", "fault", claim, "Give a larger --budget.", (budget, tasks))
        ]
    found = {r.of: r for r in from_table(table, "advised_variance", of=None)}
    if not found.keys() >= VARIANCES or found["measured"].value is None:
        return []
    return [_bought(table, budget, plan, found)]


def _bought(table: Rows, budget: Row, plan: dict[str, Row], found: dict[str, Row]) -> Finding:
    """Hold what was measured of the plan against what was foretold."""
    each = {r.of: r for r in from_table(table, "seconds_each", of=None)}
    foretold, measured, fresh = (found[of] for of in ("foretold", "measured", "fresh tasks"))
    evidence = (budget, *plan.values(), *each.values(), foretold, measured, fresh)
    claim = (
        f"{_seconds(budget)} buy {_plan(plan)}, of all plans the one with the least variance: "
        f"{number(foretold.value)} {interval(foretold)} foretold, {number(measured.value)} "
        f"{interval(measured)} measured{_scaled(plan)}. {_why(each)}"
    )
    if _redraws(plan):
        claim += f" Fresh tasks alone would leave {number(fresh.value)} {interval(fresh)}."
    if _disjoint(foretold, measured):
        repair = "Don't rely on it: the two disagree, so tasks or draws aren't independent."
        return Finding("advice", "warning", "fault", claim, repair, evidence)
    return Finding("advice", "info", "", claim, _repair(plan), evidence)


def _repair(plan: dict[str, Row]) -> str:
    tasks = plan["tasks"].value
    if not _redraws(plan):
        return f"Take {tasks:.0f} fresh tasks a step; redraw no task's sets."
    return (
        f"Average each task over {plan['draws'].value:.0f} independent draws of its support "
        f"and query sets, and take {tasks:.0f} tasks a step."
    )


def _redraws(plan: dict[str, Row]) -> bool:
    return (plan["draws"].value or 1) > 1


def _plan(plan: dict[str, Row]) -> str:
    draws = plan["draws"].value or 1
    each = "one draw" if draws == 1 else f"{draws:.0f} draws"
    return f"{plan['tasks'].value:.0f} tasks with {each} of their sets each"


def _scaled(plan: dict[str, Row]) -> str:
    held = plan.get("tasks measured")
    return f" (with {held.value:.0f} tasks, and scaled)" if held else ""


def _why(each: dict[str, Row]) -> str:
    task, draw = each["task"], each["draw"]
    if task.status == "unresolved":
        return "A new task costs no more than another draw of one at hand, as far as can be told."
    return f"A new task costs {_seconds(task)} besides {_seconds(draw)} for each draw of its sets."


def _seconds(line: Row) -> str:
    value = line.value or 0.0
    return f"{number(value)} s" if value >= 1 else f"{number(1000 * value)} ms"


def _disjoint(one: Row, other: Row) -> bool:
    if None in (one.low, one.high, other.low, other.high):
        return False
    return (one.low or 0) > (other.high or 0) or (other.low or 0) > (one.high or 0)
