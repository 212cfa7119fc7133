"""A problem and a sampler of one's own, as a family."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from metabench.problems.family import Family
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Sampler, Task
from metabench.settings.errors import Misuse


@dataclass(frozen=True)
class Own(Family):
    """Put a problem and its sampler where a family is asked for: `--problem my.py:NAME`."""

    of: Problem = field(metadata={"setting": False})
    draw: Sampler = field(metadata={"setting": False})  # (address, seed), or Indexed, or Stream
    name: str = "own"  # what tables call it

    tasks: ClassVar[int] = 256

    def problem(self) -> Problem:
        """Give the problem."""
        return self.of

    def theta(self, seed: int) -> Tensor:
        """Give the module's own values, `(Q,)`, whatever the seed.

        Raises:
            Misuse: if the problem was made of no module and holds no theta.
        """
        if self.of.theta is None:
            raise Misuse(
                f"{self.name} says no theta to start from; give --theta FILE, or a Problem with "
                "theta=..."
            )
        return self.of.theta.double().cpu()

    def sample(self, address: Address, seed: int) -> Task:
        """Draw the addressed tasks."""
        return self.draw(address, seed)


def sampler_of(family: Family) -> Sampler:
    """Give the sampler, one's own as it is, so that it can say what it can't redraw."""
    return family.draw if isinstance(family, Own) else family.sample
