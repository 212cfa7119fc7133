"""Terminal output: progress with remaining time, tables, findings, JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from metabench.records.glossary import GLOSSARY, terms_in
from metabench.records.rows import Finding
from metabench.report.text_tables import MEANING, TextTable

COLORS = {"critical": "bold red", "warning": "bold yellow", "info": "bold blue"}
NO_CHANGE = "Findings without an arrow (->) need no change."
TERMS = 3  # explained below the findings unless all are asked for
PROGRESS_INTERVAL = 5.0  # between progress lines where stderr is no terminal [seconds]


@contextmanager
def progress(
    label: str, quiet: bool, about: str = "", announced: bool = False
) -> Generator[Callable[[int, int], None]]:
    """Show progress and the remaining time on stderr; yields a function of (done, total).

    Args:
        label: of the progress.
        quiet: show nothing.
        about: a line that is printed first on a terminal, and below the label elsewhere.
        announced: whether a first line stands there already, so that the label is the bar's alone.
    """
    if about and not quiet and sys.stderr.isatty():
        Console(stderr=True, highlight=False, markup=False).print(about)
    if quiet:
        yield lambda done, total: None
    elif sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        for line in filter(None, ("" if announced else label, about)):
            print(line, file=sys.stderr, flush=True)
        yield _progress_lines()


def print_table(table: TextTable) -> None:
    """Print a table: colored on a terminal, plain columns elsewhere."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(table.header):
        shown.add_column(name, no_wrap=name != MEANING, style="cyan" if i == 0 else None)
    for line in table.lines:
        shown.add_row(*(Text(text) for text in line))
    _stdout().print(shown)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print each finding: level, state, claim and, where something is to be changed, the repair."""
    console = _stdout()
    for i, finding in enumerate(findings):
        if i:
            console.print()
        state = f"{finding.state.replace('_', ' ')}: " if finding.state else ""
        level = Text(finding.level.upper(), COLORS[finding.level])
        console.print(level, state + finding.claim, sep="  ")
        if finding.repair:
            console.print(Text("  -> " + finding.repair))
    if not all(finding.repair for finding in findings):
        console.print(Text(f"\n{NO_CHANGE}"))


def print_terms(text: str, verbose: bool) -> None:
    """Explain the terms that a text uses: the three that need it most, or all if `verbose`."""
    used = sorted(terms_in(text), key=list(GLOSSARY).index)
    shown = used if verbose else used[:TERMS]
    if not shown:
        return
    more = f" (--verbose explains {len(used) - TERMS} more)" if len(shown) < len(used) else ""
    console = _stdout()
    console.print(Text(f"\nTerms{more}"))
    for term in shown:
        console.print(Text.assemble("  ", (term, "bold"), ": ", GLOSSARY[term]))


def _stdout() -> Console:
    """Return a console that wraps at the terminal's width, and not at all in a pipe."""
    piped = None if sys.stdout.isatty() else 10_000
    return Console(width=piped, highlight=False, markup=False, emoji=False)


def _progress_lines() -> Callable[[int, int], None]:
    last = time.monotonic()
    first: tuple[float, int] | None = None  # time and count after set-up and resumed work

    def report(done: int, total: int) -> None:
        nonlocal last, first
        now = time.monotonic()
        first = first or (now, done)
        if now - last >= PROGRESS_INTERVAL and done > first[1]:
            last = now
            left = (now - first[0]) * (total - done) / (done - first[1])
            print(f"  {done / total:.0%}, about {left:.0f} s left", file=sys.stderr, flush=True)

    return report


def print_json(result: object) -> None:
    """Print one strict JSON object; NumPy integers are written as numbers."""
    click.echo(json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False, default=int))
