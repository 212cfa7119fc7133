"""Re-measurement of warnings on fresh tasks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils._pytree import tree_leaves

from metabench.diagnosis.causes import ConfirmedFinding, cause_of
from metabench.diagnosis.parts import Keeper, Part, measure_within
from metabench.measurement.clock import Clock
from metabench.measurement.measurement import Measurement
from metabench.problems.random_numbers import LARGEST_SEED
from metabench.problems.tasks import Address
from metabench.records.rows import Finding

CONFIRM_UNTIL = 0.7  # share of the budget after which nothing is re-measured
SEED_OFFSET = 10**6 + 3  # seed of the fresh tasks minus the first seed


def confirm(parts: Sequence[Part], clock: Clock, keeper: Keeper) -> list[ConfirmedFinding]:
    """Re-measure every warning on fresh tasks, and return all findings with the fresh numbers.

    A warning that does not repeat becomes a remark.

    Args:
        parts: what the probes measured.
        clock: the time budget.
        keeper: stores the fresh parts.
    """
    return [each for part in parts for each in _confirmed_findings(part, clock, keeper)]


def _confirmed_findings(part: Part, clock: Clock, keeper: Keeper) -> list[ConfirmedFinding]:
    """Return a part's findings, re-measured if one of them is a warning."""
    once = [
        ConfirmedFinding(part.name, found, cause_of(found, part.causes)) for found in part.findings
    ]
    fresh = _fresh_part(part, clock, keeper) if any(each.alarms for each in once) else None
    if fresh is None or not fresh.rows:
        return once
    repeated = fresh.findings
    return [_confirmed(each, repeated) if each.alarms else each for each in once]


def _confirmed(once: ConfirmedFinding, repeated: list[Finding]) -> ConfirmedFinding:
    """Return a warning with its fresh numbers; the finding that confirms it leaves `repeated`."""
    finding = once.finding
    other = next((found for found in repeated if found.name == finding.name), None)
    if other is not None and other.level != "info":
        repeated.remove(other)  # two findings may have the same name
        return once._replace(finding=other, confirmed=True)
    claim = f"Not confirmed on fresh tasks, may be chance: {finding.claim}"
    return once._replace(
        finding=finding._replace(level="info", state="undecided", claim=claim), confirmed=False
    )


def _fresh_part(part: Part, clock: Clock, keeper: Keeper) -> Part | None:
    """Measure the probe at the same theta on tasks of another seed."""
    seed = (part.measurement.seed + SEED_OFFSET) % LARGEST_SEED
    name = f"{part.name}-again"
    held = keeper.find(name)
    if held and held[0] == part._replace(seed=seed).settings:
        return Part(part.name, part.measurement, *held[1:], seed)
    if _same_tasks(part.measurement, seed):
        return None
    room = CONFIRM_UNTIL * clock.seconds - clock.elapsed
    if part.seconds > max(room, clock.seconds / 20):
        return None
    room = max(room, 2 * part.seconds)
    return measure_within(part.name, part.measurement, clock, room, keeper, name, seed)


def _same_tasks(measurement: Measurement, seed: int) -> bool:
    """Return whether another seed gives the same tasks, as with a fixed stream."""
    subject, address = measurement.subject(), Address.fresh(0, 2)
    one, other = (tree_leaves(subject.draw(address, each)) for each in (measurement.seed, seed))
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
