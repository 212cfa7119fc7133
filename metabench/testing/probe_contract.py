"""Are a probe's rows tidy, and its findings and figure made from the table alone?"""

from __future__ import annotations

import math

from metabench.algorithms.maml import MAML
from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.quadratic import Quadratic
from metabench.probes.base import Part, Probe
from metabench.records.rows import LEVELS, Row, to_table
from metabench.testing.expectations import expect, expect_refused


def check_probe(probe: Probe, seed: int = 0) -> None:
    """Check a probe against its contract: tidy rows, findings and figure from the table alone.

    Settings that count something are refused below zero.
    """
    from matplotlib.figure import Figure

    expect_refused(probe)
    family = Quadratic(dim=4)
    theta = family.theta(seed)
    subject = Subject(family.problem(), family.sample, MAML(steps=2), theta)
    rows = probe.measure(subject, seed)
    expect(bool(rows), "it measures no rows")
    for row in rows:
        expect(isinstance(row, Row), f"a row is a {type(row).__name__}, not a metabench.Row")
        finite = all(x is None or math.isfinite(x) for x in (row.at, row.value, row.low, row.high))
        expect(finite, f"{row.quantity} is not finite; give None and a status")
    again = [row for row in probe.measure(subject, seed) if "seconds" not in row.quantity]
    expect(again == [row for row in rows if "seconds" not in row.quantity], "two calls differ")
    if probe.splittable:
        _expect_merged(probe, subject, seed, rows)
    table = to_table(rows)
    for finding in probe.find(table):
        expect(finding.level in LEVELS, f"a finding's level is {finding.level!r}")
    probe.draw(table, Figure().subplots())


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
