"""Writing and reading tables as CSV whose texts no spreadsheet takes for formulas.

A text that begins with = + - @, a tab or a carriage return gets an apostrophe in front, as OWASP
advises (https://owasp.org/www-community/attacks/CSV_Injection); so does one that begins with
apostrophes before such a character, so that reading takes away exactly what writing added. Texts
that are numbers, such as -1.5 or -inf, stay as they are.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FORMULA = re.compile(r"'*[=+\-@\t\r]")
NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|nan)", re.IGNORECASE)
ESCAPED = re.compile(r"'+[=+\-@\t\r]")


def to_csv(table: pd.DataFrame, float_format: str | None = None) -> str:
    """Return a table as CSV, with numbers in full precision.

    Args:
        table: to write.
        float_format: of numbers, such as `%.7g`; None: all digits.
    """
    made = table.rename(columns=escaped)
    for name in made.select_dtypes(exclude="number"):
        made[name] = made[name].astype(object).map(escaped)
    text: str = made.to_csv(index=False, quoting=csv.QUOTE_MINIMAL, float_format=float_format)
    if "\r" in text:  # which would end a line unless its text is quoted
        text = made.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC, float_format=float_format)
    return text


def from_csv(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table that was read from CSV, without the apostrophes that `to_csv` added."""
    made = table.rename(columns=unescaped)
    for name in made.select_dtypes(exclude="number"):
        made[name] = made[name].map(unescaped)
    return made


def escaped(value: Any) -> Any:
    """Return a text that no spreadsheet takes for a formula; other values as they are.

    >>> escaped("=1+1"), escaped("maml"), escaped("-1.5"), escaped("'=1")
    ("'=1+1", 'maml', '-1.5', "''=1")
    """
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def unescaped(value: Any) -> Any:
    """Return the text that `escaped` was given.

    >>> unescaped("'=1+1"), unescaped("'quoted'")
    ('=1+1', "'quoted'")
    """
    if isinstance(value, str) and ESCAPED.match(value):
        return value[1:]
    return value
