"""`--fail-on`: exit with 1 if a finding is as severe as asked, for CI and users' scripts."""

from __future__ import annotations

from collections.abc import Iterable

import click

from metabench.cli.exit_codes import FOUND
from metabench.records.rows import Finding

SEVERITIES = ("not_looked_at", "undecided", "warning", "critical")  # each includes those after it


def fails(findings: Iterable[Finding], least: str | None, unmeasured: int = 0) -> bool:
    """Return whether a finding has the severity `least` or a higher one.

    Args:
        findings: findings of a command; both their level and their state count.
        least: one of `SEVERITIES`; None never fails.
        unmeasured: number of probes or cells without numbers, which count as not looked at.

    >>> undecided = Finding("bias", "info", "undecided", "The bias can't be told.", "", ())
    >>> fails([undecided], "not_looked_at"), fails([undecided], "warning")
    (True, False)
    """
    if least is None:
        return False
    counted = SEVERITIES[SEVERITIES.index(least) :]
    found = {word for each in findings for word in (each.level, each.state)}
    return bool(found & {*counted}) or (unmeasured > 0 and "not_looked_at" in counted)


def end_if_found(findings: Iterable[Finding], least: str | None, unmeasured: int = 0) -> None:
    """Exit with 1 if a finding is as severe as `--fail-on` asks.

    Args:
        findings: findings of a command.
        least: the value of `--fail-on`, None if it is not given.
        unmeasured: number of probes or cells without numbers.
    """
    if fails(findings, least, unmeasured):
        click.get_current_context().exit(FOUND)
