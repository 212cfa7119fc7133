"""Files to start from: a problem, an algorithm, a probe; each runs as it is."""

from __future__ import annotations

from typing import NamedTuple


class Start(NamedTuple):
    """A file's text, and the command that runs it."""

    text: str
    command: str  # with {file}


PROBLEM = '''"""A problem of my own: a module, a loss, and tasks by number."""

import torch

import metabench as mb

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(1, 40), torch.nn.Tanh(), torch.nn.Linear(40, 1))


def draw(index, seed):  # one task: support and query, each a pair (x, y)
    noise = torch.Generator().manual_seed(1_000_000 * seed + int(index))
    phase, x = 3 * torch.rand(1, generator=noise), 10 * torch.rand(20, 1, generator=noise) - 5
    y = torch.sin(x + phase)
    return (x[:10], y[:10]), (x[10:], y[10:])


def sample(indices, seed):  # many tasks: the same, with a leading axis
    return torch.utils.data.default_collate([draw(i, seed) for i in indices])


problem = mb.Problem.from_module(net, torch.nn.functional.mse_loss, tasks=mb.Indexed(sample))
'''
ALGORITHM = '''"""An algorithm of my own: a mixture of two meta-gradients."""

from dataclasses import dataclass, field

import metabench as mb


@dataclass(frozen=True)
class Mine(mb.Algorithm):
    """Mix the first-order meta-gradient with MAML's."""

    steps: int = 1  # inner steps K [steps]
    mixture: float = 0.5  # weight of the exact meta-gradient [1]
    inner_optimizer: mb.InnerOptimizer = field(default_factory=lambda: mb.SGD(0.01))  # of the task

    def __call__(self, problem, theta, task):
        exact = mb.MAML(self.steps, self.inner_optimizer)(problem, theta, task)
        first = mb.FOMAML(self.steps, self.inner_optimizer)(problem, theta, task)
        grad = self.mixture * exact.grad + (1 - self.mixture) * first.grad
        return exact._replace(grad=grad)
'''
PROBE = '''"""A probe of my own: how long is the meta-gradient of one task?"""

from dataclasses import dataclass
from typing import ClassVar

import metabench as mb


@dataclass(frozen=True)
class Mine(mb.Probe):
    """Length of each task's meta-gradient."""

    tasks: int = 8  # tasks to draw [tasks]
    question: ClassVar[str] = "How long is one task's meta-gradient?"
    axis: ClassVar[str] = "task"
    has_default_tasks: ClassVar[bool] = True  # not the family's

    def __post_init__(self):
        if self.tasks < 1:
            raise mb.InvalidInput(f"tasks is {self.tasks}; give at least 1.")

    def measure(self, subject, seed, progress=None):
        grads = subject.meta_gradients(mb.Address.fresh(0, self.tasks), seed).grad
        return [mb.Row("length", at=float(i), value=g.norm().item()) for i, g in enumerate(grads)]

    def find(self, table):
        rows = table[table["quantity"] == "length"]
        return [mb.Finding("length", "info", "", f"At most {rows.value.max():.3g}.", "", ())]

    def draw(self, table, axes):
        lengths = table[table["quantity"] == "length"]
        axes.plot(lengths["at"], lengths["value"], "o")
        axes.set(xlabel="task", ylabel="length")
'''
STARTS = {
    "problem": Start(PROBLEM, "metabench verify --problem {file}:problem"),
    "algorithm": Start(ALGORITHM, "metabench verify --algo {file}:Mine"),
    "probe": Start(PROBE, "metabench probe {file}:Mine"),
}
