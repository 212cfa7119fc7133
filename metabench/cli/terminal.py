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
from metabench.report.brief import Brief, heading
from metabench.report.text_tables import MEANING, TextTable

COLORS = {"critical": "bold red", "warning": "bold yellow", "info": "bold blue"}
NO_CHANGE = "Findings without an arrow (->) need no change."
PIPE_WIDTH = 100  # that lines are counted at where there is no terminal [characters]
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


def print_table(table: TextTable, cut: bool = False) -> None:
    """Print a table: colored on a terminal, plain columns elsewhere.

    Args:
        table: header and lines.
        cut: end meanings that are too long for the terminal by an ellipsis, instead of wrapping.
    """
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(table.header):
        wraps = name == MEANING and not cut
        shown.add_column(name, no_wrap=not wraps, style="cyan" if i == 0 else None)
    for line in table.lines:
        shown.add_row(*(Text(text) for text in line))
    _stdout().print(shown)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print each finding: level, state, claim and, where something is to be changed, the repair."""
    for i, finding in enumerate(findings):
        if i:
            _stdout().print()
        _print_finding(finding, finding.claim, finding.repair)
    if not all(finding.repair for finding in findings):
        _stdout().print(Text(f"\n{NO_CHANGE}"))


def print_brief(shown: Sequence[Brief]) -> None:
    """Print findings without lines between them."""
    for each in shown:
        _print_finding(*each)


def _print_finding(finding: Finding, claim: str, repair: str) -> None:
    """Print one finding, as much of its claim and repair as is given."""
    console = _stdout()
    level, _, state = heading(finding).partition("  ")
    console.print(Text(level, COLORS[finding.level]), state + claim, sep="  ")
    if repair:
        console.print(Text("  -> " + repair))


def print_terms(text: str) -> None:
    """Explain the terms that a text uses."""
    used = sorted(terms_in(text), key=list(GLOSSARY).index)
    if not used:
        return
    console = _stdout()
    console.print(Text("\nTerms"))
    for term in used:
        console.print(Text.assemble("  ", (term, "bold"), ": ", GLOSSARY[term]))


def width() -> int:
    """Return the characters of a line: those of the terminal, or 100 in a pipe."""
    return _stdout().width if sys.stdout.isatty() else PIPE_WIDTH


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
