"""From one measurement and a time budget to what is wrong with it and what helps."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

from metabench.diagnosis.causes import ConfirmedFinding, Fault, faults, remarks
from metabench.diagnosis.changes import changes
from metabench.diagnosis.clock import Clock, TimeUp
from metabench.diagnosis.confirm import confirm
from metabench.diagnosis.examine import examine
from metabench.diagnosis.ladders import fidelities_of, selected
from metabench.diagnosis.parts import Keeper, Part, measure_within
from metabench.diagnosis.trial import Trial
from metabench.measurement.measurement import Measurement
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.records.rows import Finding, to_table
from metabench.settings.fields import settings

SURE = 0.025  # chance that one healthy interval warns, at most
TRIAL = "repairs"  # the name that trials are kept under
FEWEST = 4  # streams that tell how long one takes


class NoKeeper:
    """Keeps nothing."""

    def find(self, name: str) -> None:
        """Give nothing."""

    def keep(self, name: str, part: Part) -> None:
        """Let it go."""


class Checkup(NamedTuple):
    """What was measured, what is wrong, and what was tried."""

    parts: tuple[Part, ...]
    findings: tuple[ConfirmedFinding, ...]
    trial: Part | None
    because: dict[str, str]  # change -> the fault that it answers, "" for none
    notes: tuple[str, ...]

    @property
    def everything(self) -> tuple[Part, ...]:
        """The probes' parts, and the trials."""
        return (*self.parts, *((self.trial,) if self.trial else ()))

    @property
    def faults(self) -> list[Fault]:
        """What is wrong, the weightiest first."""
        return faults(self.findings)

    @property
    def ordered_findings(self) -> list[ConfirmedFinding]:
        """Every finding in order: faults, what was tried, remarks."""
        tried = [ConfirmedFinding(TRIAL, finding, "") for finding in self.tried]
        alarms = [each for fault in self.faults for each in fault.findings]
        return [*alarms, *tried, *remarks(self.findings)]

    @property
    def tried(self) -> list[Finding]:
        """What the trials say."""
        return self.trial.findings if self.trial else []


def checkup(
    measurement: Measurement,
    outer: OuterOptimizer,
    clock: Clock,
    keeper: Keeper | None = None,
    *,
    chosen: Mapping[str, Mapping[str, Any]] | None = None,
    only: Collection[str] = (),
    highest: int | None = None,
    tasks: int | None = None,
    trial: Trial | None = None,
) -> Checkup:
    """Ask every probe, confirm what warns on fresh tasks, and try what could help.

    Args:
        measurement: problem, algorithm, theta and seed; its own probe doesn't matter.
        outer: the outer loop that is trained with; probes are told its B, limits and rate.
        clock: the time budget.
        keeper: where parts are kept and found again.
        chosen: settings of probes that are pinned, by name.
        only: the probes to ask; empty asks all that are listed.
        highest: the last fidelity that may be reached, 0 the cheapest; None leaves it to the clock.
        tasks: most tasks of probes whose number follows the family's.
        trial: steps and streams that changes are tried over; None tries none.

    Returns:
        Parts, findings and trials.
    """
    keeper = keeper or NoKeeper()
    probes = selected(
        fidelities_of(_told(outer), chosen or {}, tasks or measurement.family.tasks), only, highest
    )
    parts = examine(measurement, probes, clock, keeper)
    heard = confirm(parts, clock, keeper)
    notes = [part.note for part in parts if part.note] + [_multiplicity(parts, heard)]
    if trial is None:
        return Checkup(tuple(parts), tuple(heard), None, {}, tuple(notes))
    tables = {part.name: to_table(part.rows) for part in parts if part.rows}
    ideas = dict(changes(measurement, outer, tables, faults(heard)))
    tried = _tried(measurement, outer, list(ideas), trial, clock, keeper) if ideas else None
    notes += _untried(list(ideas), tried)
    return Checkup(tuple(parts), tuple(heard), tried, ideas, tuple(notes))


def _untried(ideas: list[str], tried: Part | None) -> list[str]:
    """Say what was not tried, and why."""
    if tried is None:
        return ["No time was left to try changes: give a larger --budget."] if ideas else []
    made = [tried.note] if tried.note else []
    if isinstance(tried.measurement.probe, Trial) and tried.rows:
        left = ideas[len(tried.measurement.probe.changes) :]
        made += [f"Not tried for want of time: {', '.join(left)}."] if left else []
    return made


def _told(outer: OuterOptimizer) -> dict[str, Any]:
    """Give what probes ask of the outer loop, under the names of their fields."""
    told: dict[str, Any] = {"batch": outer.batch}
    told |= {k: v for k, v in (("clip_norm", outer.clip_norm), ("clip_value", outer.clip_value))
             if v < math.inf and not outer.clip_tasks}  # fmt: skip
    if outer.optimizer == "sgd":
        told["outer_rate"] = outer.rate
    return told


def _multiplicity(parts: list[Part], heard: list[ConfirmedFinding]) -> str:
    """Say how many findings could have warned, and how likely one does of nothing."""
    count = sum(len(part.causes) for part in parts if part.rows)
    chance = 100 * count * SURE**2
    alone = [each.finding.name for each in heard if each.alarms and each.confirmed is None]
    said = (
        f"{count} findings could have warned. A warning stands only if it comes again on fresh "
        "tasks, by intervals at 95 % both times, and then tells the fresh numbers: the chance that "
        f"any of them warns of nothing is at most {count} x 0.025² = {chance:.2g} %."
    )
    if alone:
        said += f" Heard once only, so without that guarantee: {', '.join(dict.fromkeys(alone))}."
    return said


def _tried(
    measurement: Measurement,
    outer: OuterOptimizer,
    ideas: list[str],
    trial: Trial,
    clock: Clock,
    keeper: Keeper,
) -> Part | None:
    """Try as many changes as there is time for, as one stream of the unchanged training takes."""
    given = settings(outer)
    plain = settings(OuterOptimizer())
    told = tuple(
        f"{k}={v}" for k, v in given.items() if v != plain[k] and k not in ("held_out", "explode")
    )
    whole = replace(trial, changes=tuple(ideas), outer=told)
    held = keeper.find(TRIAL)
    if held:
        count = len(held[0].get("probe", {}).get("changes", ()))
        at = replace(measurement, probe=replace(whole, changes=whole.changes[:count]))
        if held[0] == at.spec():
            return Part(TRIAL, at, *held[1:], measurement.seed)
    each = _seconds(whole, measurement, clock)
    count = int(0.9 * clock.left / each) - 1
    if count < 1:
        return None
    at = replace(measurement, probe=replace(whole, changes=whole.changes[:count]))
    return measure_within(TRIAL, at, clock, max(clock.left, each), keeper, TRIAL)


def _seconds(whole: Trial, measurement: Measurement, clock: Clock) -> float:
    """Foretell what a change takes on all streams, from a few of the unchanged training."""
    marks = [clock.elapsed]
    with suppress(TimeUp):
        tick = clock.within(clock.left)

        def mark(done: int, total: int) -> None:
            marks.append(clock.elapsed)
            tick(done, total)

        replace(whole, changes=(), repeats=FEWEST).measure(
            measurement.subject(), measurement.seed, mark
        )
    steps = [later - sooner for sooner, later in pairwise(marks)]
    if len(steps) < FEWEST:  # it was cut short
        return math.inf
    first, *rest = steps[:FEWEST]
    return first + (whole.repeats - 1) * sum(rest) / len(rest)
