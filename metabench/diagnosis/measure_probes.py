"""Measurement of every probe at the highest fidelity that time allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from metabench.diagnosis.parts import FIRST, Keeper, Part, measure_within
from metabench.measurement.clock import Clock
from metabench.measurement.measurement import Measurement
from metabench.probes.base import Probe

MEASURE_UNTIL = 0.4  # share of the budget after which no fidelity is begun
COST_RATIO = 4.0  # assumed cost of a fidelity over that of the one below


def examine(
    measurement: Measurement, probes: Mapping[str, Sequence[Probe]], clock: Clock, keeper: Keeper
) -> list[Part]:
    """Measure every probe at its lowest fidelity, then at higher ones while there is time.

    A fidelity is begun if four times the seconds of the one below still fit. Which one is reached
    depends on the machine, never on the findings.

    Args:
        measurement: problem, algorithm, theta and seed.
        probes: each probe at every fidelity, by name, cheapest first.
        clock: the time budget.
        keeper: stores parts, so that a checkup can resume.
    """
    until = MEASURE_UNTIL * clock.seconds
    reached: dict[str, int] = {}
    parts: dict[str, Part] = {}
    for i, (name, fidelities) in enumerate(probes.items()):
        found = _kept(name, measurement, fidelities, keeper)
        if found is None:
            limit = _seconds_for(name, until, clock, len(probes) - i)
            at = replace(measurement, probe=fidelities[0])
            found = 0, measure_within(name, at, clock, limit, keeper, name)
        reached[name], parts[name] = found
    while True:
        left = until - clock.elapsed
        open_ = {n: p for n, p in parts.items() if p.rows and reached[n] + 1 < len(probes[n])}
        name = min(open_, key=lambda n: open_[n].seconds, default="")
        if not name or COST_RATIO * open_[name].seconds > left:
            return list(parts.values())
        reached[name] += 1
        at = replace(measurement, probe=probes[name][reached[name]])
        higher = measure_within(name, at, clock, left, keeper, name)
        if higher.rows:
            parts[name] = higher
        else:
            reached[name] = len(probes[name])


def _kept(
    name: str, measurement: Measurement, fidelities: Sequence[Probe], keeper: Keeper
) -> tuple[int, Part] | None:
    """Return a stored part and its fidelity, None if there is none."""
    held = keeper.find(name)
    for fidelity, probe in enumerate(fidelities if held else ()):
        at = replace(measurement, probe=probe)
        if held and held[0] == at.spec():
            return fidelity, Part(name, at, *held[1:], measurement.seed)
    return None


def _seconds_for(name: str, until: float, clock: Clock, waiting: int) -> float:
    """Return the seconds that a probe's lowest fidelity may take, if so many probes wait."""
    left = max(until - clock.elapsed, 0.0)
    if name == FIRST:
        return max(left, clock.seconds / 20)
    return max(left * min(2 / waiting, 1), clock.seconds / 20)
