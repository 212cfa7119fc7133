"""`--fail-on`: exit with 1 if a finding is as severe as asked, for CI and users' scripts."""

from __future__ import annotations

from collections.abc import Iterable

import click

from metabench.cli.exit_codes import FOUND
from metabench.records.rows import Finding
from metabench.records.severity import SEVERITIES, as_severe


def fails(findings: Iterable[Finding], least: str | None, unmeasured: int = 0) -> bool:
    """Return whether a finding has the severity `least` or a higher one.

    Args:
        findings: findings of a command; both their level and their state count.
        least: one of `SEVERITIES`; None never fails.
        unmeasured: number of probes or cells without numbers, which count as not looked at.

    >>> fails([], "not_looked_at", unmeasured=1), fails([], None, unmeasured=1)
    (True, False)
    """
    if least is None:
        return False
    missed = unmeasured > 0 and least == SEVERITIES[0]
    return missed or bool(as_severe(findings, least))


def end_if_found(findings: Iterable[Finding], least: str | None, unmeasured: int = 0) -> None:
    """Exit with 1 if a finding is as severe as `--fail-on` asks.

    Args:
        findings: findings of a command.
        least: the value of `--fail-on`, None if it is not given.
        unmeasured: number of probes or cells without numbers.
    """
    if fails(findings, least, unmeasured):
        click.get_current_context().exit(FOUND)
