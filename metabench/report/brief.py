"""Findings in few lines: problems in full, others as far as there is room, times left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from metabench.records.rows import LEVELS, Finding

OPEN = ("fault", "undecided", "not_looked_at")  # states that come before fine ones and remarks
TIMES = re.compile(r"\b(seconds?|time)\b")  # in a sentence that rests on a clock
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z|])")


class Brief(NamedTuple):
    """A finding as it is printed; the repair is "" where there is none or no room for it."""

    finding: Finding
    claim: str
    repair: str


def by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings by level, then those that are open before those that are fine."""
    return sorted(findings, key=lambda each: (LEVELS.index(each.level), each.state not in OPEN))


def rests_on_seconds(finding: Finding) -> bool:
    """Return whether a finding rests on a measured time, which other work on a machine changes."""
    return any("seconds" in row.quantity for row in finding.evidence)


def brief(findings: Sequence[Finding], room: int, width: int) -> list[Brief]:
    """Return the findings that fit, the most severe first, with their claims and repairs.

    A problem is printed in full. Of any other finding the first sentence is, the rest in order,
    as far as there is room. Sentences on seconds are left out, and so are findings of nothing
    else.

    Args:
        findings: all findings.
        room: lines for them.
        width: characters of a line.
    """
    shown = [each for found in by_severity(findings) if (each := _timeless(found))]
    short = [each if _alarms(each) else _first(each) for each in shown]
    while short and _lines(short, width) > room and not _alarms(short[-1]):
        short.pop()
    for i in range(len(short)):
        for longer in (shown[i]._replace(repair=short[i].repair), shown[i]):
            grown = [*short[:i], longer, *short[i + 1 :]]
            if _lines(grown, width) <= room:
                short = grown
    return short


def _timeless(finding: Finding) -> Brief | None:
    """Return a finding without its sentences on seconds, None if there are no others."""
    if not rests_on_seconds(finding):
        return Brief(finding, finding.claim, finding.repair)
    kept = [each for each in SENTENCE.split(finding.claim) if not TIMES.search(each)]
    if not kept:
        return None
    repair = "" if TIMES.search(finding.repair) else finding.repair
    return Brief(finding, " ".join(kept), repair)


def _alarms(shown: Brief) -> bool:
    return shown.finding.level != "info"


def _first(shown: Brief) -> Brief:
    return shown._replace(claim=SENTENCE.split(shown.claim)[0], repair="")


def _lines(shown: Sequence[Brief], width: int) -> int:
    """Return how many lines findings take, wrapped at the width."""
    texts = [text for each in shown for text in (heading(each.finding) + each.claim, each.repair)]
    return sum(-(-(len(text) + 5) // width) for text in texts if text)


def heading(finding: Finding) -> str:
    """Return what stands before a claim: its level and state.

    >>> heading(Finding("bias", "warning", "not_looked_at", "", "", ()))
    'WARNING  not looked at: '
    """
    state = f"{finding.state.replace('_', ' ')}: " if finding.state else ""
    return f"{finding.level.upper()}  {state}"
