"""What a family is: a problem, a theta to start from, and tasks with addresses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Task
from metabench.settings.errors import InvalidInput


class Family(ABC):
    """A distribution of tasks and the model that meets them; settings are dataclass fields."""

    # Tasks a probe draws unless told otherwise: what fits in about a minute on two CPU cores.
    tasks: ClassVar[int] = 4096
    held_out: ClassVar[str] = ""  # the split that a training validates on, where there are splits
    needs: ClassVar[str] = ""  # what it can't be made without: a path, a download
    version: ClassVar[int] = 1  # part of the address: raise it when the same seed gives other tasks

    @abstractmethod
    def problem(self) -> Problem:
        """Give the losses, the initial map and the layouts."""

    @abstractmethod
    def theta(self, seed: int) -> Tensor:
        """Draw an initial theta, `(Q,)`, float64 on the CPU; cast it as you need."""

    @abstractmethod
    def sample(self, address: Address, seed: int) -> Task:
        """Draw the addressed tasks with a leading T, float64 on the CPU."""


def at_least(least: int, **counts: int) -> None:
    """Refuse counts below `least`, naming the first that is."""
    for name, given in counts.items():
        if given < least:
            raise InvalidInput(f"{name} is {given}; it must be at least {least}.")
