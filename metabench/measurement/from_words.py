"""A measurement from the words of the command line: names, files, `KEY=VALUE`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metabench.algorithms.base import Estimator
from metabench.algorithms.black_box import BlackBox
from metabench.estimation.vectorization import Vectorization
from metabench.families.base import Family
from metabench.families.own_problem import family_of_problem
from metabench.measurement.measurement import Measurement
from metabench.probes.base import Probe
from metabench.problems.problem import Problem
from metabench.settings import fields, registry
from metabench.settings.errors import InvalidInput
from metabench.settings.source_digest import digest_of_source

ROOTS = ("algo", "family", "probe", "compute")


def build(
    probe: str,
    *,
    algo: str = "maml",
    family: str = "sinusoid",
    problem: str | None = None,
    theta: str = "",
    tasks: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    assignments: Sequence[str] = (),
) -> Measurement:
    """Make a measurement from words, with types checked.

    Args:
        probe: a listed name, or a user-defined probe: `my.py:Hello`, `my_pkg:Hello`.
        algo: the same for an algorithm or a BlackBox.
        family: the same for a family.
        problem: `FILE.py:NAME` of a Family, or of a Problem with tasks; replaces `family`.
        theta: a file, or "" for the family's own initial theta.
        tasks: tasks to draw; None takes the default of the probe or the family.
        seed: of all draws.
        device: cpu, cuda or cuda:N.
        dtype: float32 or float64.
        assignments: fields of algo, family, probe or compute, as `algo.steps=5`.

    Raises:
        InvalidInput: if there is no such member, field, file or device.
    """
    chosen = fields.parse(assignments, ROOTS)
    made = family_of(family, problem, chosen["family"])
    if tasks is not None:
        if str(chosen["probe"].get("tasks", tasks)) != str(tasks):
            given = chosen["probe"]["tasks"]
            raise InvalidInput(f"--tasks {tasks} and --set probe.tasks={given} differ; give one.")
        chosen["probe"]["tasks"] = tasks
    measurement = Measurement(
        probe=probe_of(probe, chosen["probe"], made),
        algorithm=algorithm_of(algo, chosen["algo"]),
        family=made,
        compute=fields.make(Vectorization, chosen["compute"], "compute"),
        seed=seed,
        dtype=dtype,
        device=device,
        theta=theta,
    )
    measurement.require_device()
    return measurement


def probe_of(name: str, settings: Mapping[str, Any], family: Family, group: str = "probe") -> Probe:
    """Make a probe; its number of tasks is the family's unless it is set or the probe has its own.

    Args:
        name: a listed name, `my.py:Hello` or `my_pkg:Hello`.
        settings: the probe's fields, whose values may still be text.
        family: whose number of tasks it draws.
        group: the key that the settings stand under, for messages.
    """
    cls = fields.class_of("probes", name)
    made: Probe = fields.build("probes", name, {**tasks_of(family, cls), **settings}, group)
    return made


def tasks_of(family: Family, probe: type[Probe]) -> dict[str, int]:
    """Return the family's number of tasks as a field of a probe that has no default of its own."""
    follows = not probe.has_default_tasks and "tasks" in fields.types_of(probe)
    return {"tasks": family.tasks} if follows else {}


def family_of(name: str, problem: str | None, settings: dict[str, Any]) -> Family:
    """Return a family by name, or the family or problem of a file.

    Args:
        name: a listed name, `my.py:Hello` or `my_pkg:Hello`.
        problem: `FILE.py:NAME` of a Family, or of a Problem with tasks; replaces `name`.
        settings: the family's fields, whose values may still be text.

    Raises:
        InvalidInput: if there is no such family, or it can't take the settings.
    """
    if problem is None:
        made: Family = fields.build("families", name, settings)
        return made
    if ":" not in problem:
        raise InvalidInput(
            f"--problem takes FILE.py:NAME, a Family in that file; given {problem!r}."
        )
    found: Any = registry.load("families", problem)
    if isinstance(found, type):
        found = fields.make(found, settings, problem)
    elif settings:
        raise InvalidInput(
            f"{problem} is an instance, so --set can't change it; set {', '.join(settings)} in its "
            "file."
        )
    if isinstance(found, Problem):
        return family_of_problem(found, _address(problem))
    if not isinstance(found, Family):
        raise InvalidInput(
            f"{problem} is a {type(found).__name__}; it must be a metabench.Problem with tasks=, "
            "or a metabench.Family, with problem(), theta(seed) and sample(address, seed)."
        )
    return found


def algorithm_of(name: str, settings: dict[str, Any]) -> Estimator:
    """Return an algorithm by name, or the BlackBox of a file."""
    found: Any = registry.load("algorithms", name) if ":" in name else None
    if not isinstance(found, BlackBox):
        made: Estimator = fields.build("algorithms", name, settings)
        return made
    if settings:
        raise InvalidInput(
            f"{name} is a black box; it has no field {next(iter(settings))!r} to set."
        )
    return dataclasses.replace(found, name=_address(name))


def split_assignments(
    assignments: Sequence[str], roots: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the settings of these groups, parsed, and the assignments to other groups.

    >>> split_assignments(["outer.batch=4", "algo.steps=5"], ["outer"])
    ({'outer': {'batch': '4'}}, ['algo.steps=5'])
    """
    parsed = fields.parse(assignments, (*roots, *(root for root in ROOTS if root != "probe")))
    others = [given for given in assignments if given.partition(".")[0].strip() not in roots]
    return {root: parsed[root] for root in roots}, others


def _address(target: str) -> str:
    """Return a target with a digest of its code, so that changed code is another measurement."""
    file, _, name = target.rpartition(":")
    path = Path(file)
    if not path.is_file():
        return target
    return f"{path.name}@{digest_of_source(path)}:{name}"
