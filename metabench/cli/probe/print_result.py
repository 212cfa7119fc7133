"""The result of a probe in a terminal: what was measured, verdict, findings, headline numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from metabench.cli.terminal import print_brief, print_findings, print_table, print_terms, width
from metabench.records.glossary import GLOSSARY, terms_in
from metabench.records.rows import Finding
from metabench.report.brief import Brief, brief, by_severity
from metabench.report.headline import headline
from metabench.report.settings_line import settings_line
from metabench.report.text_tables import TextTable, tables
from metabench.report.verdict import verdict

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.base import Probe

LINES = 30  # of everything, unless problems need more
FOOTER = 4  # lines below the numbers: more, page, table, next
MOST_TERMS = 3  # named


class Printed(NamedTuple):
    """What is printed of one measurement."""

    name: str  # of the probe
    probe: Probe
    table: pd.DataFrame
    findings: Sequence[Finding]
    settings: Mapping[str, Any]  # with what `auto` became


def print_result(result: Printed, verbose: bool) -> None:
    """Print a measurement in at most 30 lines, or all of it.

    Args:
        result: what was measured.
        verbose: print all findings in full, all tables and the meaning of every term.
    """
    first = f"{result.name} of {settings_line(result.settings)}"
    second = f"verdict  {verdict(result.findings)}"
    click.echo(f"{first}\n{second}\n")
    if verbose:
        _print_all(result)
        return
    numbers = headline(result.table, result.probe)
    taken = sum(-(-len(text) // width()) for text in (first, second))
    blanks = 2 + bool(numbers.lines)
    lines = LINES - taken - blanks - FOOTER - len(numbers.lines) - bool(numbers.lines)
    shown = brief(result.findings, lines, width())
    print_brief(shown)
    click.echo()
    if numbers.lines:
        print_table(numbers, cut=True)
        click.echo()
    click.echo(f"more   --verbose: {_more(result, shown, numbers)}")


def _more(result: Printed, shown: Sequence[Brief], numbers: TextTable) -> str:
    """Say what is left out: findings, sentences, numbers and the meaning of terms."""
    left = len(result.findings) - len(shown)
    cut = sum(
        (each.claim, each.repair) != (each.finding.claim, each.finding.repair) for each in shown
    )
    texts = [*(each.claim for each in shown), *(word for line in numbers.lines for word in line)]
    terms = sorted(terms_in("\n".join(texts)), key=list(GLOSSARY).index)[:MOST_TERMS]
    parts = [
        f"{left} more finding{'s' * (left > 1)}" if left else "",
        f"{cut} finding{'s' * (cut > 1)} in full" if cut else "",
        "all numbers",
        f"terms such as {', '.join(terms)}" if terms else "",
    ]
    return "; ".join(filter(None, parts))


def _print_all(result: Printed) -> None:
    findings = by_severity(result.findings)
    print_findings(findings)
    click.echo()
    said = [text for finding in findings for text in (finding.claim, finding.repair)]
    print_terms("\n".join([*said, *_print_numbers(result)]))
    click.echo()


def _print_numbers(result: Printed) -> list[str]:
    """Print the tables, without the checks unless `verify` was asked for; return their words."""
    table = result.table
    numbers = table if result.name == "verify" else table[table["quantity"] != "check"]
    labels: list[str] = []
    for i, text in enumerate(tables(numbers, result.probe)):
        if i:
            click.echo()
        print_table(text)
        labels += [word for line in (text.header, *text.lines) for word in line]
    return labels
