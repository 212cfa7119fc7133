"""Changes of settings that are worth a trial, those that answer a fault first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from metabench.algorithms.base import Algorithm
from metabench.algorithms.imaml import IMAML
from metabench.diagnosis.causes import CAUSES, Fault
from metabench.measurement.measurement import Measurement
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.problems.samplers import withheld
from metabench.records.rows import Row, from_table
from metabench.settings.fields import settings

if TYPE_CHECKING:
    import pandas as pd

INNER_CLIP_NORM = 10.0  # tried where the inner rate is too large [gradient norm]
LARGEST_BATCH = 1024  # largest B that is tried [tasks]


class Change(NamedTuple):
    """A change of one setting, as a trial writes it."""

    text: str  # algo.inner_optimizer.rate=0.05
    answers: frozenset[str]  # the causes that it could remove


def changes(
    measurement: Measurement,
    outer: OuterOptimizer,
    tables: Mapping[str, pd.DataFrame],
    faults: Sequence[Fault],
) -> list[tuple[str, str]]:
    """Return changes and the causes they answer, those that answer the first fault first.

    Args:
        measurement: the diagnosed problem, algorithm and theta.
        outer: its outer loop.
        tables: tables of the probes, by name; a value that they recommend is tried.
        faults: the faults that were found.

    Returns:
        Pairs such as `("algo.inner_optimizer.rate=0.05", "an inner rate past the edge of
        stability")`; the second is "" for a change that answers no fault.
    """
    found = [fault.cause for fault in faults]
    made = [*_batch(outer, tables), *_clip(measurement, outer, tables, found)]
    if isinstance(measurement.algorithm, Algorithm):
        algorithm = measurement.algorithm
        inner = [*_rate(algorithm, tables), *_length(algorithm), *_other(algorithm)]
        made = [*inner, *_implicit(algorithm, tables), *made]
    if not withheld(measurement.subject().sample):
        made.append(Change("shots=x2", frozenset({"shots", "source"})))

    def place(change: Change) -> int:
        asked = [i for i, cause in enumerate(found) if cause in change.answers]
        return min(asked, default=len(found))

    ordered = sorted(made, key=place)
    return [(c.text, _because(found, c)) for c in ordered]


def _because(found: Iterable[str], change: Change) -> str:
    cause = next((cause for cause in found if cause in change.answers), "")
    return CAUSES.get(cause, cause)


def _rate(algorithm: Algorithm, tables: Mapping[str, pd.DataFrame]) -> list[Change]:
    """Propose the rate at which 95 % of tasks are stable, or half and double the rate."""
    rate = algorithm.inner_optimizer.rate
    answers = frozenset({"rate", "growth", "tails", "curvature"})
    rows = _rows(tables, "spectrum", "stable_rate") + _rows(tables, "explosion", "stable_rate")
    stable = [r.low or r.value for r in rows if 0.9 < (r.at or 0.0) < 1 or r.of == "95 % of tasks"]
    limit = min((value for value in stable if value), default=math.inf)
    if not rate:
        return []
    if rate >= limit:
        return [Change(f"algo.inner_optimizer.rate={0.9 * limit:.2g}", answers)]
    slower = Change(f"algo.inner_optimizer.rate={rate / 2:.2g}", answers)
    faster = (
        [Change(f"algo.inner_optimizer.rate={2 * rate:.2g}", frozenset())]
        if 2 * rate < limit
        else []
    )
    return [slower, *faster]


def _length(algorithm: Algorithm) -> list[Change]:
    K = algorithm.steps
    fewer = [Change(f"algo.steps={K // 2}", frozenset({"growth", "rate"}))] if K > 1 else []
    return [*fewer, Change(f"algo.steps={max(2 * K, 1)}", frozenset({"solver"}))]


def _other(algorithm: Algorithm) -> list[Change]:
    """Propose FOMAML for MAML, and MAML for any other algorithm."""
    from metabench.settings import registry

    own = registry.name_of("algorithms", type(algorithm))
    name, answers = ("fomaml", {"growth"}) if own == "maml" else ("maml", {"estimator", "solver"})
    return [Change(f"algo={name}", frozenset(answers))]


def _implicit(algorithm: Algorithm, tables: Mapping[str, pd.DataFrame]) -> list[Change]:
    """Propose a proximal strength above the most negative curvature, and a longer solve."""
    if not isinstance(algorithm, IMAML):
        return []
    lowest = _rows(tables, "spectrum", "smallest_eigenvalue")
    worst = min((r.low or r.value or 0.0 for r in lowest if r.of != "meta"), default=0.0)
    # the spectrum's inner loss contains the proximal term already
    strength = max(
        algorithm.proximal_strength - 1.2 * min(worst, 0.0), 4 * algorithm.proximal_strength
    )
    made = [Change(f"algo.proximal_strength={strength:.2g}", frozenset({"curvature"}))]
    budget = settings(algorithm.solver).get("steps")
    if budget:
        made.append(Change(f"algo.solver.steps={4 * budget}", frozenset({"solver"})))
    return made


def _batch(outer: OuterOptimizer, tables: Mapping[str, pd.DataFrame]) -> list[Change]:
    """Propose the noise scale if B is below it, else 4 B; and B / 4."""
    B = outer.batch
    scale = next(iter(_rows(tables, "variance", "noise_scale")), None)
    enough = math.ceil(scale.value) if scale and scale.value else 0
    larger = min(enough if enough > B else 4 * B, max(LARGEST_BATCH, 2 * B))
    made = [Change(f"outer.batch={larger}", frozenset({"batch", "source"}))]
    return [*made, *([Change(f"outer.batch={B // 4}", frozenset())] if B >= 4 else [])]


def _clip(
    measurement: Measurement,
    outer: OuterOptimizer,
    tables: Mapping[str, pd.DataFrame],
    found: Sequence[str],
) -> list[Change]:
    """Propose the typical norm of a batch's mean as its limit, and inner clipping."""
    made = []
    mean = next(iter(_rows(tables, "variance", "mean_norm_squared")), None)
    each = next(iter(_rows(tables, "variance", "task_variance")), None)
    if mean and each and mean.value and each.value:
        usual = math.sqrt(max(mean.value, 0.0) + each.value / outer.batch)
        if usual > 0 and usual < outer.clip_norm:
            text = f"outer.clip_norm={usual:.2g}"
            made.append(Change(text, frozenset({"tails", "growth", "outer"})))
    step = getattr(measurement.algorithm, "inner_optimizer", None)
    fast = {"rate", "growth"} & set(found)
    if fast and getattr(step, "clip_norm", 0.0) == math.inf:
        made.append(
            Change(
                f"algo.inner_optimizer.clip_norm={INNER_CLIP_NORM:g}", frozenset({"rate", "growth"})
            )
        )
    return made


def _rows(tables: Mapping[str, pd.DataFrame], probe: str, quantity: str) -> list[Row]:
    if probe not in tables:
        return []
    return [r for r in from_table(tables[probe], quantity, of=None) if r.value is not None]
