"""Measurement with a probe after a check of the meta-gradient."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

from metabench.probes.base import Probe, Progress, no_progress
from metabench.probes.verify import Verify
from metabench.records.rows import Row
from metabench.settings.errors import InvalidInput
from metabench.settings.user_errors import in_one_line, user_errors, user_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from metabench.estimation.estimator_on_tasks import Subject


def measure_checked(
    probe: Probe,
    subject: Subject,
    seed: int = 0,
    progress: Progress = no_progress,
    parts: Sequence[Mapping[str, NDArray[Any]]] = (),
    checks: Sequence[Row] = (),
) -> list[Row]:
    """Check that the meta-gradient is correct, then run the probe; the checks' rows come last.

    `probe.measure` alone omits the checks, for loops that check once.

    Args:
        probe: to run.
        subject: problem, sampler, algorithm and theta.
        seed: of the tasks.
        progress: called with steps done and in all.
        parts: arrays of all parts from `probe.measure_part`, in order; they are merged, not
            measured again.
        checks: rows of the checks of this subject, if they have been made before.

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=2)
    >>> subject = mb.Subject(family.problem(), family.sample, mb.MAML(), family.theta(0))
    >>> rows = mb.measure_checked(mb.Verify(tasks=2, thorough=False), subject)
    >>> {row.quantity for row in rows}
    {'check'}

    Raises:
        InvalidInput: if the meta-gradient can't be computed; says what to change.
    """
    with user_errors():
        if isinstance(probe, Verify):
            return probe.measure(subject, seed, progress)
        checks = checks or Verify(thorough=False).measure(subject, seed)
        if why := next((row.of for row in checks if row.quantity == "looped"), ""):
            subject = replace(subject, compute=subject.compute.looped(why))
        with _probe_errors(probe):
            if parts:
                rows = probe.merge(subject, seed, parts, progress)
            else:
                rows = probe.measure(subject, seed, progress)
    if not (isinstance(rows, list) and all(isinstance(row, Row) for row in rows)):
        raise InvalidInput(
            f"{type(probe).__name__}.measure returned {_described(rows)}; it must return a list of "
            'metabench.Row: [mb.Row("loss", at=1, value=0.5)].'
        )
    _require_values(probe, rows)
    return [*rows, *checks]


@contextmanager
def _probe_errors(probe: Probe) -> Generator[None]:
    """Re-raise what a user's probe raises as a sentence with the line in the user's file."""
    try:
        yield
    except (InvalidInput, OSError, MemoryError):
        raise
    except Exception as error:
        out_of_memory = "memory" in str(error)  # torch has no one class for it
        if out_of_memory or type(probe).__module__.startswith("metabench."):
            raise
        raise InvalidInput(
            f"{type(probe).__name__}.measure raised {in_one_line(error)}.{user_line(error)}"
        ) from error


def _require_values(probe: Probe, rows: Sequence[Row]) -> None:
    """Refuse values of a user's rows that no table holds.

    Raises:
        InvalidInput: naming the value and what it must be.
    """
    if type(probe).__module__.startswith("metabench."):
        return
    for row in rows:
        for name, value in row._asdict().items():
            text = name in ("quantity", "of", "layer", "status")
            number = value is None or (isinstance(value, Real) and math.isfinite(value))
            if not (isinstance(value, str) if text else number):
                kind = "a text" if text else "a finite number, or None with a status that says why"
                raise InvalidInput(
                    f"{type(probe).__name__}.measure returned a row whose {name} is "
                    f"{str(value)[:40]!r}; it must be {kind}."
                )


def _described(rows: object) -> str:
    if not isinstance(rows, list):
        return f"a {type(rows).__name__}"
    return f"a list with a {next(type(row).__name__ for row in rows if not isinstance(row, Row))}"
