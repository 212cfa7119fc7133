"""A recorder for any outer loop: what the last steps saw, saved once one of them goes wrong."""

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

WINDOW = 100  # steps whose median norm a meta-gradient is held against
FEWEST = 20  # steps before which that median says nothing


class MetaGradientDiverged(RuntimeError):
    """A meta-gradient that can't be used; `began` is the row that says where it began."""

    def __init__(self, sentence: str, began: Row | None) -> None:
        """Keep the row beside the sentence."""
        super().__init__(sentence)
        self.began = began


class Recorder:
    """Watch an outer loop of one's own: two lines, one before the loop and one inside.

    It holds theta, task addresses and torch's random state of the last steps. A meta-gradient that
    isn't finite, or whose norm is `explode` times the median of the last hundred, is examined, and
    saved with its batch: `metabench replay FILE` replays it.
    """

    def __init__(
        self, problem: Problem, algorithm: Estimator, path: str | Path, explode: float = 1e4
    ) -> None:
        """Say what the meta-gradient is of, and where to save what is recorded."""
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
        """Record one outer step, ahead of the update.

        Args:
            theta: by name, or flat `(Q,)`, as it was when the gradient was taken.
            tasks: the batch, (support, query) with a leading T.
            gradient: the meta-gradient, as theta is given.
            address: of the tasks, where they have one.

        Raises:
            Exploded: if the gradient can't be used, with the place where that began.
            InvalidInput: if a name or a shape doesn't fit the problem.
        """
        at, slope = self._flat(theta), self._flat(gradient)
        self._ring.add(self._step, at, address)
        norm = float(slope.norm())
        enough = len(self._norms) >= FEWEST
        usual = statistics.median(self._norms) if enough else float("inf")
        kind = divergence_report.failure_kind(norm, usual, self._explode)
        if kind:
            raise self._stop(kind, as_task(tasks), address)
        self._norms.append(norm)
        self._step += 1

    def _stop(self, kind: str, tasks: Task, address: Address | None) -> MetaGradientDiverged:
        at = self._ring.snapshots[-1].theta
        told = f"Step {self._step}: the meta-gradient {kind}. "
        about: dict[str, Any] = {"kind": kind, "step": self._step}
        if not isinstance(self._algorithm, BlackBox):  # which only its own file can make again
            about["spec"] = {"algo": fields.to_json("algorithms", self._algorithm)}
        self._ring.save(self._path, tasks, about)
        where = f" Replay it: metabench replay {self._path} --problem FILE.py:NAME"
        if not divergence_report.is_finite(at):
            return MetaGradientDiverged(
                f"{told}theta itself isn't finite: {self._unfit(at)}.{where}", None
            )
        healthy = self._ring.oldest_theta()
        cause = divergence_report.find_cause(self._problem, self._algorithm, at, tasks, healthy)
        number = None if address is None else int(address.task[cause.task])
        began = divergence_report.cause_row(cause, number)
        return MetaGradientDiverged(
            f"{told}{divergence_report.cause_sentence(began)}{where}", began
        )

    def _unfit(self, theta: Tensor) -> str:
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
