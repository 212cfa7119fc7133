"""Where a loss stops being finite before any inner step: at phi_0."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.anomaly_mode import set_detect_anomaly
from torch.utils._pytree import tree_leaves

from metabench.algorithms.base import Algorithm
from metabench.autodiff import derivatives
from metabench.autodiff.operation_counts import name_of
from metabench.autodiff.operation_watch import OperationWatch
from metabench.problems.networks.plain_attention import plain_attention
from metabench.problems.tasks import Data, Loss, Task
from metabench.records.rows import Row
from metabench.settings.user_errors import user_line_here

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

MAKERS = (
    "masked_fill",
    "masked_fill_",
    "full",
    "full_like",
    "lift_fresh",
    "fill_",
    "scalar_tensor",
)


def not_finite_at_start(subject: Subject, task: Task, number: int) -> list[Row]:
    """Return a row on what isn't finite at phi_0: a loss, its gradient or its second derivative.

    Args:
        subject: whose losses are looked at.
        task: one whose meta-gradient isn't finite.
        number: its place among the tasks that were checked.
    """
    if not isinstance(subject.algorithm, Algorithm):
        return []
    problem, theta = subject.problem, subject.theta
    phi = problem.init(theta).detach()
    losses = (
        ("inner loss", problem.inner_loss, task.support),
        ("query loss", problem.outer_loss, task.query),
    )
    for name, loss, data in losses:
        if found := _first(loss, phi, theta, data):
            what, where = found
            return [Row("not_finite_at_start", of=f"{what}{name}{where}", at=float(number),
                        status="diverged")]  # fmt: skip
    return []


def _first(loss: Loss, phi: Tensor, theta: Tensor, data: Data) -> tuple[str, str] | None:
    """Return the first derivative of a loss that isn't finite, and the operation it comes from."""
    seen: list[str] = []
    with OperationWatch(_noting(seen)):
        value = loss(phi, theta, data)
    if not torch.isfinite(value):
        return "", f": {seen[0]}" if seen else ""
    gradient, times = derivatives.gradient_with_products(loss, phi, theta, data)
    if not torch.isfinite(gradient).all():
        backward = _backward_of(lambda: derivatives.gradient(loss, phi, theta, data))
        return "gradient of the ", backward
    if not torch.isfinite(times(torch.ones_like(phi))[0]).all():
        return "second derivative of the ", ""
    return None


def _noting(seen: list[str]) -> Callable[[Any, Any, Any, Any], None]:
    """Return a callback that notes operations whose result is the first that isn't finite."""

    def note(operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        name = name_of(operation)
        if seen or name in MAKERS:
            return
        given = (args, kwargs)
        if _any(torch.isnan, out) > _any(torch.isnan, given) or (
            _any(torch.isinf, out) and not _any(_lost, given)
        ):
            seen.append(f"`{name}`{user_line_here()}")

    return note


def _any(fault: Callable[[Tensor], Tensor], held: Any) -> bool:
    """Return whether any number of any tensor has a fault."""
    leaves = [x for x in tree_leaves(held) if isinstance(x, Tensor) and x.is_floating_point()]
    return any(bool(fault(x).any()) for x in leaves)


def _lost(x: Tensor) -> Tensor:
    return ~torch.isfinite(x)


@plain_attention()
def _backward_of(compute: Callable[[], Tensor]) -> str:
    """Return the operation whose derivative torch's anomaly detection blames, "" if none."""
    try:
        with warnings.catch_warnings(), set_detect_anomaly(True):
            warnings.simplefilter("ignore")
            compute()
    except RuntimeError as error:
        found = re.search(r"Function '(\w+?)(Backward)\d*' returned nan", str(error))
        return f": the derivative of `{found[1].lower()}`" if found else ""
    return ""
