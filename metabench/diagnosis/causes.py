"""Causes of faults, and the order in which a checkup lists them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from metabench.records.rows import LEVELS, Finding

# What a probe's `causes` may name; a cause that invalidates other numbers precedes them.
CAUSES = {
    "precision": "precision too low",
    "gradient": "a wrong meta-gradient",
    "sampling": "tasks that are not independent draws",
    "curvature": "negative curvature of inner losses",
    "rate": "an inner rate past the edge of stability",
    "tails": "heavy-tailed per-task gradients",
    "growth": "an exploding or vanishing meta-gradient",
    "shots": "too few examples per task",
    "batch": "too few tasks per batch",
    "source": "one dominant source of noise",
    "estimator": "a biased estimator",
    "solver": "a linear solve or inner loop that has not converged",
    "outer": "the outer step",
    "settings": "the measurement's own settings",
}
# symptom -> causes that explain it: if one is found too, the symptom is listed under it
EXPLAINED = {
    "gradient": ("precision", "curvature"),
    "tails": ("precision", "curvature", "rate"),
    "growth": ("precision", "curvature", "rate"),
    "solver": ("curvature", "rate"),
}
OTHER = "other"  # cause of a warning for which its probe names none


class ConfirmedFinding(NamedTuple):
    """A finding, the probe that made it, and whether fresh tasks confirmed it."""

    probe: str
    finding: Finding
    cause: str  # a key of CAUSES, or other
    confirmed: bool | None = None  # None: not re-checked

    @property
    def alarms(self) -> bool:
        """Whether the finding is a warning about the training."""
        return self.finding.level != "info" and self.cause != "settings"


class Fault(NamedTuple):
    """A cause and the findings that support it, most direct first."""

    cause: str
    findings: tuple[ConfirmedFinding, ...]

    @property
    def level(self) -> str:
        """The most severe level among its findings."""
        return min((each.finding.level for each in self.findings), key=LEVELS.index)


def cause_of(finding: Finding, causes: Mapping[str, str]) -> str:
    """Return the cause that a probe names for a finding, or `other`."""
    return causes.get(finding.name, OTHER)


def faults(confirmed: Iterable[ConfirmedFinding]) -> list[Fault]:
    """Group warnings by cause, symptoms under what explains them, most severe first."""
    groups: dict[str, list[ConfirmedFinding]] = {}
    for each in confirmed:
        if each.alarms:
            groups.setdefault(each.cause, []).append(each)
    for symptom, roots in EXPLAINED.items():
        root = next((cause for cause in roots if cause in groups), None)
        if root and symptom in groups:
            groups[root] += groups.pop(symptom)
    found = [Fault(cause, _direct_first(cause, group)) for cause, group in groups.items()]
    return sorted(found, key=lambda fault: (LEVELS.index(fault.level), _place(fault.cause)))


def remarks(confirmed: Iterable[ConfirmedFinding]) -> list[ConfirmedFinding]:
    """Return the findings that are no warning, those that suggest a change first."""
    rest = [each for each in confirmed if not each.alarms]
    return sorted(rest, key=lambda each: not each.finding.repair)


def _direct_first(cause: str, group: Sequence[ConfirmedFinding]) -> tuple[ConfirmedFinding, ...]:
    """Return the findings of the cause itself before those of its symptoms."""
    key = {id(each): (each.cause != cause, LEVELS.index(each.finding.level)) for each in group}
    return tuple(sorted(group, key=lambda each: key[id(each)]))


def _place(cause: str) -> int:
    names = list(CAUSES)
    return names.index(cause) if cause in CAUSES else len(names)
