"""Cheaper settings of a probe, for a measurement that must fit into a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from typing import Any

from metabench.probes.base import Probe
from metabench.settings.errors import InvalidInput

COST_RATIO = 4.0  # assumed cost of a fidelity over that of the one below
FEWEST_TASKS = 4
WORTH = 1.5  # times the tasks: less isn't worth measuring anew


def fidelities(probe: Probe) -> list[Probe]:
    """Return a probe at its fidelities, the cheapest first and itself last.

    Settings that differ from their defaults were chosen and are kept; tasks are only reduced.

    >>> import metabench as mb
    >>> [(each.tasks, each.redrawn_tasks) for each in fidelities(mb.Variance(tasks=1024))]
    [(512, 128), (1024, 256), (1024, 512)]
    """
    made = [_at(probe, fidelity) for fidelity in type(probe).fidelities]
    return list(dict.fromkeys([*(each for each in made if each is not None), probe]))


def smallest(probe: Probe) -> Probe:
    """Return a probe at its cheapest fidelity."""
    return fidelities(probe)[0]


def _at(probe: Probe, fidelity: Mapping[str, Any]) -> Probe | None:
    """Return a probe at a fidelity, None if its other settings don't allow that."""
    plain = {
        f.name: f.default if f.default is not MISSING else None
        for f in fields(probe)  # type: ignore[arg-type]
    }
    given = {name: value for name, value in fidelity.items() if getattr(probe, name) == plain[name]}
    if "tasks" in fidelity:
        given["tasks"] = min(fidelity["tasks"], getattr(probe, "tasks", 0))
    return _valid(probe, given)


def _valid(probe: Probe, given: Mapping[str, Any]) -> Probe | None:
    try:
        made: Probe = replace(probe, **given)  # type: ignore[type-var]
    except InvalidInput:
        return None
    return made


def fewer_tasks(probe: Probe, most: int) -> Probe | None:
    """Return a probe with at most so many tasks; None where it can't do with so few.

    Args:
        probe: any; one without a field `tasks` is returned as it is.
        most: tasks.
    """
    tasks = getattr(probe, "tasks", None)
    if tasks is None or tasks <= most:
        return probe
    return _valid(probe, {"tasks": most}) if most >= FEWEST_TASKS else None


def larger(probe: Probe, whole: Probe, room: float) -> Probe | None:
    """Return the largest settings that are forecast to take `room` times what a probe took.

    Args:
        probe: that was measured.
        whole: the settings that were asked for.
        room: how much longer the next may take.

    Returns:
        A fidelity, perhaps with fewer tasks; None where nothing larger fits.
    """
    if probe == whole:
        return None
    ladder = fidelities(whole)
    above = [each for each in ladder if _tasks(each) >= _tasks(probe) and each != probe]
    for step, each in reversed(list(enumerate(above, 1))):
        ratio = max(COST_RATIO**step, _tasks(each) / max(_tasks(probe), 1))
        if ratio <= room:
            return each
    if not above:
        return None
    ratio = max(COST_RATIO, _tasks(above[0]) / max(_tasks(probe), 1))
    tasks = int(_tasks(above[0]) * room / ratio)
    return fewer_tasks(above[0], tasks) if tasks >= WORTH * _tasks(probe) else None


def _tasks(probe: Probe) -> int:
    return int(getattr(probe, "tasks", 0))


def left_out(asked: Probe, reached: Probe) -> str:
    """Return which settings were reduced, such as "tasks 512 of 4,096"."""
    parts = []
    for each in fields(asked):  # type: ignore[arg-type]
        whole, part = getattr(asked, each.name), getattr(reached, each.name)
        if whole != part:
            parts.append(f"{each.name} {_text(part)} of {_text(whole)}")
    return ", ".join(parts)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:,}" if isinstance(value, int) else str(value)
