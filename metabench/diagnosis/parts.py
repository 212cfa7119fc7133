"""One probe's part of a checkup: measured within a time, kept, and found again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from metabench.diagnosis.clock import Clock, TimeUp
from metabench.measurement.measurement import Measurement
from metabench.records.rows import Finding, Row, to_table
from metabench.settings.errors import InvalidInput

FIRST = "verify"  # without which no other number means anything


class Part(NamedTuple):
    """What one probe measured at the highest fidelity that was reached."""

    name: str  # of the probe
    measurement: Measurement
    rows: tuple[Row, ...]
    seconds: float
    seed: int  # of the tasks; theta is of the measurement's own
    note: str = ""  # why there are no rows

    @property
    def settings(self) -> dict[str, Any]:
        """What determines the rows, as plain JSON values."""
        made = self.measurement.spec()
        return made if self.seed == self.measurement.seed else {**made, "tasks_seed": self.seed}

    @property
    def findings(self) -> list[Finding]:
        """What the probe says of its table."""
        return self.measurement.probe.find(to_table(self.rows)) if self.rows else []

    @property
    def causes(self) -> Mapping[str, str]:
        """What its warnings would mean."""
        return type(self.measurement.probe).causes


class Keeper(Protocol):
    """Where parts are kept, so that a checkup goes on where it was stopped."""

    def find(self, name: str) -> tuple[dict[str, Any], tuple[Row, ...], float] | None:
        """Give spec, rows and seconds of what is kept under a name."""

    def keep(self, name: str, part: Part) -> None:
        """Keep a part; a higher fidelity replaces the one below."""


def measure_within(
    name: str,
    measurement: Measurement,
    clock: Clock,
    room: float,
    keeper: Keeper,
    kept: str,
    seed: int | None = None,
) -> Part:
    """Measure one part within so many seconds; what stops it is a note, no exception.

    Raises:
        InvalidInput: if the meta-gradient can't be computed at all.
    """
    seed = measurement.seed if seed is None else seed
    begun = time.monotonic()
    tick = clock.within(room)
    tick(0, 1)
    try:
        rows = measurement.probe.measure(measurement.subject(), seed, tick)
    except TimeUp:
        note = f"{name} was stopped after {room:.0f} s: a larger --budget lets it finish."
        return Part(name, measurement, (), room, seed, note)
    except InvalidInput as error:
        if name == FIRST:
            raise
        return Part(name, measurement, (), 0.0, seed, f"{name} could not measure: {error}")
    except (RuntimeError, ArithmeticError, MemoryError) as error:
        said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return Part(name, measurement, (), 0.0, seed, f"{name} could not measure: {said}")
    part = Part(name, measurement, tuple(rows), time.monotonic() - begun, seed)
    keeper.keep(kept, part)
    return part
