"""ANIL: MAML whose inner loop adapts the head of the network only."""

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
    r"""MAML whose inner loop adapts the head only; the body is updated by the outer loop only.

    Equal to MAML with an inner rate of 0 for the body, at the cost of the head: inner gradients,
    Hessians and iterates are those of the head. `head` selects its parameters by shell patterns;
    the default is the module that is called last, and of a problem without a module, or before its
    first call, the one declared last.
    (Raghu, Raghu, Bengio & Vinyals, 2020, https://arxiv.org/abs/1909.09157).

    >>> import metabench as mb
    >>> family = mb.Sinusoid()
    >>> problem = mb.ANIL().inner(family.problem())
    >>> problem.layouts.phi.names
    ('4.weight', '4.bias')
    """

    head: tuple[str, ...] = ()  # patterns of adapted parameters, "6.*"; empty: last called [names]

    @property
    def exact(self) -> bool:
        """Whether the gradient is exact, in head and body: always."""
        return True

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Compute the meta-gradient `(Q,)` of one task at theta `(Q,)`; phi is head and body."""
        self._see_a_call(problem, theta, task)
        found = unrolled_meta_gradient(self, self.on_head(problem), theta, task)
        with_body = _head_to_phi(problem, self._head(problem))
        return found._replace(phi=with_body(found.phi, theta))

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the query loss `()` after adaptation of the head."""
        self._see_a_call(problem, theta, task)
        inner = self.on_head(problem)
        phi = adapt(self.inner_optimizer, self.steps, inner, theta, task).last
        return inner.outer_loss(phi, theta, task.query)

    def adapted(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the adapted head `(P,)`."""
        self._see_a_call(problem, theta, task)
        return super().adapted(problem, theta, task)

    def inner(self, problem: Problem) -> Problem:
        """Return the problem restricted to the head."""
        return self.on_head(problem)

    def on_head(self, problem: Problem) -> Problem:
        """Return the problem whose phi is the head; the body is fixed at its value in theta."""
        layout, head = problem.layouts.phi, self._head(problem)
        with_body = _head_to_phi(problem, head)

        def init(theta: Tensor) -> Tensor:
            start = layout.unflatten(problem.init(theta))
            return head.flatten({name: start[name] for name in head.names})

        def of_head(
            function: Callable[[Tensor, Tensor, Data], T],
        ) -> Callable[[Tensor, Tensor, Data], T]:
            def restricted(phi: Tensor, theta: Tensor, data: Data) -> T:
                return function(with_body(phi, theta), theta, data)

            return restricted

        return problem._replace(
            init=init,
            inner_loss=of_head(problem.inner_loss),
            outer_loss=of_head(problem.outer_loss),
            features=problem.features and of_head(problem.features),
            sampling=problem.sampling
            and problem.sampling.through(lambda phi, theta: (with_body(phi, theta), theta)),
            expected_inner_loss=problem.expected_inner_loss
            and of_head(problem.expected_inner_loss),
            expected_outer_loss=problem.expected_outer_loss
            and of_head(problem.expected_outer_loss),
            layouts=Layouts(head, problem.layouts.theta),
        )

    def _see_a_call(self, problem: Problem, theta: Tensor, task: Task) -> None:
        """Call the module once if it hasn't been, so that it is known which part is called last."""
        if not self.head and problem.last_called and not problem.last_called():
            problem.inner_loss(problem.init(theta), theta, task.support)

    def _head(self, problem: Problem) -> Layout:
        layout = problem.layouts.phi
        last = layout.names[-1].rpartition(".")[0]
        called = problem.last_called() if problem.last_called else ()
        patterns = self.head or called or ((f"{last}.*",) if last else (layout.names[-1],))
        held = layout.unflatten(torch.empty(layout.size))
        names = module_checks.matching_names(held, patterns, "algo.head")
        return Layout.from_tensors({name: held[name] for name in names})


def _head_to_phi(problem: Problem, head: Layout) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the map from the head and theta to the full phi of head and body."""
    layout = problem.layouts.phi

    def with_body(phi: Tensor, theta: Tensor) -> Tensor:
        return layout.flatten({**layout.unflatten(problem.init(theta)), **head.unflatten(phi)})

    return with_body
