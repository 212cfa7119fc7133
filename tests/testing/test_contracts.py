"""Do all algorithms keep the contract, and does it notice faults?

Every other member, and a stranger's of each kind, is held to its own in test_plugins.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cases
import numpy as np
import pytest
import torch

from metabench.algorithms.base import Algorithm
from metabench.algorithms.maml import MAML
from metabench.families.quadratic import Quadratic
from metabench.families.sinusoid import Sinusoid
from metabench.linalg.solvers.cg import CG
from metabench.probes.base import no_progress
from metabench.probes.variance import Variance
from metabench.testing import check_algorithm, check_family, check_probe, check_solver


@pytest.mark.parametrize("family", [Quadratic(dim=4), Sinusoid(hidden=(5,))], ids=["quad", "sine"])
@pytest.mark.parametrize("name", cases.ALGORITHMS)
def test_every_algorithm_keeps_the_contract(name, family):
    check_algorithm(cases.algorithm(name, steps=2), family)


def faulty(change):
    @dataclass(frozen=True)
    class Faulty(Algorithm):
        @property
        def exact(self):
            return True

        def __call__(self, problem, theta, task):
            return change(MAML(steps=1)(problem, theta, task))

    return Faulty()


calls = iter(range(1000))
FAULTS = {
    "shape": lambda m: m._replace(grad=m.grad[:-1]),
    "dtype": lambda m: m._replace(grad=m.grad.float()),
    "not finite": lambda m: m._replace(grad=m.grad / 0),
    "two calls differ": lambda m: m._replace(grad=m.grad * (1 + next(calls))),
    "loss is not": lambda m: m._replace(loss=2 * m.loss),
    "finite differences of its loss say": lambda m: m._replace(grad=1.001 * m.grad),
    "torch.float64, theta torch.float32": lambda m: m._replace(grad=m.grad.double()),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_algorithm_contract_names_the_fault(fault):
    with pytest.raises(AssertionError, match=fault if fault != "dtype" else "float32"):
        check_algorithm(faulty(FAULTS[fault]), Quadratic(dim=4))


@dataclass(frozen=True)
class Lenient(MAML):
    """Takes any number of steps."""

    def __post_init__(self):
        pass


def test_the_contract_names_a_setting_that_should_be_refused():
    with pytest.raises(AssertionError, match="steps = -1 is accepted"):
        check_algorithm(Lenient(), Quadratic(dim=4))


@dataclass(frozen=True)
class Shifting(Quadratic):
    """Draws tasks from a stream: a task depends on its place in the batch."""

    def sample(self, address, seed):
        return super().sample(address._replace(task=np.arange(len(address.task))), seed)


@dataclass(frozen=True)
class Coupled(Quadratic):
    """A support redraw redraws the query set, too."""

    def sample(self, address, seed):
        return super().sample(address._replace(query=address.support), seed)


def test_the_family_contract_names_the_fault():
    with pytest.raises(AssertionError, match="which others are drawn"):
        check_family(Shifting(dim=4))
    with pytest.raises(AssertionError, match="changes the query set"):
        check_family(Coupled(dim=4))
    assert replace(Shifting(), dim=3).theta(0).dtype == torch.float64


@dataclass(frozen=True)
class Boasting(CG):
    """Reports the residual it would like to have."""

    def __call__(self, matvec, b):
        return super().__call__(matvec, b)._replace(residual=b.new_zeros(()))


@dataclass(frozen=True)
class Shifted(CG):
    """Answers zero with something."""

    def __call__(self, matvec, b):
        found = super().__call__(matvec, b)
        return found._replace(x=found.x + (b == 0).all())


@pytest.mark.parametrize(("cls", "fault"), [(Boasting, "residual is 0"), (Shifted, "b = 0")])
def test_the_solver_contract_names_the_fault(cls, fault):
    with pytest.raises(AssertionError, match=fault):
        check_solver(cls(steps=2))


@dataclass(frozen=True)
class Forgetful(Variance):
    """Merges all shares but the last."""

    def merge(self, subject, seed, parts, progress=no_progress):
        return super().merge(subject, seed, [*parts[:-1], parts[0]], progress)


def test_the_probe_contract_holds_merged_shares_against_the_whole():
    check_probe(Variance(tasks=32, redrawn_tasks=0))

    with pytest.raises(AssertionError, match="merged parts give"):
        check_probe(Forgetful(tasks=32, redrawn_tasks=0))
