"""What an estimator is, the meta-gradient of one task; and an algorithm, one with an inner loop."""

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


class MetaGrad(NamedTuple):
    """The meta-gradient of one task, or of T tasks with a leading axis T."""

    grad: Tensor  # (Q,)
    loss: Tensor  # outer loss at phi_K, ()
    phi: Tensor  # phi_K, (P,)
    notes: dict[str, Tensor]  # what the algorithm measured on the way


class CustomUpdates(NamedTuple):
    """What an outer optimizer leaves alone: parts of theta, and its own rate, that move otherwise.

    An averaged part moves by `share` of the way to the mean over tasks of what each shows of it,
    which are the numbers of `notes["batch_statistics"]`, part after part.
    """

    plain_rates: Mapping[str, float] = {}  # part -> rate of the plain descent that moves it
    averages: tuple[str, ...] = ()  # parts that are running averages
    share: float = 0.0  # of the way to what a batch shows that they move [1]
    rate: float = 0.0  # by which the outer rate descends along its own hypergradient


class Loop(NamedTuple):
    """The inner loop of an algorithm, as probes walk it: what it descends, and by which steps."""

    problem: Problem
    inner_optimizer: InnerOptimizer
    rates: Rates | None = None  # learned ones, which multiply a step's move


class Implicit(NamedTuple):
    """How an algorithm differentiates at the inner minimum: the pull it adds, and the solve."""

    proximal_strength: float  # lambda, pull of phi towards init(theta) [curvature]
    solver: Solver  # of the system with the inner Hessian


class Estimator(ABC):
    """One task at a time: `estimator(problem, theta, task) -> MetaGrad`; `per_task` does the rest.

    `exact` says that `grad` is the gradient in theta of what is `differentiated`, by default the
    loss that is reported with it; `loops` that tasks can only be taken one after another;
    `withheld` what it can't offer.
    """

    version: ClassVar[int] = 1  # part of the address: raise it when the numbers change
    loops: ClassVar[bool] = False
    withheld: ClassVar[str] = ""

    @property
    def exact(self) -> bool:
        """Whether these settings give the gradient itself."""
        return False

    @property
    def variant(self) -> str:
        """What tells these settings apart from the algorithm's own, in a word before its name."""
        return ""

    @abstractmethod
    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the meta-gradient `(Q,)` of one task at theta `(Q,)`."""

    def extend(self, problem: Problem, theta: Tensor) -> tuple[Problem, Tensor]:
        """Append to theta what the algorithm learns besides; `Subject` calls this once."""
        return problem, theta

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the loss `()` that is reported for one task, without its gradient if it can."""
        return self(problem, theta, task).loss

    def differentiated(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the loss `()` whose gradient is meant, reported or not; NaN if there is none."""
        return self.objective(problem, theta, task)

    def at_epoch(self, epoch: int) -> Self:
        """Give this algorithm as it is in an epoch of outer steps, the first being 0."""
        return self

    def reference(self) -> Algorithm | None:
        """Give the exact estimator of the same objective, which biases are measured against.

        None: there is none, or it isn't known. One that gives its own class, and is `exact`, is
        taken at its word; what a subclass makes of an inherited one is measured.
        """
        return None

    def implicit(self) -> Implicit | None:
        """Say how it differentiates at the inner minimum; None: it doesn't."""
        return None

    def custom_updates(self, problem: Problem) -> CustomUpdates:
        """Say what of theta, or of the outer rate, moves by a rule of its own in training."""
        return CustomUpdates()

    def resolved(self, work: Work, together: int) -> Self:
        """Choose what is left to `auto`, by one task's work and how many are in memory at once."""
        return self

    def check(self, problem: Problem, theta: Tensor, task: Task) -> None:  # ruff: ignore[empty-method-without-abstract-decorator]
        """Refuse, in a sentence, a problem on which this algorithm would silently say nothing.

        Called ahead of a measurement on one task that holds plain numbers, outside any vmap.
        """


@dataclass(frozen=True)
class Algorithm(Estimator):
    """An estimator with an inner loop: K steps of an inner optimizer on the support set."""

    steps: int = 1  # K, inner steps on the support set [steps]
    inner_optimizer: InnerOptimizer = field(default_factory=SGD)  # sgd, momentum or adam
    batch: int = 0  # support examples in an inner mini-batch, 0 takes all [examples]

    def __post_init__(self) -> None:
        """Refuse an inner loop of negative length or batch."""
        if self.steps < 0:
            raise InvalidInput(f"steps is {self.steps}; the inner loop needs 0 or more steps.")
        if self.batch < 0:
            raise InvalidInput(
                f"batch is {self.batch}; give the examples per inner step, or 0 for all."
            )

    def inner(self, problem: Problem) -> Problem:
        """Give the problem whose inner loss is descended: with pulls, and what adapts at all."""
        return problem

    def adapted(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give where the inner loop ends, in the parameters of `inner(problem)`."""
        return adapt(
            self.inner_optimizer, self.steps, self.inner(problem), theta, task, NO_BACKWARD
        ).last

    def rates(self, problem: Problem, theta: Tensor) -> Tensor | None:
        """Give learned rates `(P,)` that multiply the step's own, None where it has none."""
        return None

    def loop(self, problem: Problem) -> Loop | None:
        """Give the inner loop that this algorithm walks on a problem; None if it is no such one."""
        return Loop(self.inner(problem), self.inner_optimizer)


def through_init(problem: Problem, theta: Tensor, v: Tensor) -> Tensor:
    """Carry a cotangent of phi_0 `(P,)` through `init` to theta `(Q,)`."""
    if problem.init is identity:
        return v
    _, pull = derivatives.vjp_of(problem.init, theta)
    through: tuple[Tensor] = pull(v)
    return through[0]
