"""Which fault is behind what the probes say, and which comes first?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from metabench.records.rows import LEVELS, Finding

# What a probe's `causes` may name, what makes the numbers below it untrustworthy first.
CAUSES = {
    "precision": "arithmetic too coarse",
    "gradient": "a wrong meta-gradient",
    "sampling": "tasks that are not independent draws",
    "curvature": "inner losses that curve down",
    "rate": "an inner rate past the edge of stability",
    "tails": "a few tasks that make most of the noise",
    "growth": "an exploding or vanishing meta-gradient",
    "shots": "too few examples a task",
    "batch": "too few tasks a batch",
    "source": "one source of noise above all",
    "estimator": "a biased estimator",
    "solver": "an unfinished linear solve or inner loop",
    "outer": "the outer step",
    "settings": "the measurement's own settings",
}
# What may explain a symptom: where that is found too, the symptom speaks for it.
EXPLAINED = {
    "gradient": ("precision", "curvature"),
    "tails": ("precision", "curvature", "rate"),
    "growth": ("precision", "curvature", "rate"),
    "solver": ("curvature", "rate"),
}
OTHER = "other"  # a warning that its probe lists under no cause


class ConfirmedFinding(NamedTuple):
    """A finding, the probe that made it, and what fresh tasks said of it."""

    probe: str
    finding: Finding
    cause: str  # a key of CAUSES, or other
    confirmed: bool | None = None  # None: it was not asked for, or could not be

    @property
    def alarms(self) -> bool:
        """Whether it says that something is wrong with the training."""
        return self.finding.level != "info" and self.cause != "settings"


class Fault(NamedTuple):
    """What is wrong: a cause, and all that speaks for it, the most telling first."""

    cause: str
    findings: tuple[ConfirmedFinding, ...]

    @property
    def level(self) -> str:
        """The weightiest level among what speaks for it."""
        return min((each.finding.level for each in self.findings), key=LEVELS.index)


def cause_of(finding: Finding, causes: Mapping[str, str]) -> str:
    """Look a finding up in its probe's list."""
    return causes.get(finding.name, OTHER)


def faults(heard: Iterable[ConfirmedFinding]) -> list[Fault]:
    """Put alarms under their causes, symptoms under what explains them, the weightiest first."""
    groups: dict[str, list[ConfirmedFinding]] = {}
    for each in heard:
        if each.alarms:
            groups.setdefault(each.cause, []).append(each)
    for symptom, roots in EXPLAINED.items():
        root = next((cause for cause in roots if cause in groups), None)
        if root and symptom in groups:
            groups[root] += groups.pop(symptom)
    found = [Fault(cause, _telling(cause, group)) for cause, group in groups.items()]
    return sorted(found, key=lambda fault: (LEVELS.index(fault.level), _place(fault.cause)))


def remarks(heard: Iterable[ConfirmedFinding]) -> list[ConfirmedFinding]:
    """Give the rest: what asks for a change before what asks for none."""
    rest = [each for each in heard if not each.alarms]
    return sorted(rest, key=lambda each: each.finding.repair.startswith("Nothing"))


def _telling(cause: str, group: Sequence[ConfirmedFinding]) -> tuple[ConfirmedFinding, ...]:
    """Let the cause speak before its symptoms."""
    key = {id(each): (each.cause != cause, LEVELS.index(each.finding.level)) for each in group}
    return tuple(sorted(group, key=lambda each: key[id(each)]))


def _place(cause: str) -> int:
    names = list(CAUSES)
    return names.index(cause) if cause in CAUSES else len(names)
