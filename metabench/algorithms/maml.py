"""MAML: the exact gradient of the query loss after K inner steps, or its truncation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from metabench.algorithms.adapt import (
    KEEP_GRAPHS,
    NO_BACKWARD,
    RECOMPUTE_EACH,
    RECOMPUTE_SQRT,
    adapt,
)
from metabench.algorithms.backpropagation import unrolled_meta_gradient
from metabench.algorithms.base import Algorithm, MetaGrad
from metabench.autodiff.operation_counts import MOST_BYTES_AT_ONCE, Work
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task
from metabench.settings.errors import InvalidInput

REMATERIALIZE = ("auto", KEEP_GRAPHS, RECOMPUTE_EACH, RECOMPUTE_SQRT)


@dataclass(frozen=True)
class MAML(Algorithm):
    r"""Exact gradient of the query loss through K inner steps, by backpropagation.

    :math:`v_K = \nabla F(\phi_K)`, :math:`v_k = v_{k+1} - H_k(\alpha v_{k+1})`, and the
    meta-gradient is :math:`v_0`. Notes: `norms`, |v_k| for k = 0 .. K, `(K + 1,)`. `rematerialize`
    trades time for memory without changing a bit: none stores the graph of every inner step,
    every_step stores phi and slots before every step, sqrt only before every few steps
    (from K = 16, about 2.5 sqrt(K) states at a time).
    (Finn, Abbeel & Levine, 2017, https://arxiv.org/abs/1703.03400).
    `truncate` = m backpropagates through the last m steps only and returns v_{K-m}: biased, and
    FOMAML at m = 0 (Shaban, Cheng, Hatch & Boots, 2019, https://arxiv.org/abs/1810.10667).

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=4)
    >>> algorithm = mb.MAML(steps=5, inner_optimizer=mb.SGD(rate=0.1))
    >>> subject = mb.Subject(family.problem(), family.sample, algorithm, family.theta(seed=0))
    >>> found = subject.meta_gradients(mb.Address.fresh(0, 3), seed=0)
    >>> found.grad.shape, found.notes["norms"].shape  # of 3 tasks; |v_0| .. |v_5|
    (torch.Size([3, 4]), torch.Size([3, 6]))
    """

    rematerialize: str = "auto"  # recompute inner graphs: none, every_step, sqrt or auto
    truncate: int = -1  # inner steps to backpropagate through, from the last; -1: all [steps]

    def __post_init__(self) -> None:
        """Validate rematerialize and truncate >= -1."""
        super().__post_init__()
        if self.rematerialize not in REMATERIALIZE:
            raise InvalidInput(
                f"rematerialize is {self.rematerialize!r}; "
                f"it must be one of {', '.join(REMATERIALIZE)}."
            )
        if self.truncate < -1:
            raise InvalidInput(
                f"truncate is {self.truncate}; give 0 or more inner steps, or -1 for all."
            )

    @property
    def variant(self) -> str:
        """The word "truncated" if it is."""
        return "" if self.exact else "truncated"

    @property
    def exact(self) -> bool:
        """Whether the gradient backpropagates through every inner step."""
        return self.truncate == -1 or self.truncate >= self.steps

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Compute the meta-gradient `(Q,)` of one task at theta `(Q,)`."""
        chosen = KEEP_GRAPHS if self.rematerialize == "auto" else self.rematerialize
        truncate = None if self.exact else self.truncate
        return unrolled_meta_gradient(
            self, problem, theta, task, chosen if self.exact else RECOMPUTE_SQRT, truncate=truncate
        )

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the query loss `()` after adaptation."""
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task, NO_BACKWARD).last
        return problem.outer_loss(phi, theta, task.query)

    def reference(self) -> Algorithm:
        """Return MAML without truncation."""
        return MAML(self.steps, self.inner_optimizer, self.batch)

    def resolved(self, work: Work, together: int) -> Self:
        """Store the graphs of the inner steps if those of all tasks together fit in memory."""
        if self.rematerialize != "auto":
            return self
        return replace(
            self,
            rematerialize=KEEP_GRAPHS
            if work.bytes * together <= MOST_BYTES_AT_ONCE
            else RECOMPUTE_SQRT,
        )
