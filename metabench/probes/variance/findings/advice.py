"""Finding about how to spend a budget: the plan of least variance, predicted and measured."""

from __future__ import annotations

from metabench.probes.wording import interval, number
from metabench.records.rows import Finding, Row, Rows, from_table

VARIANCES = {"foretold", "measured", "fresh tasks"}  # the last is that of one draw a task


def advice(table: Rows) -> list[Finding]:
    """Return the plan that the budget affords, with its predicted and its measured variance."""
    plan = {r.of: r for r in from_table(table, "advised", of=None)}
    tasks = plan.get("tasks")
    if tasks is None:
        return []
    if tasks.value is None:
        claim = "No advice on the budget: the variance within tasks could not be measured."
        repair = (
            "Make the meta-gradients finite first (see the other findings)."
            if tasks.status == "diverged"
            else "Provide a sampler that can redraw support and query sets: sample(address, seed)."
        )
        return [Finding("advice", "info", "not_looked_at", claim, repair, (tasks,))]
    (budget,) = from_table(table, "budget")
    if not tasks.value:
        each = {r.of: r for r in from_table(table, "seconds_each", of=None)}
        claim = (
            f"A budget of {_seconds(budget)} is too small for one task, which takes at least "
            f"{_seconds(each['draw'])}."
        )
        return [
            Finding("advice", "warning", "fault", claim, "Raise probe.budget.", (budget, tasks))
        ]
    found = {r.of: r for r in from_table(table, "advised_variance", of=None)}
    if not found.keys() >= VARIANCES or found["measured"].value is None:
        return []
    return [_affordable_plan(table, budget, plan, found)]


def _affordable_plan(
    table: Rows, budget: Row, plan: dict[str, Row], found: dict[str, Row]
) -> Finding:
    """Compare the plan's measured variance with the predicted one."""
    each = {r.of: r for r in from_table(table, "seconds_each", of=None)}
    predicted, measured, fresh = (found[of] for of in ("foretold", "measured", "fresh tasks"))
    evidence = (budget, *plan.values(), *each.values(), predicted, measured, fresh)
    claim = (
        f"A budget of {_seconds(budget)} affords {_plan_text(plan)}, the plan of least variance: "
        f"{number(predicted.value)} {interval(predicted)} predicted, {number(measured.value)} "
        f"{interval(measured)} measured{_scaling_note(plan)}. {_cost_text(each)}"
    )
    if _redraws(plan):
        claim += f" Fresh tasks without redraws would give {number(fresh.value)} {interval(fresh)}."
    if _disjoint(predicted, measured):
        repair = (
            "Don't rely on this plan: prediction and measurement disagree, so tasks or draws "
            "are not independent."
        )
        return Finding("advice", "warning", "fault", claim, repair, evidence)
    return Finding("advice", "info", "", claim, _repair(plan), evidence)


def _repair(plan: dict[str, Row]) -> str:
    tasks = plan["tasks"].value
    if not _redraws(plan):
        return f"Use {tasks:.0f} fresh tasks per step and no redraws."
    return (
        f"Average each task over {plan['draws'].value:.0f} independent draws of its support "
        f"and query sets, and use {tasks:.0f} tasks per step."
    )


def _redraws(plan: dict[str, Row]) -> bool:
    return (plan["draws"].value or 1) > 1


def _plan_text(plan: dict[str, Row]) -> str:
    draws = plan["draws"].value or 1
    each = "one draw" if draws == 1 else f"{draws:.0f} draws"
    return f"{plan['tasks'].value:.0f} tasks with {each} of support and query sets each"


def _scaling_note(plan: dict[str, Row]) -> str:
    held = plan.get("tasks measured")
    return f" (with {held.value:.0f} tasks, then scaled)" if held else ""


def _cost_text(each: dict[str, Row]) -> str:
    task, draw = each["task"], each["draw"]
    if task.status == "unresolved":
        return "A new task takes no measurable time beyond that of a redraw."
    return f"A new task takes {_seconds(task)}, and each draw of its sets {_seconds(draw)} more."


def _seconds(line: Row) -> str:
    value = line.value or 0.0
    return f"{number(value)} s" if value >= 1 else f"{number(1000 * value)} ms"


def _disjoint(one: Row, other: Row) -> bool:
    if None in (one.low, one.high, other.low, other.high):
        return False
    return (one.low or 0) > (other.high or 0) or (other.low or 0) > (one.high or 0)
