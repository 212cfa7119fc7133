"""Files that a page offers for download, held in data: links."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from metabench.records import csv_text
from metabench.report.text_tables import TextTable

if TYPE_CHECKING:
    import pandas as pd

SAFE = " !$()*+,-./:;=?@[]_{|}~"  # what a quoted data: address may hold as it is
MOST_CSV_LINES = 400  # of a figure's data


def link(text: str, kind: str) -> str:
    """Return a data: URL of a text of this media type (text/csv, image/svg+xml, ..)."""
    return f"data:{kind};charset=utf-8,{quote(text, safe=SAFE)}"


def csv(data: pd.DataFrame) -> str:
    """Return a figure's data as CSV; if it is cut, the last line says so."""
    text: str = csv_text.to_csv(data[:MOST_CSV_LINES], "%.7g")
    left = len(data) - MOST_CSV_LINES
    return text + (f"# {left:,} more lines\n" if left > 0 else "")


def svg(inline: str) -> str:
    """Return an inline SVG as the text of a file, dark on white."""
    return inline.replace("<svg ", '<svg style="color:#000;background:#fff" ', 1)


def latex(table: TextTable, caption: str, best: frozenset[tuple[int, int]] = frozenset()) -> str:
    r"""Return a table as LaTeX, the best numbers in bold, without packages.

    Args:
        table: header and lines.
        caption: a comment above the table.
        best: (line, column) of the numbers in bold.

    >>> print(latex(TextTable(("algorithm", "x"), (("maml", "1"),)), "x of %"))
    % x of \%
    \begin{tabular}{lr}
    \hline
    algorithm & x \\
    \hline
    maml & 1 \\
    \hline
    \end{tabular}
    <BLANKLINE>
    """
    lines = [
        [rf"\textbf{{{escape(t)}}}" if (i, j) in best else escape(t) for j, t in enumerate(line)]
        for i, line in enumerate(table.lines)
    ]
    head, *body = (" & ".join(line) + r" \\" for line in [list(map(escape, table.header)), *lines])
    begin = rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}"
    rule = r"\hline"
    made = [f"% {escape(caption)}", begin, rule, head, rule, *body, rule, r"\end{tabular}", ""]
    return "\n".join(made)


ESCAPES = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "²": r"\textsuperscript{2}", "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}",
    **{c: f"\\{c}" for c in "&%$#_{}"}, "\n": " ",
}  # fmt: skip


def escape(text: str) -> str:
    """Escape text for LaTeX."""
    return re.sub("|".join(map(re.escape, ESCAPES)), lambda m: ESCAPES[m[0]], text)


def markdown(table: TextTable, caption: str = "") -> str:
    r"""Return a table as Markdown, as GitHub and notebooks read it.

    Args:
        table: header and lines.
        caption: a line above the table.

    >>> print(markdown(TextTable(("algorithm", "|x|"), (("maml", "1"),))))
    | algorithm | \|x\| |
    |---|---|
    | maml | 1 |
    <BLANKLINE>
    """
    lines = [table.header, ("---",) * len(table.header), *table.lines]
    texts = [
        "|".join(line) if i == 1 else " | ".join(text.replace("|", r"\|") for text in line)
        for i, line in enumerate(lines)
    ]
    made = [f"|{text}|" if i == 1 else f"| {text} |" for i, text in enumerate(texts)]
    return "\n".join([*([caption, ""] if caption else []), *made, ""])
