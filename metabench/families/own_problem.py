"""A user-defined problem with a task sampler, used as a family."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from metabench.families.base import Family
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Sampler, Task
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class ProblemFamily(Family):
    """A family made of a `Problem(..., tasks=sampler)`."""

    given: Problem = field(metadata={"setting": False})  # with tasks
    name: str = "own"  # its name in tables

    tasks: ClassVar[int] = 256

    @property
    def sampler(self) -> Sampler:
        """The problem's sampler.

        Raises:
            InvalidInput: if the problem has none.
        """
        if self.given.tasks is None:
            raise InvalidInput(
                f"{self.name} is a Problem without tasks; give it a sampler: "
                "Problem.from_module(net, loss, tasks=mb.Indexed(sample)), or "
                "problem._replace(tasks=...)."
            )
        return self.given.tasks

    def problem(self) -> Problem:
        """Return the problem."""
        return self.given

    def theta(self, seed: int) -> Tensor:
        """Return the initial values of the module, `(Q,)`, float64 on the CPU, for every seed.

        Raises:
            InvalidInput: if the problem holds no theta.
        """
        if self.given.theta is None:
            raise InvalidInput(
                f"{self.name} has no initial theta; give --theta FILE, or a Problem with theta=..."
            )
        return self.given.theta.double().cpu()

    def sample(self, address: Address, seed: int) -> Task:
        """Draw the addressed tasks."""
        return self.sampler(address, seed)


def family_of_problem(problem: Problem, name: str = "own") -> ProblemFamily:
    """Wrap a problem as a family.

    Args:
        problem: with `tasks`.
        name: its name in tables.

    Raises:
        InvalidInput: if the problem has no tasks.
    """
    family = ProblemFamily(problem, name)
    _ = family.sampler
    return family


def sampler_of(family: Family) -> Sampler:
    """Return the sampler of a family; a custom one itself, which knows what it can't redraw."""
    return family.sampler if isinstance(family, ProblemFamily) else family.sample
