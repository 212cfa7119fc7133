"""Base classes: Estimator (meta-gradient of one task) and Algorithm (with an inner loop)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Self

from torch import Tensor

from metabench.algorithms.adapt import NO_BACKWARD, Rates, adapt
from metabench.algorithms.inner_optimizers.inner_optimizer import InnerOptimizer
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.autodiff import derivatives
from metabench.autodiff.operation_counts import Work
from metabench.linalg.solvers.solver import Solver
from metabench.problems.initial_phi import identity
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task
from metabench.settings.errors import InvalidInput
from metabench.settings.keywords import Settings


class MetaGrad(NamedTuple):
    """The meta-gradient of one task, or of T tasks with a leading axis T.

    >>> import metabench as mb
    >>> import torch
    >>> found = mb.MetaGrad(torch.ones(3), torch.tensor(0.5), torch.zeros(3), {})
    >>> found._replace(grad=2 * found.grad).grad
    tensor([2., 2., 2.])
    """

    grad: Tensor  # (Q,)
    loss: Tensor  # outer loss at phi_K, ()
    phi: Tensor  # phi_K, (P,)
    notes: dict[str, Tensor]  # further measurements of the algorithm, by name


class CustomUpdates(NamedTuple):
    """Update rules for parts of theta and for the outer rate, instead of the outer optimizer's.

    A part in `averages` is a running average: it moves by the fraction `share` towards the mean
    over tasks of its value in `notes["batch_statistics"]`, which lists these parts one after
    another.
    """

    plain_rates: Mapping[str, float] = {}  # part -> learning rate of its gradient descent
    averages: tuple[str, ...] = ()  # parts that are running averages
    share: float = 0.0  # weight of the batch in the running averages [1]
    rate: float = 0.0  # of the outer rate's own hypergradient descent; 0: none


class Loop(NamedTuple):
    """The inner loop of an algorithm, for probes: its problem, optimizer and learned rates."""

    problem: Problem
    inner_optimizer: InnerOptimizer
    rates: Rates | None = None  # learned factors of each step's update


class Implicit(NamedTuple):
    """Settings of an implicit gradient: the proximal term and the linear solver."""

    proximal_strength: float  # lambda of lambda/2 |phi - init(theta)|^2 [curvature]
    solver: Solver  # of the linear system with the inner Hessian


class Estimator(Settings, ABC):
    """A meta-gradient estimator of one task: `estimator(problem, theta, task) -> MetaGrad`.

    `Vectorization.per_task` applies it to many tasks. `exact`: `grad` is the gradient in theta of
    `differentiated`, by default the reported loss. `loops`: it does not run under vmap, so tasks
    are computed one after another. `withheld`: a sentence on what it cannot provide.

    >>> import metabench as mb
    >>> estimator = mb.FOMAML(steps=5)
    >>> estimator.exact, type(estimator.reference()).__name__  # biased; its exact counterpart
    (False, 'MAML')
    """

    settings_group: ClassVar[str] = "algo"
    version: ClassVar[int] = 1  # part of the address: raise it when the numbers change
    loops: ClassVar[bool] = False
    withheld: ClassVar[str] = ""

    @property
    def exact(self) -> bool:
        """Whether these settings give the exact gradient."""
        return False

    @property
    def variant(self) -> str:
        """Word put before the algorithm's name, such as "truncated"; empty for its usual form."""
        return ""

    @abstractmethod
    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Compute the meta-gradient `(Q,)` of one task at theta `(Q,)`."""

    def extend(self, problem: Problem, theta: Tensor) -> tuple[Problem, Tensor]:
        """Append to theta what else the algorithm learns; `Subject` calls this once."""
        return problem, theta

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the loss `()` reported for one task, without its gradient where possible.

        Args:
            problem: the losses.
            theta: meta-parameters, `(Q,)`.
            task: one task.
        """
        return self(problem, theta, task).loss

    def differentiated(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the loss `()` whose gradient `grad` estimates; NaN if there is none.

        Args:
            problem: the losses.
            theta: meta-parameters, `(Q,)`.
            task: one task.
        """
        return self.objective(problem, theta, task)

    def at_epoch(self, epoch: int) -> Self:
        """Return the algorithm with its settings at an epoch of outer steps, from 0."""
        return self

    def reference(self) -> Algorithm | None:
        """Return the exact estimator of the same objective, the reference of bias measurements.

        None: there is none, or it isn't known. An `exact` algorithm whose reference is its own
        class counts as unbiased; the bias of a subclass that inherits the reference is measured.
        """
        return None

    def implicit(self) -> Implicit | None:
        """Return the settings of its implicit gradient; None if it computes none."""
        return None

    def custom_updates(self, problem: Problem) -> CustomUpdates:
        """Return the custom updates in training of parts of theta and of the outer rate."""
        return CustomUpdates()

    def resolved(self, work: Work, together: int) -> Self:
        """Resolve `auto` settings from the work of one task and the number of tasks in memory."""
        return self

    def check(self, problem: Problem, theta: Tensor, task: Task) -> None:
        """Reject a problem on which this algorithm's meta-gradient is meaningless, such as zero.

        Called before a measurement, on one task, outside vmap.

        Args:
            problem: the losses.
            theta: meta-parameters, `(Q,)`.
            task: one task.
        """


@dataclass(frozen=True)
class Algorithm(Estimator):
    """An estimator with an inner loop: K steps of an inner optimizer on the support set.

    >>> import metabench as mb
    >>> algorithm = mb.MAML(steps=5, inner_optimizer=mb.SGD(rate=0.1))
    >>> algorithm.steps, algorithm.inner_optimizer.rate
    (5, 0.1)
    """

    steps: int = 1  # K, inner steps on the support set [steps]
    inner_optimizer: InnerOptimizer = field(default_factory=SGD)  # sgd, momentum or adam
    batch: int = 0  # support examples in an inner mini-batch, 0: all [examples]

    def __post_init__(self) -> None:
        """Validate steps >= 0 and batch >= 0."""
        if self.steps < 0:
            raise InvalidInput(f"steps is {self.steps}; the inner loop needs 0 or more steps.")
        if self.batch < 0:
            raise InvalidInput(
                f"batch is {self.batch}; give the number of examples of an inner mini-batch, or 0 "
                "for all."
            )

    def inner(self, problem: Problem) -> Problem:
        """Return the problem the inner loop minimizes, with proximal terms and only what adapts."""
        return problem

    def adapted(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the adapted parameters phi_K of `inner(problem)`.

        Args:
            problem: the losses.
            theta: meta-parameters, `(Q,)`.
            task: one task.
        """
        return adapt(
            self.inner_optimizer, self.steps, self.inner(problem), theta, task, NO_BACKWARD
        ).last

    def rates(self, problem: Problem, theta: Tensor) -> Tensor | None:
        """Return the learned rates `(P,)` that multiply each inner update, or None."""
        return None

    def loop(self, problem: Problem) -> Loop | None:
        """Return the inner loop on a problem; None if its steps differ or it has none."""
        return Loop(self.inner(problem), self.inner_optimizer)


def through_init(problem: Problem, theta: Tensor, v: Tensor) -> Tensor:
    """Backpropagate a cotangent of phi_0 through `init` to theta, `(Q,)`.

    Args:
        problem: gives `init`.
        theta: meta-parameters, `(Q,)`.
        v: cotangent of phi_0, `(P,)`.
    """
    if problem.init is identity:
        return v
    _, vjp = derivatives.vjp_of(problem.init, theta)
    cotangents: tuple[Tensor] = vjp(v)
    return cotangents[0]
