"""MAML: what is the exact gradient of the query loss after K inner steps?"""

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
    r"""Exact gradient through K inner steps, by the adjoint recursion over the path.

    :math:`v_K = \nabla F(\phi_K)`, :math:`v_k = v_{k+1} - H_k(\alpha v_{k+1})`, and the
    meta-gradient is :math:`v_0`. Notes: `norms`, |v_k| for k = 0 .. K, `(K + 1,)`. Keeping the
    graphs of the inner steps is faster, recomputing them holds only phi and its slots for each,
    from K = 16 on for every so many, some 2.5 sqrt(K) at once; the bits are the same.
    (Finn, Abbeel & Levine, 2017, https://arxiv.org/abs/1703.03400).
    `truncate` = m stops the recursion m steps back, at v_{K-m}, as if adaptation had begun there:
    biased, and FOMAML at m = 0
    (Shaban, Cheng, Hatch & Boots, 2019, https://arxiv.org/abs/1810.10667).
    """

    rematerialize: str = "auto"  # recompute graphs: none, every_step, sqrt or auto
    truncate: int = -1  # last inner steps that are differentiated through, -1: all [steps]

    def __post_init__(self) -> None:
        """Refuse an unknown way to rematerialize, and a negative truncation."""
        super().__post_init__()
        if self.rematerialize not in REMATERIALIZE:
            raise InvalidInput(
                f"rematerialize is {self.rematerialize!r}; "
                f"it must be one of {', '.join(REMATERIALIZE)}."
            )
        if self.truncate < -1:
            raise InvalidInput(
                f"truncate is {self.truncate}; give the steps to go back, or -1 for all."
            )

    @property
    def variant(self) -> str:
        """Say so where the recursion is truncated."""
        return "" if self.exact else "truncated"

    @property
    def exact(self) -> bool:
        """Whether every inner step is differentiated through."""
        return self.truncate == -1 or self.truncate >= self.steps

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the meta-gradient `(Q,)` of one task at theta `(Q,)`."""
        chosen = KEEP_GRAPHS if self.rematerialize == "auto" else self.rematerialize
        back = None if self.exact else self.truncate
        return unrolled_meta_gradient(
            self, problem, theta, task, chosen if self.exact else RECOMPUTE_SQRT, back=back
        )

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the query loss `()` after adaptation."""
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task, NO_BACKWARD).last
        return problem.outer_loss(phi, theta, task.query)

    def reference(self) -> Algorithm:
        """Give the same with every inner step differentiated through."""
        return MAML(self.steps, self.inner_optimizer, self.batch)

    def resolved(self, work: Work, together: int) -> Self:
        """Keep the graphs of the inner steps if those of all tasks together leave room."""
        if self.rematerialize != "auto":
            return self
        return replace(
            self,
            rematerialize=KEEP_GRAPHS
            if work.bytes * together <= MOST_BYTES_AT_ONCE
            else RECOMPUTE_SQRT,
        )
