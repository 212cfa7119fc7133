"""Measure every probe as thoroughly as the time allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from metabench.diagnosis.clock import Clock
from metabench.diagnosis.parts import FIRST, Keeper, Part, measure_within
from metabench.measurement.measurement import Measurement
from metabench.probes.base import Probe

MEASURING = 0.4  # share of the time by which measuring ends
DEARER = 4.0  # times a fidelity is taken to cost what the one below it did


def examine(
    measurement: Measurement, probes: Mapping[str, Sequence[Probe]], clock: Clock, keeper: Keeper
) -> list[Part]:
    """Measure every probe at its first fidelity, then higher while there is time.

    A fidelity is begun if four times the seconds of the one below still fit; which that are depends
    on the machine, never on what was found.
    """
    until = MEASURING * clock.seconds
    reached: dict[str, int] = {}
    parts: dict[str, Part] = {}
    for i, (name, fidelities) in enumerate(probes.items()):
        found = _kept(name, measurement, fidelities, keeper)
        if found is None:
            room = _room(name, until, clock, len(probes) - i)
            at = replace(measurement, probe=fidelities[0])
            found = 0, measure_within(name, at, clock, room, keeper, name)
        reached[name], parts[name] = found
    while True:
        left = until - clock.elapsed
        open_ = {n: p for n, p in parts.items() if p.rows and reached[n] + 1 < len(probes[n])}
        name = min(open_, key=lambda n: open_[n].seconds, default="")
        if not name or DEARER * open_[name].seconds > left:
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
    """Find a part that was measured before, and at which fidelity."""
    held = keeper.find(name)
    for rung, probe in enumerate(fidelities if held else ()):
        at = replace(measurement, probe=probe)
        if held and held[0] == at.spec():
            return rung, Part(name, at, *held[1:], measurement.seed)
    return None


def _room(name: str, until: float, clock: Clock, waiting: int) -> float:
    """Give the seconds that a probe's first fidelity may take, of so many that wait."""
    if name == FIRST:
        return math.inf
    left = max(until - clock.elapsed, 0.0)
    return max(left * min(2 / waiting, 1), clock.seconds / 20)
