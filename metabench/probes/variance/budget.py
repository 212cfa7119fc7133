"""How much may one meta-gradient cost?"""

from __future__ import annotations

import re
from typing import NamedTuple

from metabench.settings.errors import Misuse


class Budget(NamedTuple):
    """An amount of compute: seconds, or what so many fresh tasks take."""

    amount: float
    unit: str  # s or tasks

    def seconds(self, each: float) -> float:
        """Give it in seconds, where a fresh task takes `each`."""
        return self.amount * (1.0 if self.unit == "s" else each)


def parse(text: str) -> Budget:
    """Read `30s`, `20ms` or `200tasks`.

    >>> parse("20ms")
    Budget(amount=0.02, unit='s')
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+) ?(ms|s|min|tasks?)", text)
    if match is None or not float(match[1]) > 0:
        raise Misuse(
            f"budget is {text!r}; give what one meta-gradient may take, such as 30s, 20ms or "
            "200tasks."
        )
    amount, unit = float(match[1]), match[2]
    if unit.startswith("task"):
        return Budget(amount, "tasks")
    return Budget(amount * {"ms": 1e-3, "s": 1.0, "min": 60.0}[unit], "s")
