"""Ask again, on fresh tasks, where a probe warns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils._pytree import tree_leaves

from metabench.diagnosis.causes import ConfirmedFinding, cause_of
from metabench.diagnosis.clock import Clock
from metabench.diagnosis.parts import Keeper, Part, measure_within
from metabench.measurement.measurement import Measurement
from metabench.problems.random_numbers import LARGEST_SEED
from metabench.problems.tasks import Address
from metabench.records.rows import Finding

CONFIRMING = 0.7  # share of the time by which confirming ends
FRESH = 10**6 + 3  # how far the seed of fresh tasks is from the first


def confirm(parts: Sequence[Part], clock: Clock, keeper: Keeper) -> list[ConfirmedFinding]:
    """Give every finding; one that warns is asked for again on fresh tasks, and tells of those.

    A warning that fresh tasks don't repeat becomes a remark.
    """
    return [heard for part in parts for heard in _heard(part, clock, keeper)]


def _heard(part: Part, clock: Clock, keeper: Keeper) -> list[ConfirmedFinding]:
    """Give a part's findings, after asking again if one of them warns."""
    once = [
        ConfirmedFinding(part.name, found, cause_of(found, part.causes)) for found in part.findings
    ]
    again = _again(part, clock, keeper) if any(each.alarms for each in once) else None
    if again is None or not again.rows:
        return once
    repeated = again.findings
    return [_confirmed(each, repeated) if each.alarms else each for each in once]


def _confirmed(once: ConfirmedFinding, repeated: list[Finding]) -> ConfirmedFinding:
    """Hold a warning against what fresh tasks say; what confirms it is taken off their list."""
    finding = once.finding
    other = next((found for found in repeated if found.name == finding.name), None)
    if other is not None and other.level != "info":
        repeated.remove(other)  # two places may warn by one name
        return once._replace(finding=other, confirmed=True)
    claim = f"Not repeated by fresh tasks, so it may be chance: {finding.claim}"
    return once._replace(
        finding=finding._replace(level="info", state="undecided", claim=claim), confirmed=False
    )


def _again(part: Part, clock: Clock, keeper: Keeper) -> Part | None:
    """Measure the same at the same theta on tasks of another seed."""
    seed = (part.measurement.seed + FRESH) % LARGEST_SEED
    name = f"{part.name}-again"
    held = keeper.find(name)
    if held and held[0] == part._replace(seed=seed).settings:
        return Part(part.name, part.measurement, *held[1:], seed)
    if _alike(part.measurement, seed):
        return None
    room = CONFIRMING * clock.seconds - clock.elapsed
    if part.seconds > max(room, clock.seconds / 20):
        return None
    room = max(room, 2 * part.seconds)
    return measure_within(part.name, part.measurement, clock, room, keeper, name, seed)


def _alike(measurement: Measurement, seed: int) -> bool:
    """Tell whether another seed gives the same tasks, as it does of a stream."""
    subject, address = measurement.subject(), Address.fresh(0, 2)
    one, other = (tree_leaves(subject.draw(address, each)) for each in (measurement.seed, seed))
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
