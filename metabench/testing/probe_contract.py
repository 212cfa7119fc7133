"""Are a probe's rows tidy, its findings and figure made from the table, its declarations kept?"""

from __future__ import annotations

import dataclasses
import math

from metabench.algorithms.maml import MAML
from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.quadratic import Quadratic
from metabench.probes.base import Part, Probe
from metabench.records.rows import LEVELS, Row, to_table
from metabench.records.statuses import STATUSES
from metabench.testing.expectations import expect, expect_refused


def check_probe(probe: Probe, seed: int = 0) -> None:
    """Check a probe against its contract: tidy rows, findings and figure from the table alone.

    Statuses are known; `options` and `fidelities` name fields; progress ends at its total; merged
    parts of a `splittable` probe are the whole; settings that count something are refused below
    zero.
    """
    from matplotlib.figure import Figure

    expect_refused(probe)
    _expect_fields(probe)
    family = Quadratic(dim=4)
    theta = family.theta(seed)
    subject = Subject(family.problem(), family.sample, MAML(steps=2), theta)
    seen: list[tuple[int, int]] = []
    rows = probe.measure(subject, seed, lambda done, total: seen.append((done, total)))
    expect(bool(rows), "it measures no rows")
    beyond = next((pair for pair in seen if pair[0] > pair[1]), None)
    expect(beyond is None, f"progress says {beyond}: more tasks done than there are")
    for row in rows:
        expect(isinstance(row, Row), f"a row is a {type(row).__name__}, not a metabench.Row")
        expect(row.status in STATUSES, f"the status of {row.quantity} is {row.status!r}, not known")
        finite = all(x is None or math.isfinite(x) for x in (row.at, row.value, row.low, row.high))
        expect(finite, f"{row.quantity} is not finite; give None and a status")
    again = [row for row in probe.measure(subject, seed) if "seconds" not in row.quantity]
    expect(again == [row for row in rows if "seconds" not in row.quantity], "two calls differ")
    if probe.splittable:
        _expect_merged(probe, subject, seed, rows)
    table = to_table(rows)
    before = table.copy(deep=True)
    for finding in probe.find(table):
        expect(finding.level in LEVELS, f"a finding's level is {finding.level!r}")
    expect(table.equals(before), "find changes the table that it is given")
    for drawing in probe.drawings(table):
        drawing.draw(Figure().subplots())
    expect(table.equals(before), "draw changes the table that it is given")


def _expect_fields(probe: Probe) -> None:
    """Settings that the class names are fields of it, and can be set."""
    held = {field.name for field in dataclasses.fields(probe)}  # type: ignore[arg-type]
    named = {"options": probe.options, **{f"fidelities[{i}]": f for i, f in _numbered(probe)}}
    for where, names in named.items():
        unknown = [name for name in names if name not in held]
        expect(not unknown, f"{where} names {', '.join(unknown)}, which is no field")
    for _, fidelity in _numbered(probe):
        dataclasses.replace(probe, **fidelity)  # type: ignore[type-var]


def _numbered(probe: Probe) -> list[tuple[int, dict[str, object]]]:
    return [(i, dict(fidelity)) for i, fidelity in enumerate(probe.fidelities)]


def _expect_merged(probe: Probe, subject: Subject, seed: int, rows: list[Row]) -> None:
    """Expect merged parts to equal the whole up to round-off."""
    parts = [probe.measure_part(subject, seed, Part(i, 3)) for i in range(3)]
    merged = probe.merge(subject, seed, parts)
    expect(len(merged) == len(rows), f"merged parts give {len(merged)} rows, not {len(rows)}")
    for one, other in zip(rows, merged, strict=True):
        if "seconds" in one.quantity:
            continue
        numbers = [(getattr(one, end), getattr(other, end)) for end in ("value", "low", "high")]
        same = one._replace(value=None, low=None, high=None) == other._replace(
            value=None, low=None, high=None
        )
        near = all(
            a == b or (a is not None and b is not None and abs(a - b) <= 1e-8 * abs(a))
            for a, b in numbers
        )
        expect(same and near, f"merged parts give {other}, not {one}")
