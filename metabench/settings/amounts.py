"""Amounts with a unit, as people type them: a time, a size of memory, a budget of compute."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from metabench.settings import free_memory
from metabench.settings.errors import InvalidInput

TIME = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}  # [seconds]
MEMORY = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}  # [bytes]
TASKS = {"task": 1, "tasks": 1}


class Budget(NamedTuple):
    """An amount of compute: seconds, or what so many fresh tasks take."""

    amount: float
    unit: str  # s or tasks

    def seconds(self, each: float) -> float:
        """Return the budget in seconds, where a fresh task takes `each` seconds."""
        return self.amount * (1.0 if self.unit == "s" else each)


def seconds(text: str, called: str = "--budget") -> float:
    """Read a duration; `called` is for the message.

    >>> seconds("90s"), seconds("3m"), seconds("1.5 h"), seconds("20ms")
    (90.0, 180.0, 5400.0, 0.02)

    Raises:
        InvalidInput: if it is none, or not positive and finite.
    """
    amount, unit = _read(text, TIME, f"{called} takes a duration, such as 90s, 3m or 1h")
    return amount * TIME[unit]


def memory(text: str) -> int:
    """Read a size of memory in bytes; `half` is half of what is free now.

    >>> memory("4GiB"), memory("1.5 KiB"), memory("100")
    (4294967296, 1536, 100)

    Raises:
        InvalidInput: if it is none, or less than one byte.
    """
    if text.strip() == "half":
        return free_memory.free() // 2
    words = "memory takes an amount, such as 4GiB or 500MiB, or half"
    amount, unit = _read(text, MEMORY, words)
    if amount * MEMORY[unit] < 1:
        raise InvalidInput(f"{words}; given {text!r}, which is less than one byte.")
    return int(amount * MEMORY[unit])


def budget(text: str) -> Budget:
    """Read what one meta-gradient may cost: a time, or a number of tasks.

    >>> budget("20ms"), budget("200tasks")
    (Budget(amount=0.02, unit='s'), Budget(amount=200.0, unit='tasks'))

    Raises:
        InvalidInput: if it is neither, or not positive and finite.
    """
    words = "budget takes what one meta-gradient may cost, such as 30s, 20ms or 200tasks"
    amount, unit = _read(text, {**TIME, **TASKS}, words)
    return Budget(amount, "tasks") if unit in TASKS else Budget(amount * TIME[unit], "s")


def _read(text: str, units: Mapping[str, float], words: str) -> tuple[float, str]:
    """Split into a positive, finite number and a known unit; `words` say what was expected."""
    match = re.fullmatch(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([A-Za-z]*)\s*", text)
    if match is None:
        raise InvalidInput(f"{words}; given {text!r}.")
    amount, unit = float(match[1]), match[2]
    if unit not in units:
        known = ", ".join(filter(None, units))
        what = (
            f"with the unit {unit!r}, which is none of" if unit else "without a unit; give one of"
        )
        raise InvalidInput(f"{words}; given {text!r} {what} {known}.")
    if not 0 < amount * units[unit] < math.inf:
        raise InvalidInput(f"{words}; given {text!r}, which is not positive and finite.")
    return amount, unit
