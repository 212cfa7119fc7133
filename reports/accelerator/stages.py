"""Parts of a stage, run within a budget, each saved as it ends."""

from __future__ import annotations

import json
import signal
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from metabench.records import atomic_files

Row = dict[str, Any]  # quantity, of, value and, where the value has to be small, limit
SIZES = ("full", "tiny")
LEAST = 2.0  # left of the budget: with less, no part is begun [seconds]


@dataclass(frozen=True)
class Setting:
    """What all parts of one run share."""

    device: str = "cuda"  # cpu, cuda or cuda:N
    size: str = "full"  # tiny: the same parts on a CPU, in seconds

    def choose(self, full: int, tiny: int) -> int:
        """Return the number for this size."""
        return full if self.size == "full" else tiny


class Part(NamedTuple):
    """A measurement that is saved whole: a name of its own, and the function that gives rows."""

    name: str
    run: Callable[[Setting], list[Row]]


class OutOfTime(Exception):
    """The budget ended in the middle of a part."""


class Results:
    """The saved parts of one stage: `{"parts": {name: {"status", "seconds", "rows"}}}`."""

    def __init__(self, path: Path, provenance: Mapping[str, Any]) -> None:
        """Read what is there; `provenance` is stored with every part."""
        self.path = path
        self.provenance = dict(provenance)
        self.parts: dict[str, dict[str, Any]] = {}
        if path.exists():
            self.parts = json.loads(path.read_text(encoding="utf-8"))["parts"]

    def save(self, name: str, outcome: Mapping[str, Any]) -> None:
        """Store one part and write all, so that a kill loses the part that runs and no other."""
        self.parts[name] = {**outcome, **self.provenance}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        atomic_files.write(self.path, json.dumps({"parts": self.parts}, indent=1).encode())

    def left(self, parts: Sequence[Part], again: bool = False) -> list[Part]:
        """Return the parts to run: first those never begun, then those that the budget cut off.

        Args:
            parts: of the stage, in order of importance.
            again: whether parts that failed are run once more.
        """
        statuses = {part.name: self.parts.get(part.name, {}).get("status", "") for part in parts}
        wanted = ["", "out of time", *(["failed"] if again else [])]
        return [part for status in wanted for part in parts if statuses[part.name] == status]


def run(
    parts: Sequence[Part],
    setting: Setting,
    results: Results,
    budget: float,
    again: bool = False,
    say: Callable[[str], None] = print,
) -> list[Part]:
    """Run a stage's parts until the budget ends, and return those that are left.

    A part that raises is recorded with its error, and the next one runs.

    Args:
        parts: of the stage, in order of importance.
        setting: the device and the size.
        results: what is saved already; every part is added to it as it ends.
        budget: of all parts together [seconds].
        again: whether parts that failed earlier are run once more.
        say: prints a line for each part.
    """
    end = time.monotonic() + budget
    for part in results.left(parts, again):
        remaining = end - time.monotonic()
        if remaining < LEAST:
            break
        outcome = _outcome(part, setting, remaining)
        results.save(part.name, outcome)
        say(f"{outcome['seconds']:7.1f} s  {part.name}: {outcome['status']}")
    return results.left(parts)


def _outcome(part: Part, setting: Setting, limit: float) -> Row:
    """Run one part for at most `limit` seconds."""
    begun = time.monotonic()
    rows: list[Row] = []
    error = ""
    try:
        with _time_limit(limit):
            rows = part.run(setting)
        status = "held" if all(_holds(row) for row in rows) else "not held"
    except OutOfTime:
        status = "out of time"
    except ImportError as absent:
        status, error = "absent", str(absent)
    except Exception as raised:
        status, error = "failed", "".join(traceback.format_exception(raised)[-3:])
    seconds = round(time.monotonic() - begun, 3)
    return {"status": status, "seconds": seconds, "rows": rows, "error": error}


def _holds(row: Row) -> bool:
    """Return whether a row's value is within its limit, if it has one; NaN is not."""
    return "limit" not in row or bool(row["value"] <= row["limit"])


@contextmanager
def _time_limit(seconds: float) -> Generator[None]:
    """Raise OutOfTime in the body after so many seconds."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
