"""From a change in words to the subject and the outer loop that it makes."""

from __future__ import annotations

from typing import Any

from metabench.algorithms.base import Algorithm, Estimator
from metabench.diagnosis.trial import Trial
from metabench.estimation.estimator_on_tasks import Subject
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.settings import fields, registry
from metabench.settings.errors import InvalidInput


def apply_change(probe: Trial, subject: Subject, change: str) -> tuple[Subject, OuterOptimizer]:
    """Give the changed subject and outer loop.

    Raises:
        InvalidInput: if no such change can be made here.
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


def _other(own: Estimator, name: str) -> Algorithm:
    """Make another algorithm with the same inner loop."""
    if not isinstance(own, Algorithm):
        raise InvalidInput("A black box has no inner loop that another algorithm could take over.")
    made: Algorithm = registry.load("algorithms", name)(own.steps, own.inner_optimizer, own.batch)
    return made


def _set(subject: Subject, keys: list[str], value: str) -> Estimator:
    """Make the algorithm with one field, which may lie deep, changed."""
    held: dict[str, Any] = fields.settings(subject.algorithm)
    place = held
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    made: Estimator = fields.make(type(subject.algorithm), held, "algo")
    return made
