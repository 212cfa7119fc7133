"""A recorder for any outer loop, which saves the last steps when a meta-gradient is unusable."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from metabench.algorithms.base import Estimator
from metabench.algorithms.black_box import BlackBox
from metabench.outer_loop import divergence_report
from metabench.outer_loop.last_steps import RingBuffer
from metabench.problems.problem import Problem
from metabench.problems.samplers import as_task
from metabench.problems.tasks import Address, Task
from metabench.records.rows import Row
from metabench.settings import fields
from metabench.settings.errors import InvalidInput

WINDOW = 100  # steps whose median norm a meta-gradient is compared with
FEWEST_STEPS = 20  # for that median


class MetaGradientDiverged(RuntimeError):
    """Raised for an unusable meta-gradient; `began` is the row of the operation that failed first.

    >>> import metabench as mb
    >>> issubclass(mb.MetaGradientDiverged, RuntimeError)
    True
    >>> mb.MetaGradientDiverged("Step 5: the meta-gradient diverged.", began=None).began is None
    True
    """

    def __init__(self, sentence: str, began: Row | None) -> None:
        """Store the message and the row."""
        super().__init__(sentence)
        self.began = began


class Recorder:
    """Record the last steps of your own outer loop: create one before it, call `watch` in it.

    It keeps theta, task addresses and torch's random state of the last steps. If a meta-gradient is
    not finite, or its norm exceeds `explode` times the median of the last hundred, `watch` finds
    the first operation that failed, saves the batch for `metabench replay FILE`, and raises.

    >>> import torch
    >>> import metabench as mb
    >>> family = mb.Quadratic()
    >>> theta, maml = family.theta(seed=0), mb.MAML()
    >>> recorder = mb.Recorder(family.problem(), maml, "loop.safetensors")  # before the loop
    >>> tasks = family.sample(mb.Address.fresh(0, 4), seed=0)
    >>> gradient = torch.ones_like(theta)  # however you compute it
    >>> recorder.watch(theta, tasks, gradient)  # before each update
    """

    def __init__(
        self, problem: Problem, algorithm: Estimator, path: str | Path, explode: float = 1e4
    ) -> None:
        """Start a recording.

        Args:
            problem: whose meta-gradient the loop follows.
            algorithm: the estimator, by which a failure is reproduced.
            path: file to save the recording to.
            explode: largest usable ratio of |g| and its recent median.
        """
        self._problem, self._algorithm = problem, algorithm
        self._path, self._explode = Path(path), explode
        self._ring, self._norms, self._step = RingBuffer(), deque[float](maxlen=WINDOW), 0

    def watch(
        self,
        theta: Tensor | Mapping[str, Tensor],
        tasks: Any,
        gradient: Tensor | Mapping[str, Tensor],
        address: Address | None = None,
    ) -> None:
        """Record one outer step; call it before the update.

        Args:
            theta: by name or flat `(Q,)`, before the update.
            tasks: the batch, `(support, query)` with a leading T.
            gradient: the mean meta-gradient, by name or flat `(Q,)`.
            address: of the tasks, if they have one.

        Raises:
            MetaGradientDiverged: if the gradient is unusable; it names the operation that failed.
            InvalidInput: if a name or a shape doesn't match the problem's theta.
        """
        at, flat_gradient = self._flat(theta), self._flat(gradient)
        self._ring.add(self._step, at, address)
        norm = float(flat_gradient.norm())
        enough = len(self._norms) >= FEWEST_STEPS
        usual = statistics.median(self._norms) if enough else float("inf")
        kind = divergence_report.failure_kind(norm, usual, self._explode)
        if kind:
            raise self._stop(kind, as_task(tasks), address)
        self._norms.append(norm)
        self._step += 1

    def _stop(self, kind: str, tasks: Task, address: Address | None) -> MetaGradientDiverged:
        at = self._ring.snapshots[-1].theta
        failed = f"Step {self._step}: the meta-gradient {kind}. "
        about: dict[str, Any] = {"kind": kind, "step": self._step}
        if not isinstance(self._algorithm, BlackBox):  # which a spec can't describe
            about["spec"] = {"algo": fields.to_json("algorithms", self._algorithm)}
        self._ring.save(self._path, tasks, about)
        where = f" Replay it: metabench replay {self._path} --problem FILE.py:NAME"
        if not divergence_report.is_finite(at):
            return MetaGradientDiverged(
                f"{failed}theta itself is not finite: {self._not_finite(at)}.{where}", None
            )
        healthy = self._ring.oldest_theta()
        cause = divergence_report.find_cause(self._problem, self._algorithm, at, tasks, healthy)
        number = None if address is None else int(address.task[cause.task])
        began = divergence_report.cause_row(cause, number)
        return MetaGradientDiverged(
            f"{failed}{divergence_report.cause_sentence(began)}{where}", began
        )

    def _not_finite(self, theta: Tensor) -> str:
        segments = self._problem.layouts.theta.segments()
        return ", ".join(
            name for name, part in segments if not divergence_report.is_finite(theta[part])
        )

    def _flat(self, given: Tensor | Mapping[str, Tensor]) -> Tensor:
        layout = self._problem.layouts.theta
        if isinstance(given, Mapping):
            return layout.flatten(given).detach()
        if given.shape != (layout.size,):
            raise InvalidInput(
                f"The recorder was given {tuple(given.shape)}; this problem's theta is one vector "
                f"of {layout.size} numbers, or a dictionary of {', '.join(layout.names)}."
            )
        return given.detach()
