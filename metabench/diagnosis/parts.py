"""One probe's part of a checkup: measured within a time limit, and stored."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from metabench.measurement.clock import Clock
from metabench.measurement.measurement import Measurement
from metabench.records.number_format import number
from metabench.records.rows import Finding, Row, to_table
from metabench.settings.alarms import TimeUp
from metabench.settings.errors import InvalidInput
from metabench.settings.user_errors import user_errors

FIRST = "verify"  # the other probes need a correct meta-gradient


class Part(NamedTuple):
    """What one probe measured at the highest fidelity that was reached."""

    name: str  # of the probe
    measurement: Measurement
    rows: tuple[Row, ...]
    seconds: float
    seed: int  # of the tasks; theta follows the measurement's seed
    note: str = ""  # why there are no rows
    stopped: bool = False  # its time was up

    @property
    def settings(self) -> dict[str, Any]:
        """What determines the rows, as plain JSON values."""
        made = self.measurement.spec()
        return made if self.seed == self.measurement.seed else {**made, "tasks_seed": self.seed}

    @property
    def findings(self) -> list[Finding]:
        """Findings in the probe's table."""
        return self.measurement.probe.find(to_table(self.rows)) if self.rows else []

    @property
    def causes(self) -> Mapping[str, str]:
        """Cause of each finding that may warn."""
        return type(self.measurement.probe).causes


class Keeper(Protocol):
    """Storage of parts, so that a checkup can resume."""

    def find(self, name: str) -> tuple[dict[str, Any], tuple[Row, ...], float] | None:
        """Return spec, rows and seconds of the part stored under a name, if any."""

    def keep(self, name: str, part: Part) -> None:
        """Store a part; a higher fidelity replaces the one below."""


def measure_within(
    name: str,
    measurement: Measurement,
    clock: Clock,
    limit: float,
    keeper: Keeper,
    kept: str,
    seed: int | None = None,
) -> Part:
    """Measure one part within a time limit; a failure becomes the part's note.

    Args:
        name: of the probe.
        measurement: problem, algorithm, theta, seed and probe.
        clock: the time budget.
        limit: seconds that the measurement may take.
        keeper: stores the part.
        kept: name to store it under.
        seed: of the tasks; None is the measurement's.

    Returns:
        The part; without rows if it was stopped or failed.

    Raises:
        InvalidInput: if the meta-gradient can't be computed at all.
    """
    seed = measurement.seed if seed is None else seed
    begun = time.monotonic()
    try:
        with clock.within(limit) as tick, user_errors():
            tick(0, 1)
            rows = measurement.probe.measure(measurement.subject(), seed, tick)
    except TimeUp:
        note = f"{name} was stopped after {number(limit)} s; use a larger --budget."
        return Part(name, measurement, (), limit, seed, note, stopped=True)
    except InvalidInput as error:
        if name == FIRST:
            raise
        return Part(name, measurement, (), 0.0, seed, f"{name} could not measure: {error}")
    except (RuntimeError, ArithmeticError, MemoryError) as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return Part(name, measurement, (), 0.0, seed, f"{name} could not measure: {reason}")
    part = Part(name, measurement, tuple(rows), time.monotonic() - begun, seed)
    keeper.keep(kept, part)
    return part
