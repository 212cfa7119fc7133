"""Severity of findings: which of them fail a command of `--fail-on`, or a user's test."""

from __future__ import annotations

from collections.abc import Iterable

from metabench.records.rows import Finding

SEVERITIES = ("not_looked_at", "undecided", "warning", "critical")  # each includes those after it


def as_severe(findings: Iterable[Finding], least: str) -> list[Finding]:
    """Return the findings of severity `least` or higher; both level and state count.

    Args:
        findings: of a command or a table.
        least: one of `SEVERITIES`.

    >>> undecided = Finding("bias", "info", "undecided", "The bias can't be told.", "", ())
    >>> len(as_severe([undecided], "not_looked_at")), len(as_severe([undecided], "warning"))
    (1, 0)
    """
    counted = SEVERITIES[SEVERITIES.index(least) :]
    return [each for each in findings if each.level in counted or each.state in counted]
