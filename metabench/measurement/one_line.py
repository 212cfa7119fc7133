"""A measurement in one line of Python, with the numbers of the command of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metabench.measurement.checked_before import CHECKED_BEFORE
from metabench.measurement.from_objects import (
    GivenAlgorithm,
    GivenProbe,
    GivenProblem,
    build,
    grouped,
)
from metabench.measurement.from_words import ROOTS
from metabench.measurement.result import Result, result_of
from metabench.probes.base import Progress, no_progress
from metabench.probes.verify import Verify
from metabench.problems.checkpoints import Weights
from metabench.settings.errors import InvalidInput
from metabench.settings.user_errors import user_errors

CHECKED = "The checks of the meta-gradient were made before for this subject, and not made again."

KEYS = "A key with a dot stands in settings: settings={'algo.steps': 5}."


def measure(
    problem: GivenProblem = "sinusoid",
    probe: GivenProbe = "variance",
    *,
    algo: GivenAlgorithm = "maml",
    theta: Weights | None = None,
    tasks: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    settings: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
    **fields: Any,
) -> Result:
    """Check the meta-gradient, measure it with a probe, and return the result.

    The numbers are those of `metabench PROBE` with the same settings, bit for bit, except seconds.
    Algorithm, family and probe are names, classes or instances. The checks are made once for each
    subject (algorithm, problem, theta, seed): the result's `notes` say where they were made before.

    Args:
        problem: a family, a Problem with tasks, or a name: `sinusoid`, `my.py:problem`.
        probe: a probe: `variance`, `verify`, .. (`metabench list`), `mb.Variance(batch=4)`.
        algo: an algorithm: `maml`, `mb.MAML(steps=5)`, a BlackBox, `my.py:mine`.
        theta: a module, a state dict, a flat vector `(Q,)` or a file; None is the initial theta.
        tasks: tasks to draw [tasks]; None takes the default of the probe or the family.
        seed: of all draws.
        device: cpu, cuda or cuda:N.
        dtype: float32 or float64.
        settings: values by key, as `--set` takes them: `{"algo.steps": 5, "family.shots": 1}`.
        progress: called with the number of tasks done and of all tasks.
        fields: fields of the probe: `batch=4`.

    Returns:
        The result, with `.table`, `.findings`, `.verdict`, `.figure()`, `.save(path)`, and every
        quantity by its name: `.noise_scale`.

    >>> import metabench as mb
    >>> result = mb.measure("quadratic", probe="verify", tasks=2, thorough=False)
    >>> result.verdict
    'No problem found, 1 fine (verified).'

    Raises:
        InvalidInput: if there is no such member, field, file or device, or the meta-gradient can't
            be computed; says what to change.
    """
    chosen = grouped({**(settings or {}), **{f"probe.{key}": fields[key] for key in fields}}, ROOTS)
    try:
        asked = build(
            problem, probe, algo=algo, theta=theta, tasks=tasks, seed=seed, device=device,
            dtype=dtype, chosen=chosen,
        )  # fmt: skip
    except InvalidInput as error:
        if error.path and error.path[-1] in fields and "." in str(error).partition(" Known")[0]:
            raise InvalidInput(f"{error} {KEYS}") from error
        raise
    settled = asked.resolved()
    if isinstance(settled.probe, Verify):
        return result_of(asked, settled, settled.measure(progress), ())
    with user_errors():
        checks, before = CHECKED_BEFORE.rows(
            settled, lambda: Verify(thorough=False).measure(settled.subject(), seed)
        )
    rows = settled.measure(progress, checks=checks)
    return result_of(asked, settled, rows, (CHECKED,) if before else ())
