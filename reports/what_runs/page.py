"""The page of a table: counts, a line for every module and loss, and every refusal by its kind."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from reports.what_runs.judged import LOOP, RIGHT, STATE, failures, kind_of, without_numbers
from reports.what_runs.rows import EXACT, TIMES_NOISE, Row

HEAD = f"""# What runs

Made by `python reports/what_runs/run.py`; [README.md](README.md) says how. A number is *exact* if
its relative error against plain autograd in float64 is at most {EXACT:.0e}, and at the *noise* if
it is at most {TIMES_NOISE} times the measured noise floor. A cell shows vmap / loop: ✓ for exact,
≈ for noise, "says" for a sentence that counts, bold for a failure.
"""
SIGNS = {"exact": "✓", "noise": "≈", "sentence": "says", "not installed": ""}


def page(rows: Sequence[Row]) -> str:
    """Write the page.

    Args:
        rows: the whole table.
    """
    parts = [HEAD, _counts(rows)]
    for table, title, by in (
        ("modules", "Modules", "algorithm"),
        ("losses", "Losses, with maml", "module"),
        ("algorithms", "Further algorithms", "module"),
    ):
        parts.append(_matrix([row for row in rows if row.table == table], title, by, rows))
    return "\n".join([*parts, _refusals(rows), _failures(rows)])


def _counts(rows: Sequence[Row]) -> str:
    outcomes = Counter(row.outcome for row in rows)
    modules = {row.module for row in rows if row.table == "modules"}
    none = without_numbers(rows)
    shown = ", ".join(f"{count} {name}" for name, count in outcomes.most_common())
    missing = f"; none for {', '.join(none)}" if none else ""
    return (
        f"{len(rows)} rows: {shown}. {len(failures(rows))} of them fail. maml gives right numbers "
        f"for {len(modules) - len(none)} of {len(modules)} modules{missing}.\n"
    )


def _matrix(part: Sequence[Row], title: str, by: str, rows: Sequence[Row]) -> str:
    """Write one line for each module, loss or algorithm, one column for each `by`."""
    line_of = {"algorithm": "module", "module": "loss"}[by]
    line_of = "algorithm" if part and part[0].table == "algorithms" else line_of
    lines = list(dict.fromkeys(getattr(row, line_of) for row in part))
    columns = list(dict.fromkeys(getattr(row, by) for row in part))
    text = [f"## {title}\n", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for line in lines:
        cells = [
            " / ".join(
                _sign(row, rows)
                for row in part
                if getattr(row, line_of) == line and getattr(row, by) == column
            )
            for column in columns
        ]
        text.append(f"| {line} | {' | '.join(cells)} |")
    return "\n".join([*text, ""])


def _sign(row: Row, rows: Sequence[Row]) -> str:
    if row.outcome == "sentence" and not kind_of(row, rows):
        return "**says**"
    return SIGNS.get(row.outcome, f"**{row.outcome}**")


def _refusals(rows: Sequence[Row]) -> str:
    """List refusals by kind, each sentence once with its modules and losses."""
    refusals: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        if row.outcome == "sentence":
            refusals[kind_of(row, rows), row.said].append(_name(row))
    text = ["## Sentences\n", "Kinds that count although plain autograd gives a number:\n"]
    text += [f"- *{kind.name}*: {kind.why}." for kind in (LOOP, STATE)]
    for (kind, said), names in refusals.items():
        listed = ", ".join(f"{name} ({count})" for name, count in Counter(names).items())
        text.append(f"\n{kind or '**does not count**'}: {listed}\n\n> {said}")
    return "\n".join([*text, ""])


def _failures(rows: Sequence[Row]) -> str:
    bad = failures(rows)
    if not bad:
        return ""
    lines = [
        f"- {_name(row)}, {row.algorithm}, {row.batching}: {row.outcome} "
        + (f"(error {row.error:.2g}) " if row.outcome not in RIGHT and row.error else "")
        + row.said
        for row in bad
    ]
    return "\n".join(["## Failures\n", *lines, ""])


def _name(row: Row) -> str:
    return row.module if row.loss == "its own" else f"{row.loss} on {row.module}"
