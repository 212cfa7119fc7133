"""Measure every probe as thoroughly as the time allows, and ask again where one of them warns."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils._pytree import tree_leaves

from metabench.diagnosis.causes import Heard, cause_of
from metabench.diagnosis.clock import Clock, Late
from metabench.measurement.measurement import Cell
from metabench.probes.base import Probe
from metabench.problems.random_numbers import LARGEST_SEED
from metabench.problems.tasks import Address
from metabench.records.rows import Finding, Row, to_table
from metabench.settings import fields, registry
from metabench.settings.errors import Misuse

MEASURING, CONFIRMING = 0.4, 0.7  # shares of the time by which measuring, then confirming, ends
DEARER = 4.0  # times a rung is taken to cost what the one below it did
FRESH = 10**6 + 3  # how far the seed of fresh tasks is from the first
FIRST = "verify"  # without which no other number means anything


class Part(NamedTuple):
    """What one probe measured at its highest rung that was reached."""

    name: str  # of the probe
    cell: Cell
    rows: tuple[Row, ...]
    seconds: float
    seed: int  # of the tasks; theta is of the cell's own
    note: str = ""  # why there are no rows

    @property
    def settings(self) -> dict[str, Any]:
        """What determines the rows, as plain JSON values."""
        made = self.cell.spec()
        return made if self.seed == self.cell.seed else {**made, "tasks_seed": self.seed}

    @property
    def findings(self) -> list[Finding]:
        """What the probe says of its table."""
        return self.cell.probe.diagnose(to_table(self.rows)) if self.rows else []

    @property
    def causes(self) -> Mapping[str, str]:
        """What its warnings would mean."""
        return type(self.cell.probe).causes


class Keeper(Protocol):
    """Where parts are kept, so that a checkup goes on where it was stopped."""

    def find(self, name: str) -> tuple[dict[str, Any], tuple[Row, ...], float] | None:
        """Give spec, rows and seconds of what is kept under a name."""

    def keep(self, name: str, part: Part) -> None:
        """Keep a part; a higher rung replaces the one below."""


def ladders(
    common: Mapping[str, Any], chosen: Mapping[str, Mapping[str, Any]], tasks: int
) -> dict[str, list[Probe]]:
    """Give each listed probe at every rung: verify first, then who can warn of most.

    Args:
        common: fields that every probe which has them is told, such as the B trained with.
        chosen: fields that the user set, by probe; they hold at every rung.
        tasks: most tasks of a probe whose number follows the family's.

    Returns:
        By name, the probes of the rungs, the cheapest first.
    """
    classes = {name: registry.load("probes", name) for name in registry.members("probes")}
    order = sorted(classes, key=lambda name: (name != FIRST, -len(classes[name].causes), name))
    made: dict[str, list[Probe]] = {}
    for name in order:
        cls = classes[name]
        known = fields.types_of(cls)
        told = {key: value for key, value in common.items() if key in known}
        rungs = [{**rung, **told} for rung in (*cls.rungs, {})]
        if "tasks" in known and not cls.own_tasks:
            rungs = [{**rung, "tasks": min(rung.get("tasks", tasks), tasks)} for rung in rungs]
        built = [fields.build("probes", name, {**rung, **chosen.get(name, {})}) for rung in rungs]
        made[name] = list(dict.fromkeys(built))
    return made


def examine(
    cell: Cell, probes: Mapping[str, Sequence[Probe]], clock: Clock, keeper: Keeper
) -> list[Part]:
    """Measure every probe at its first rung, then higher while there is time.

    A rung is begun if four times the seconds of the one below still fit; which that are depends on
    the machine, never on what was found.
    """
    until = MEASURING * clock.seconds
    reached: dict[str, int] = {}
    parts: dict[str, Part] = {}
    for i, (name, rungs) in enumerate(probes.items()):
        held = keeper.find(name)
        for rung, probe in enumerate(rungs):
            at = replace(cell, probe=probe)
            if held and held[0] == at.spec():
                parts[name], reached[name] = Part(name, at, *held[1:], cell.seed), rung
        if name not in parts:
            left = max(until - clock.gone, 0.0)
            room = left * min(2 / (len(probes) - i), 1)
            room = max(room, clock.seconds / 20) if name != FIRST else math.inf
            parts[name] = measured(name, replace(cell, probe=rungs[0]), clock, room, keeper, name)
            reached[name] = 0
    while True:
        higher = {
            name: DEARER * part.seconds
            for name, part in parts.items()
            if part.rows and reached[name] + 1 < len(probes[name])
        }
        left = until - clock.gone
        name = min(higher, key=higher.__getitem__, default="")
        if not name or higher[name] > left:
            return list(parts.values())
        rung = reached[name] = reached[name] + 1
        at = replace(cell, probe=probes[name][rung])
        found = measured(name, at, clock, left, keeper, name)
        if found.rows:
            parts[name] = found
        else:
            reached[name] = len(probes[name])


def confirm(parts: Sequence[Part], clock: Clock, keeper: Keeper) -> list[Heard]:
    """Give every finding; one that warns is asked for again on fresh tasks, and tells of those.

    A warning that fresh tasks don't repeat becomes a remark.
    """
    heard: list[Heard] = []
    for part in parts:
        found = part.findings
        alarmed = [f for f in found if Heard(part.name, f, cause_of(f, part.causes)).alarms]
        again = _again(part, clock, keeper) if alarmed else None
        repeated = again.findings if again and again.rows else None
        for finding in found:
            cause = cause_of(finding, part.causes)
            if finding not in alarmed or repeated is None:
                heard.append(Heard(part.name, finding, cause))
                continue
            other = next((f for f in repeated if f.name == finding.name), None)
            if other is not None and other.level != "info":
                repeated.remove(other)  # two places may warn by one name
                heard.append(Heard(part.name, other, cause, confirmed=True))
            else:
                claim = f"Not repeated by fresh tasks, so it may be chance: {finding.claim}"
                told = finding._replace(level="info", claim=claim)
                heard.append(Heard(part.name, told, cause, confirmed=False))
    return heard


def _again(part: Part, clock: Clock, keeper: Keeper) -> Part | None:
    """Measure the same at the same theta on tasks of another seed."""
    seed = (part.cell.seed + FRESH) % LARGEST_SEED
    name = f"{part.name}-again"
    held = keeper.find(name)
    if held and held[0] == part._replace(seed=seed).settings:
        return Part(part.name, part.cell, *held[1:], seed)
    if _alike(part.cell, seed):
        return None
    room = CONFIRMING * clock.seconds - clock.gone
    if part.seconds > max(room, clock.seconds / 20):
        return None
    room = max(room, 2 * part.seconds)
    return measured(part.name, part.cell, clock, room, keeper, name, seed)


def measured(
    name: str,
    cell: Cell,
    clock: Clock,
    room: float,
    keeper: Keeper,
    kept: str,
    seed: int | None = None,
) -> Part:
    """Measure one part within so many seconds; what stops it is a note, no exception.

    Raises:
        Misuse: if the meta-gradient can't be computed at all.
    """
    seed = cell.seed if seed is None else seed
    begun = time.monotonic()
    tick = clock.within(room)
    tick(0, 1)
    try:
        rows = cell.probe.measure(cell.subject(), seed, tick)
    except Late:
        note = f"{name} was stopped after {room:.0f} s: a larger --budget lets it finish."
        return Part(name, cell, (), room, seed, note)
    except Misuse as error:
        if name == FIRST:
            raise
        return Part(name, cell, (), 0.0, seed, f"{name} could not measure: {error}")
    except (RuntimeError, ArithmeticError, MemoryError) as error:
        said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return Part(name, cell, (), 0.0, seed, f"{name} could not measure: {said}")
    part = Part(name, cell, tuple(rows), time.monotonic() - begun, seed)
    keeper.keep(kept, part)
    return part


def _alike(cell: Cell, seed: int) -> bool:
    """Tell whether another seed gives the same tasks, as it does of a stream."""
    subject, address = cell.subject(), Address.fresh(0, 2)
    one, other = (tree_leaves(subject.draw(address, each)) for each in (cell.seed, seed))
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
