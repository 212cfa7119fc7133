"""What a reader can save from a page: links that hold the file itself, without any script."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from metabench.report.text_tables import TextTable

if TYPE_CHECKING:
    import pandas as pd

SAFE = " !$()*+,-./:;=?@[]_{|}~"  # what a quoted data: address may hold as it is
MOST = 400  # lines of a figure's data that a page carries


def link(text: str, kind: str) -> str:
    """Give a data: address of a text of this kind (text/csv, image/svg+xml, ..)."""
    return f"data:{kind};charset=utf-8,{quote(text, safe=SAFE)}"


def csv(data: pd.DataFrame) -> str:
    """Give a figure's data as CSV, cut with a last line that says so if there is very much."""
    text: str = data[:MOST].to_csv(index=False, float_format="%.7g")
    left = len(data) - MOST
    return text + (f"# {left:,} lines more\n" if left > 0 else "")


def svg(inline: str) -> str:
    """Give an inline SVG as a file of its own: dark on white, wherever it is shown."""
    return inline.replace("<svg ", '<svg style="color:#000;background:#fff" ', 1)


def latex(table: TextTable, caption: str, best: frozenset[tuple[int, int]] = frozenset()) -> str:
    r"""Give a table as LaTeX, what is best in bold; \hline needs no package.

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
    """Write text so that LaTeX shows it."""
    return re.sub("|".join(map(re.escape, ESCAPES)), lambda m: ESCAPES[m[0]], text)
