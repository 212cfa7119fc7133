"""Checks of subjects that this process has measured already, which are not made again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from metabench.algorithms.black_box import BlackBox
from metabench.families.own_problem import ProblemFamily
from metabench.measurement.measurement import Measurement
from metabench.records.rows import Row
from metabench.settings import fields

MOST_SUBJECTS = 32  # whose checks are kept


class Kept(NamedTuple):
    """Rows of one subject's checks, and the objects that its key names by identity."""

    rows: Sequence[Row]
    objects: tuple[object, ...]  # held, so that no other object gets their identity


class CheckedBefore:
    """The rows of the checks by subject, of the subjects that were measured last."""

    def __init__(self) -> None:
        """Hold none."""
        self._kept: OrderedDict[tuple[Any, ...], Kept] = OrderedDict()

    def rows(
        self, measurement: Measurement, check: Callable[[], Sequence[Row]]
    ) -> tuple[Sequence[Row], bool]:
        """Return the rows of a subject's checks, and whether they had been made before.

        Args:
            measurement: algorithm, family, theta, seed, dtype, device and computation; its probe
                is not used.
            check: makes the checks.
        """
        spec = {key: value for key, value in measurement.spec().items() if key != "probe"}
        objects = _objects(measurement)
        key = (fields.digest(spec), *map(id, objects))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key].rows, True
        rows = check()
        self._kept[key] = Kept(rows, objects)
        if len(self._kept) > MOST_SUBJECTS:
            self._kept.popitem(last=False)
        return rows, False


def _objects(measurement: Measurement) -> tuple[object, ...]:
    """Return what settings don't determine: problems, functions, and classes as they stand."""
    family, algorithm = measurement.family, measurement.algorithm
    return (
        family.given if isinstance(family, ProblemFamily) else type(family),
        algorithm.function if isinstance(algorithm, BlackBox) else type(algorithm),
    )


CHECKED_BEFORE = CheckedBefore()  # of this process
