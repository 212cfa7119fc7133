"""The checkup: run the probes, confirm their warnings, try changes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

from metabench.diagnosis.causes import ConfirmedFinding, Fault, faults, remarks
from metabench.diagnosis.changes import changes
from metabench.diagnosis.confirm_warnings import confirm
from metabench.diagnosis.ladders import fidelities_of, selected
from metabench.diagnosis.measure_probes import examine
from metabench.diagnosis.parts import Keeper, Part, measure_within
from metabench.diagnosis.trial import Trial
from metabench.measurement.clock import Clock
from metabench.measurement.measurement import Measurement
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.records.rows import Finding, to_table
from metabench.settings.alarms import TimeUp
from metabench.settings.fields import settings

FALSE_ALARM_RATE = 0.025  # of one warning on a healthy problem, at most
TRIAL = "trials"  # the name that trials are kept under
TIMING_STREAMS = 4  # task streams that are timed to predict a trial's seconds


class NoKeeper:
    """Keeper that stores nothing."""

    def find(self, name: str) -> None:
        """Return None."""

    def keep(self, name: str, part: Part) -> None:
        """Do nothing."""


class Checkup(NamedTuple):
    """Result of a checkup: measured parts, findings and trials."""

    parts: tuple[Part, ...]
    findings: tuple[ConfirmedFinding, ...]
    trial: Part | None
    because: dict[str, str]  # change -> cause that it answers, "" for none
    notes: tuple[str, ...]

    @property
    def everything(self) -> tuple[Part, ...]:
        """Parts of the probes and of the trials."""
        return (*self.parts, *((self.trial,) if self.trial else ()))

    @property
    def coverage(self) -> str:
        """Sentence on how many probes were measured, and which were not and why."""
        measured = [part for part in self.parts if part.rows]
        late = [part.name for part in self.parts if not part.rows and part.stopped]
        failed = [part.name for part in self.parts if not part.rows and not part.stopped]
        texts = [f"{len(measured)} of {len(self.parts)} probes measured"]
        if late:
            texts.append(f"{len(late)} ran out of time: {', '.join(late)}")
        if failed:
            texts.append(f"{len(failed)} could not measure: {', '.join(failed)}")
        return "; ".join(texts) + "."

    @property
    def faults(self) -> list[Fault]:
        """Causes with their findings, most severe first."""
        return faults(self.findings)

    @property
    def ordered_findings(self) -> list[ConfirmedFinding]:
        """All findings in order: faults, trials, remarks."""
        tried = [ConfirmedFinding(TRIAL, finding, "") for finding in self.tried]
        alarms = [each for fault in self.faults for each in fault.findings]
        return [*alarms, *tried, *remarks(self.findings)]

    @property
    def tried(self) -> list[Finding]:
        """Findings of the trials."""
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
    """Run every probe, re-measure warnings on fresh tasks, and try changes.

    Args:
        measurement: problem, algorithm, theta and seed; its probe is not used.
        outer: the outer loop; probes take its B, clipping limits and rate.
        clock: the time budget.
        keeper: stores parts, so that a checkup can resume; None stores nothing.
        chosen: fixed settings of probes, by name.
        only: names of the probes to run; empty runs all.
        highest: highest fidelity to measure, 0 is the cheapest; None is limited by the clock only.
        tasks: most tasks of a probe without a default of its own.
        trial: steps and task streams of a trial; None tries no changes.

    Returns:
        Parts, findings and trials.
    """
    keeper = keeper or NoKeeper()
    fidelities, broken = fidelities_of(
        _outer_settings(outer), chosen or {}, tasks or measurement.family.tasks
    )
    probes = selected(fidelities, only, highest)
    parts = examine(measurement, probes, clock, keeper)
    findings = confirm(parts, clock, keeper)
    notes = [f"{name} was left out: {why}" for name, why in broken.items() if not only]
    notes += [part.note for part in parts if part.note] + _multiplicity(parts, findings)
    if trial is None:
        return Checkup(tuple(parts), tuple(findings), None, {}, tuple(notes))
    tables = {part.name: to_table(part.rows) for part in parts if part.rows}
    ideas = dict(changes(measurement, outer, tables, faults(findings)))
    tried = _tried(measurement, outer, list(ideas), trial, clock, keeper) if ideas else None
    notes += _untried(list(ideas), tried)
    return Checkup(tuple(parts), tuple(findings), tried, ideas, tuple(notes))


def _untried(ideas: list[str], tried: Part | None) -> list[str]:
    """Return notes on changes that were not tried, and why."""
    if tried is None:
        return ["No time was left to try changes; use a larger --budget."] if ideas else []
    made = [tried.note] if tried.note else []
    if isinstance(tried.measurement.probe, Trial) and tried.rows:
        left = ideas[len(tried.measurement.probe.changes) :]
        made += [f"Changes not tried for lack of time: {', '.join(left)}."] if left else []
    return made


def _outer_settings(outer: OuterOptimizer) -> dict[str, Any]:
    """Return the outer loop's settings that probes take, under the names of their fields."""
    given: dict[str, Any] = {"batch": outer.batch}
    given |= {k: v for k, v in (("clip_norm", outer.clip_norm), ("clip_value", outer.clip_value))
             if v < math.inf and not outer.clip_tasks}  # fmt: skip
    if outer.optimizer == "sgd":
        given["outer_rate"] = outer.rate
    return given


def _multiplicity(parts: list[Part], findings: list[ConfirmedFinding]) -> list[str]:
    """Return the note on multiple testing: how many findings could warn, and the false alarms."""
    count = sum(len(part.causes) for part in parts if part.rows)
    if not count:
        return []
    chance = 100 * count * FALSE_ALARM_RATE**2
    alone = [each.finding.name for each in findings if each.alarms and each.confirmed is None]
    note = (
        f"{count} findings could have become warnings. A warning must repeat on fresh tasks, with "
        "95 % intervals both times, and then states the fresh numbers: the chance of any false "
        f"alarm is at most {count} x 0.025² = {chance:.2g} %."
    )
    if alone:
        note += f" Not re-checked, so without this bound: {', '.join(dict.fromkeys(alone))}."
    return [note]


def _tried(
    measurement: Measurement,
    outer: OuterOptimizer,
    ideas: list[str],
    trial: Trial,
    clock: Clock,
    keeper: Keeper,
) -> Part | None:
    """Try as many changes as time allows, predicted from the unchanged training."""
    given = settings(outer)
    plain = settings(OuterOptimizer())
    given_outer = tuple(
        f"{k}={v}" for k, v in given.items() if v != plain[k] and k not in ("held_out", "explode")
    )
    whole = replace(trial, changes=tuple(ideas), outer=given_outer)
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
    """Predict a change's seconds on all streams, from a few streams of the unchanged training."""
    marks = [clock.elapsed]
    with suppress(TimeUp), clock.within(clock.left) as tick:

        def mark(done: int, total: int) -> None:
            marks.append(clock.elapsed)
            tick(done, total)

        replace(whole, changes=(), repeats=TIMING_STREAMS).measure(
            measurement.subject(), measurement.seed, mark
        )
    steps = [later - sooner for sooner, later in pairwise(marks)]
    if len(steps) < TIMING_STREAMS:  # time was up before
        return math.inf
    first, *rest = steps[:TIMING_STREAMS]
    return first + (whole.repeats - 1) * sum(rest) / len(rest)
