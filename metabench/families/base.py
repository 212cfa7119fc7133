"""The interface of task families: a problem, an initial theta, and addressed tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Task
from metabench.settings.errors import InvalidInput
from metabench.settings.keywords import Settings


class Family(Settings, ABC):
    """A distribution of tasks and the model trained on them; settings are dataclass fields.

    >>> import metabench as mb
    >>> family = mb.Sinusoid(shots=5)
    >>> isinstance(family, mb.Family)
    True
    >>> x, y = family.sample(mb.Address.fresh(start=0, count=3), seed=0).support
    >>> x.shape  # three tasks of five support points
    torch.Size([3, 5, 1])
    """

    settings_group: ClassVar[str] = "family"
    # Tasks a probe draws by default: about a minute's work on two CPU cores.
    tasks: ClassVar[int] = 4096
    held_out: ClassVar[str] = ""  # the split for validation, if there are splits
    needs: ClassVar[str] = ""  # what must be provided: a path, a download
    version: ClassVar[int] = (
        1  # part of a cell's address: raise it if the same seed gives other tasks
    )

    @abstractmethod
    def problem(self) -> Problem:
        """Return the losses, the map to phi_0 and the layouts."""

    @abstractmethod
    def theta(self, seed: int) -> Tensor:
        """Draw an initial theta, `(Q,)`, float64 on the CPU; cast it as needed."""

    @abstractmethod
    def sample(self, address: Address, seed: int) -> Task:
        """Draw the addressed tasks with a leading T, float64 on the CPU."""


def at_least(least: int, **counts: int) -> None:
    """Raise InvalidInput for the first count below `least`."""
    for name, given in counts.items():
        if given < least:
            raise InvalidInput(f"{name} is {given}; it must be at least {least}.")
