"""A measurement from Python: names, classes or instances, and settings by key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from metabench.algorithms.base import Estimator
from metabench.estimation.vectorization import Vectorization
from metabench.families.base import Family
from metabench.families.own_problem import family_of_problem
from metabench.measurement import from_words
from metabench.measurement.given_theta import given_theta
from metabench.measurement.measurement import Measurement
from metabench.probes.base import Probe
from metabench.problems.checkpoints import Weights
from metabench.problems.problem import Problem
from metabench.settings import fields, registry, synonyms
from metabench.settings.errors import InvalidInput
from metabench.settings.nested_keys import put

Settings = Mapping[str, Any]
# An instance, a class, a listed name, or a name in a file: `my.py:Mine`.
GivenProblem = Problem | Family | type[Family] | str
GivenAlgorithm = Estimator | type[Estimator] | str
GivenProbe = Probe | type[Probe] | str


def build(
    problem: GivenProblem,
    probe: GivenProbe,
    *,
    algo: GivenAlgorithm = "maml",
    theta: Weights | None = None,
    tasks: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    chosen: Mapping[str, dict[str, Any]] | None = None,
) -> Measurement:
    """Make a measurement from objects or names, with types checked.

    Args:
        problem: a family, a Problem with tasks, or the name of one: `sinusoid`, `my.py:problem`.
        probe: a probe or its name.
        algo: an algorithm, a BlackBox or its name.
        theta: a module, a state dict, a flat vector or a file; None is the initial theta.
        tasks: tasks to draw; None takes the default of the probe or the family.
        seed: of all draws.
        device: cpu, cuda or cuda:N.
        dtype: float32 or float64.
        chosen: settings of algo, family, probe and compute, as `grouped` returns them.

    Raises:
        InvalidInput: if there is no such member, field, file or device.
    """
    groups = {**{root: {} for root in from_words.ROOTS}, **(chosen or {})}
    family = _family(problem, groups["family"])
    own = _with_tasks(groups["probe"], tasks)
    measurement = Measurement(
        probe=_probe(probe, own, family),
        algorithm=_algorithm(algo, groups["algo"]),
        family=family,
        compute=fields.make(Vectorization, groups["compute"], "compute"),
        seed=seed,
        dtype=dtype,
        device=device,
        theta=given_theta(theta),
    )
    measurement.require_device()
    return measurement


def grouped(settings: Settings, roots: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return settings by group; keys are dotted, nested, or both.

    Args:
        settings: values by key, as `--set` takes them.
        roots: the groups there are.

    >>> grouped({"algo.steps": 5, "algo": {"batch": 4}}, ["algo", "probe"])
    {'algo': {'steps': 5, 'batch': 4}, 'probe': {}}

    Raises:
        InvalidInput: for another group, with the key that is meant.
    """
    made: dict[str, dict[str, Any]] = {root: {} for root in roots}
    for path, value in _leaves(settings, ()):
        if path[0] not in roots or len(path) < 2:
            key = ".".join(path)
            raise synonyms.unknown_group("group", key, roots, f" to set in {key!r}")
        put(made[path[0]], path[1:], value)
    return made


def _leaves(settings: Settings, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    """Return the paths and the values of nested settings; a member is its name and its fields."""
    found = []
    for key, value in settings.items():
        here = (*path, *str(key).split("."))
        if isinstance(value, Mapping):
            found += _leaves(value, here)
        elif (kind := _kind(value)) is not None:
            found += _leaves(fields.to_json(kind, value), here)
        elif here[-1] == "name" and len(here) > 2:
            found.append((here[:-1], value))
        elif here[-1] != "version":
            found.append((here, value))
    return found


def _kind(value: object) -> str | None:
    """Return the kind of an inner optimizer or solver, None of anything else."""
    bases = (base.__name__ for base in type(value).__mro__)
    return next((fields.NESTED[name] for name in bases if name in fields.NESTED), None)


def _with_tasks(settings: dict[str, Any], tasks: int | None) -> dict[str, Any]:
    if tasks is None:
        return settings
    if not isinstance(tasks, int):
        raise InvalidInput(
            f"tasks is a {type(tasks).__name__}; it must be a number of tasks. A sampler "
            "belongs to the problem: problem._replace(tasks=...)."
        )
    if settings.get("tasks", tasks) != tasks:
        raise InvalidInput(f"tasks is {tasks} and probe.tasks is {settings['tasks']}; give one.")
    return {**settings, "tasks": tasks}


def _family(given: object, settings: dict[str, Any]) -> Family:
    if isinstance(given, str):
        own = given if ":" in given else None
        return from_words.family_of(given, own, settings)
    if isinstance(given, Problem):
        _refuse_settings(given, settings, "family")
        return family_of_problem(given)
    made: Family = _member("families", given, settings, Family)
    return made


def _algorithm(given: object, settings: dict[str, Any]) -> Estimator:
    if isinstance(given, str):
        return from_words.algorithm_of(given, settings)
    made: Estimator = _member("algorithms", given, settings, Estimator)
    return made


def _probe(given: object, settings: dict[str, Any], family: Family) -> Probe:
    if isinstance(given, str):
        return from_words.probe_of(given, settings, family)
    if isinstance(given, type) and issubclass(given, Probe):
        settings = {**from_words.tasks_of(family, given), **settings}
    made: Probe = _member("probes", given, settings, Probe)
    return made


def _member(kind: str, given: object, settings: dict[str, Any], base: type[Any]) -> Any:
    """Return an instance, or make one of a class.

    Args:
        kind: of member, a key of `registry.KINDS`.
        given: the instance or the class.
        settings: fields of a class; an instance takes none.
        base: what it must derive from.
    """
    group = synonyms.KIND_GROUPS[kind]
    if isinstance(given, type) and issubclass(given, base):
        return fields.make(given, settings, given.__name__, group)
    if not isinstance(given, base):
        word = registry.KINDS[kind][1]
        known = ", ".join(sorted(registry.members(kind)))
        raise InvalidInput(
            f"{_article(given)} is no {word}; give an object or a class derived from "
            f"metabench.{base.__name__}, or a name: {known}."
        )
    _refuse_settings(given, settings, group)
    return given


def _refuse_settings(given: object, settings: Settings, group: str) -> None:
    """Refuse settings for what is an instance already."""
    if not settings:
        return
    name, listed = type(given).__name__, ", ".join(f"{group}.{key}" for key in settings)
    change = "dataclasses.replace" if dataclasses.is_dataclass(given) else "its constructor"
    raise InvalidInput(
        f"The {name} is an instance already, so {listed} can't be set; change it with {change}, or "
        f"give the class {name}."
    )


def _article(given: object) -> str:
    if isinstance(given, type):
        return f"The class {given.__name__}"
    return f"The object of type {type(given).__name__}"
