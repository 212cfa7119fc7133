"""A checkup in one line of Python: what the command `diagnose` does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metabench.diagnosis.checkup_result import COMMAND, CheckupResult
from metabench.diagnosis.plan import Plan
from metabench.diagnosis.save import Folder
from metabench.measurement.clock import Clock
from metabench.measurement.from_objects import GivenAlgorithm, GivenProblem, build, grouped
from metabench.measurement.from_words import ROOTS
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.probes.base import Progress, no_progress
from metabench.problems.checkpoints import Weights
from metabench.records import run_folders
from metabench.records.provenance import provenance
from metabench.settings import amounts, fields, registry


def diagnose(
    problem: GivenProblem = "sinusoid",
    *,
    algo: GivenAlgorithm = "maml",
    theta: Weights | None = None,
    budget: str = "3m",
    steps: int = 8,
    probes: Sequence[str] = (),
    tasks: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    settings: Mapping[str, Any] | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress = no_progress,
) -> CheckupResult:
    """Run all probes within a time budget, rank what is wrong, and try changes.

    Args:
        problem: a family, a Problem with tasks, or a name: `sinusoid`, `my.py:problem`.
        algo: an algorithm: `maml`, `mb.MAML(steps=5)`, a BlackBox, `my.py:mine`.
        theta: a module, a state dict, a flat vector `(Q,)` or a file; None is the initial theta.
        budget: total time: `90s`, `3m`, `1h`.
        steps: outer steps over which each change is tried; 0 tries none.
        probes: names of the probes to run; empty runs all.
        tasks: most tasks of a probe without a default of its own.
        seed: of all draws.
        device: cpu, cuda or cuda:N.
        dtype: float32 or float64.
        settings: values by key: `{"outer.batch": 4, "algo.steps": 5, "variance.tasks": 512}`.
        folder: keeps what was measured there, so that the same call resumes; None keeps nothing.
        progress: called with milliseconds used and in all.

    Returns:
        The result, with `.faults`, `.findings`, `.verdict`, `.table`, `.save(path)` and `.parts`.

    >>> import metabench as mb
    >>> found = mb.diagnose("quadratic", budget="20s", probes=["verify"], steps=0)
    >>> found.coverage
    '1 of 1 probes measured.'

    Raises:
        InvalidInput: if there is no such member, field, file or device, or the meta-gradient can't
            be computed; says what to change.
    """
    seconds = amounts.seconds(budget)
    own = ("outer", "trial", *registry.members("probes"))
    roots = (*own, *(root for root in ROOTS if root != "probe"))
    groups = grouped(settings or {}, roots)
    chosen = {name: groups.pop(name) for name in own}
    measurement = build(
        problem, "verify", algo=algo, theta=theta, seed=seed, device=device, dtype=dtype,
        chosen=groups,
    ).resolved()  # fmt: skip
    outer: OuterOptimizer = fields.make(OuterOptimizer, chosen.pop("outer"), "outer")
    plan = Plan(measurement, outer, steps, tuple(probes), tasks, chosen)
    keeper = None
    if folder is not None:
        run_folders.make_folder(Path(folder))
        keeper = Folder(Path(folder), {**provenance(device), "command": COMMAND})
    clock = Clock(seconds, lambda gone, total: progress(int(1000 * gone), int(1000 * total)))
    checkup = plan.check(clock, keeper)
    about = measurement.adapted_and_learned()
    return CheckupResult(checkup, {**plan.spec, "budget": budget}, about, device)
