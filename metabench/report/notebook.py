"""A result in a notebook: verdict, findings, headline numbers and the first figure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from metabench.records.rows import Finding
from metabench.report.text_tables import TextTable

MARKS = {"critical": "&#9888; critical", "warning": "&#9888; warning", "info": "info"}


def notebook_html(
    heading: str, verdict: str, findings: Sequence[Finding], numbers: TextTable, svg: str = ""
) -> str:
    """Return a result as a piece of HTML that loads nothing.

    Args:
        heading: what was measured.
        verdict: one sentence.
        findings: the most severe first.
        numbers: the headline numbers.
        svg: the first figure, "" for none.

    >>> numbers = TextTable(("quantity", "value"), (("noise scale", "5.6"),))
    >>> notebook_html("maml <1>", "Fine.", [], numbers).partition("<table>")[0]
    '<div><p><strong>maml &lt;1&gt;</strong></p><p>Fine.</p>'
    """
    parts = [f"<p><strong>{escape(heading)}</strong></p>", f"<p>{escape(verdict)}</p>"]
    if findings:
        parts.append(f"<ul>{''.join(map(_item, findings))}</ul>")
    head = "".join(f"<th>{escape(name)}</th>" for name in numbers.header)
    lines = "".join(f"<tr>{''.join(map(_cell, line))}</tr>" for line in numbers.lines)
    parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>")
    if svg:
        parts.append(f'<div style="max-width: 38rem">{svg}</div>')
    return f"<div>{''.join(parts)}</div>"


def _item(finding: Finding) -> str:
    state = f", {finding.state.replace('_', ' ')}" if finding.state else ""
    repair = f"<br><em>What to change:</em> {escape(finding.repair)}" if finding.repair else ""
    return f"<li><b>{MARKS[finding.level]}{state}:</b> {escape(finding.claim)}{repair}</li>"


def _cell(text: str) -> str:
    return f'<td style="text-align: left">{escape(text)}</td>'
