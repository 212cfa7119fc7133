"""ANIL: does the body of the network have to adapt at all?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from metabench.algorithms.adapt import adapt
from metabench.algorithms.backpropagation import unrolled_meta_gradient
from metabench.algorithms.base import Algorithm, MetaGrad
from metabench.problems.networks import module_checks
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.problem import Problem, T
from metabench.problems.tasks import Data, Task


@dataclass(frozen=True)
class ANIL(Algorithm):
    r"""MAML whose inner loop moves the head alone; the body is learned outside.

    As MAML with the body's inner rate at 0, for the price of the head: inner gradients, Hessians
    and the path are those of the head. `head` names its parameters by shell patterns, by default
    those of the last module.
    (Raghu, Raghu, Bengio & Vinyals, 2020, https://arxiv.org/abs/1909.09157).
    """

    head: tuple[str, ...] = ()  # patterns of what adapts, "6.*"; empty: the last module [names]

    @property
    def exact(self) -> bool:
        """Whether these settings give the gradient itself: of head and body alike."""
        return True

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the meta-gradient `(Q,)` of one task at theta `(Q,)`; phi is head and body."""
        found = unrolled_meta_gradient(self, self.on_head(problem), theta, task)
        whole = _whole(problem, self._head(problem))
        return found._replace(phi=whole(found.phi, theta))

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the query loss `()` after the head's adaptation."""
        inner = self.on_head(problem)
        phi = adapt(self.inner_optimizer, self.steps, inner, theta, task).last
        return inner.outer_loss(phi, theta, task.query)

    def inner(self, problem: Problem) -> Problem:
        """Give the problem of the head."""
        return self.on_head(problem)

    def on_head(self, problem: Problem) -> Problem:
        """Give the problem in which phi is the head, and the body stands where theta puts it."""
        layout, head = problem.layouts.phi, self._head(problem)
        whole = _whole(problem, head)

        def init(theta: Tensor) -> Tensor:
            start = layout.unflatten(problem.init(theta))
            return head.flatten({name: start[name] for name in head.names})

        def of_head(
            function: Callable[[Tensor, Tensor, Data], T],
        ) -> Callable[[Tensor, Tensor, Data], T]:
            def restricted(phi: Tensor, theta: Tensor, data: Data) -> T:
                return function(whole(phi, theta), theta, data)

            return restricted

        return problem._replace(
            init=init,
            inner_loss=of_head(problem.inner_loss),
            outer_loss=of_head(problem.outer_loss),
            features=problem.features and of_head(problem.features),
            layouts=Layouts(head, problem.layouts.theta),
        )

    def _head(self, problem: Problem) -> Layout:
        layout = problem.layouts.phi
        last = layout.names[-1].rpartition(".")[0]
        patterns = self.head or ((f"{last}.*",) if last else (layout.names[-1],))
        held = layout.unflatten(torch.empty(layout.size))
        names = module_checks.matching_names(held, patterns, "algo.head")
        return Layout.from_tensors({name: held[name] for name in names})


def _whole(problem: Problem, head: Layout) -> Callable[[Tensor, Tensor], Tensor]:
    """Give the map of the head and theta to all of phi."""
    layout = problem.layouts.phi

    def whole(phi: Tensor, theta: Tensor) -> Tensor:
        return layout.flatten({**layout.unflatten(problem.init(theta)), **head.unflatten(phi)})

    return whole
