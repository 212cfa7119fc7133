"""Does a variance at ten million parameters stay inside its memory?

    python reports/variance_memory/run.py --memory 4GiB

measures 256 tasks of a problem with 10 million parameters and prints the peak of what the process
held (resident set), the closed form and what was measured. Needs 10 GB in the temporary folder.
"""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass

import click
import torch
from torch import Tensor

from metabench import MAML, SGD, Address, Layout, Problem, Subject, Task, Variance, Vectorization
from metabench.families.base import Family
from metabench.problems.parameter_layout import Layouts
from metabench.problems.tasks import Data
from metabench.settings import amounts


@dataclass(frozen=True)
class Wide(Family):
    r"""Bowls :math:`\frac12 |\phi - z u|^2` with u = (1, .., 1) / sqrt(dim) and z of variance 1."""

    dim: int = 10**7  # P, parameters [parameters]

    def problem(self) -> Problem:
        """Adapt one vector from theta."""
        layout = Layout(("phi",), ((self.dim,),))
        return Problem(lambda theta: theta, self._loss, self._loss, Layouts(layout, layout))

    def theta(self, seed: int) -> Tensor:
        """Start at zero."""
        return torch.zeros(self.dim)

    def sample(self, address: Address, seed: int) -> Task:
        """Draw z, one number a task, for support and query alike: +1 or -1 in turn."""
        z = torch.from_numpy(1.0 - 2.0 * (address.task % 2))[:, None]
        return Task((z,), (z,))

    def _loss(self, phi: Tensor, theta: Tensor, data: Data) -> Tensor:
        (z,) = data
        loss: Tensor = 0.5 * ((phi - z / self.dim**0.5) ** 2).sum()
        return loss


@click.command()
@click.option("--memory", default="4GiB", show_default=True, help="The budget.")
@click.option("--dim", default=10**7, show_default=True, help="Parameters.")
def main(memory: str, dim: int) -> None:
    """Measure, and fail if more was held than the budget."""
    family = Wide(dim)
    algorithm = MAML(steps=1, inner_optimizer=SGD(rate=0.1))
    subject = Subject(family.problem(), family.sample, algorithm, family.theta(0), Vectorization())
    rows = Variance(tasks=256, sizes=(1,), redrawn_tasks=0, memory=memory).measure(subject, 0)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (found,) = (row.value for row in rows if row.quantity == "task_variance")
    # g = (1 - rate)^2 (theta - z u), and z is +-1 in equal numbers
    print(f"tr Cov(g) = {found:.6g}, closed form {0.9**4 * 256 / 255:.6g}")
    print(f"held at most {held / 2**30:.2f} GiB of {amounts.memory(memory) / 2**30:.2f} GiB")
    sys.exit(held > amounts.memory(memory))


if __name__ == "__main__":
    main()
