"""Application of a change such as `algo.steps=5` to a subject and its outer loop."""

from __future__ import annotations

from typing import Any

from metabench.algorithms.base import Algorithm, Estimator
from metabench.diagnosis.trial import Trial
from metabench.estimation.estimator_on_tasks import Subject
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.settings import fields, registry
from metabench.settings.errors import InvalidInput


def apply_change(probe: Trial, subject: Subject, change: str) -> tuple[Subject, OuterOptimizer]:
    """Return the changed subject and outer loop.

    Args:
        probe: holds the settings of the outer loop.
        subject: what is trained.
        change: `algo.FIELD=VALUE`, `algo=NAME`, `outer.FIELD=VALUE` or `shots=x2`.

    Raises:
        InvalidInput: if the change is of no such form, or cannot be applied.
    """
    path, _, value = change.partition("=")
    root, *keys = path.split(".")
    if root == "outer" and len(keys) == 1:
        return subject, probe.outer_loop((f"{keys[0]}={value}",))
    if path == "shots" and value.startswith("x"):
        return subject.with_shots(int(value[1:])), probe.outer_loop()
    if root == "algo" and value:
        algorithm = _other(subject.algorithm, value) if not keys else _set(subject, keys, value)
        return subject.with_algorithm(algorithm), probe.outer_loop()
    raise InvalidInput(
        f"A change is algo.FIELD=VALUE, algo=NAME, outer.FIELD=VALUE or shots=x2; given {change!r}."
    )


def _other(current: Estimator, name: str) -> Algorithm:
    """Return another algorithm with the same inner loop."""
    if not isinstance(current, Algorithm):
        raise InvalidInput("A black box has no inner loop, so no other algorithm can be tried.")
    made: Algorithm = registry.load("algorithms", name)(
        current.steps, current.inner_optimizer, current.batch
    )
    return made


def _set(subject: Subject, keys: list[str], value: str) -> Estimator:
    """Return the algorithm with one field changed, which may be nested."""
    held: dict[str, Any] = fields.settings(subject.algorithm)
    place = held
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    made: Estimator = fields.make(type(subject.algorithm), held, "algo")
    return made
