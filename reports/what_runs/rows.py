"""One row: a module, a loss, an algorithm and a batching, held to plain autograd in float64.

The module and the loss are given in float32, as their user has them, and measured at theta in
float64, as `verify` does.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

import metabench as mb
from reports.what_runs.case import Case
from reports.what_runs.references import ALGORITHMS, truth, works_by_autograd

TASKS = 2
EXACT = 1e-10  # relative error
TIMES_NOISE = 10
MOST_NOISE = 1e-4  # above, a call isn't noisy but random
DRAWS = 3  # of the noise floor
Parts = list[dict[str, Tensor]]  # of each task, the gradient by name


class Row(NamedTuple):
    """What became of one combination."""

    table: str  # modules, losses or algorithms
    module: str
    loss: str
    algorithm: str
    batching: str
    outcome: str = ""  # exact, noise, sentence, wrong, traceback, not installed
    error: float | None = None  # relative, the largest of the tasks
    noise: float | None = None  # the floor, where the error is above EXACT
    autograd: str = ""  # of a sentence: what plain autograd of the same module is
    said: str = ""  # the sentence, or the first line of the error


@dataclass(frozen=True)
class Spec:
    """One combination that is to be measured."""

    table: str
    case: Case
    algorithm: str
    batching: str
    loss: str = "its own"  # the name of the loss

    @property
    def row(self) -> Row:
        """The row before anything is known of it."""
        return Row(self.table, self.case.name, self.loss, self.algorithm, self.batching)


def measured(spec: Spec) -> Row:
    """Measure one row."""
    if spec.case.missing:
        return spec.row._replace(outcome="not installed", said=spec.case.needs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            subject = subject_of(spec)
            found = _parts(subject)
        except mb.InvalidInput as error:
            return _refused(spec, error)
        except Exception as error:
            return _explained(spec, error)
        return _compared(spec, subject, found)


def subject_of(spec: Spec) -> mb.Subject:
    """Build what is measured, at a theta whose appended parts are not constant."""
    algorithm: Any = ALGORITHMS[spec.algorithm]
    if spec.case.head_by_name and isinstance(algorithm, mb.ANIL):
        algorithm = replace(algorithm, head=(spec.case.head,))
    problem = mb.Problem.from_module(spec.case.net(), spec.case.loss)
    assert problem.theta is not None
    compute = mb.Vectorization(spec.batching, engine="eager")

    def sample(indices: NDArray[np.int64], seed: int) -> Any:
        tasks = [(drawn(spec.case, int(i), 0), drawn(spec.case, int(i), 1)) for i in indices]
        return tree_map(lambda *leaves: torch.stack(leaves), *tasks)

    tasks = mb.Indexed(sample)
    subject = mb.Subject(problem, tasks, algorithm, problem.theta.double(), compute)
    return subject.at(_moved(subject.theta, 1e-2, 0))


def drawn(case: Case, index: int, part: int) -> Any:
    """Draw the support (0) or query set (1) of one task."""
    return case.draw(torch.Generator().manual_seed(2 * index + part))


def _parts(subject: mb.Subject) -> Parts:
    layout = subject.problem.layouts.theta
    found = subject.meta_gradients(mb.Address.fresh(0, TASKS), 0).grad
    return [layout.unflatten(grad) for grad in found]


def _compared(spec: Spec, subject: mb.Subject, found: Parts) -> Row:
    theta = subject.problem.layouts.theta.unflatten(subject.theta)
    tasks = [(drawn(spec.case, i, 0), drawn(spec.case, i, 1)) for i in range(TASKS)]
    try:
        expected = [truth(spec.algorithm, spec.case, theta, *task) for task in tasks]
    except Exception as error:
        text = f"the reference raises {type(error).__name__}: {_first_line(error)}"
        return spec.row._replace(outcome="wrong", said=text)
    off = _largest_error(found, expected)
    if off <= EXACT:
        return spec.row._replace(outcome="exact", error=off)
    noise = max(
        _largest_error(_parts(subject.at(_moved(subject.theta, spec.case.unit, draw))), found)
        for draw in range(1, DRAWS + 1)
    )
    outcome = "noise" if off <= TIMES_NOISE * min(noise, MOST_NOISE) else "wrong"
    return spec.row._replace(outcome=outcome, error=off, noise=noise)


def _explained(spec: Spec, error: Exception) -> Row:
    """Take the sentence of `verify`, which precedes every measurement, or report a traceback."""
    try:
        mb.Verify(tasks=TASKS, thorough=False).measure(subject_of(spec), 0, lambda *_: None)
    except mb.InvalidInput as sentence:
        return _refused(spec, sentence)
    except Exception as other:
        return _traceback(spec, other)
    return _traceback(spec, error)


def _traceback(spec: Spec, error: Exception) -> Row:
    text = f"{type(error).__name__}: {_first_line(error)}"
    return spec.row._replace(outcome="traceback", said=text)


def _refused(spec: Spec, error: mb.InvalidInput) -> Row:
    autograd = works_by_autograd(spec.case, drawn(spec.case, 0, 0), drawn(spec.case, 0, 1))
    return spec.row._replace(outcome="sentence", autograd=autograd, said=str(error))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def _moved(theta: Tensor, unit: float, seed: int) -> Tensor:
    """Return theta (1 + u z) with normal z."""
    generator = torch.Generator().manual_seed(seed)
    away = torch.randn(theta.shape, generator=generator, dtype=theta.dtype)
    return theta * (1 + unit * away)


def _largest_error(found: Parts, expected: Parts) -> float:
    """Return the largest relative error of a task; infinite where names or numbers are missing."""
    errors = []
    for one, other in zip(found, expected, strict=True):
        if one.keys() != other.keys():
            return float("inf")
        off = torch.cat([(one[name] - other[name]).reshape(-1) for name in other])
        norm = torch.cat([value.reshape(-1) for value in other.values()]).norm()
        errors.append(float(off.norm() / norm))
    return max(error if error == error else float("inf") for error in errors)
