"""Do all algorithms keep the contract, and does it notice faults?

Every other member, and a stranger's of each kind, is held to its own in test_plugins.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cases
import numpy as np
import pytest
import torch

from metabench.algorithms.adapt import NO_BACKWARD, adapt
from metabench.algorithms.base import Algorithm, CustomUpdates, Implicit, Loop
from metabench.algorithms.fomaml import FOMAML
from metabench.algorithms.inner_optimizers.momentum import Momentum
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.digits import Digits
from metabench.families.quadratic import Quadratic
from metabench.families.sinusoid import Sinusoid
from metabench.linalg.solvers.cg import CG
from metabench.probes.base import Probe, no_progress
from metabench.probes.variance import Variance
from metabench.records.rows import Row
from metabench.settings.errors import InvalidInput
from metabench.testing import (
    check_algorithm,
    check_family,
    check_inner_optimizer,
    check_probe,
    check_solver,
)


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
            maml = MAML(self.steps, self.inner_optimizer, self.batch)
            return change(maml(problem, theta, task))

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


def declaring(**methods):
    """MAML in 2 steps that declares something else than what its call does."""
    return dataclass(frozen=True)(type("Declaring", (MAML,), methods))(steps=2)


DECLARED = {
    "adapted.*is not the phi of the call": {
        "adapted": lambda self, problem, theta, task: MAML(3).adapted(problem, theta, task)
    },
    "adapted has shape": {"adapted": lambda self, problem, theta, task: theta[:1]},
    "loop.*does not end at the phi": {"loop": lambda self, problem: Loop(problem, SGD(rate=0.5))},
    "learned rates, but rates": {
        "loop": lambda self, problem: Loop(problem, SGD(rate=1.0), lambda theta, k: 0.01)
    },
    "objective.*is not the loss": {
        "objective": lambda self, problem, theta, task: MAML(3).objective(problem, theta, task),
        "differentiated": MAML.objective,
    },
    "FOMAML, which isn't exact": {"reference": lambda self: FOMAML(2)},
    "MAML of another objective": {"reference": lambda self: MAML(1)},
    "lacks the proximal term of strength 2": {"implicit": lambda self: Implicit(2.0, CG())},
    "not the implicit gradient": {"implicit": lambda self: Implicit(0.0, CG())},
    "which is no part of theta": {
        "custom_updates": lambda self, problem: CustomUpdates(plain_rates={"gone": 0.1})
    },
    "has 0 numbers; the averages": {
        "custom_updates": lambda self, problem: CustomUpdates(averages=problem.layouts.theta.names)
    },
    "at_epoch.0. has other settings": {"at_epoch": lambda self, epoch: MAML(3)},
}


@pytest.mark.parametrize("fault", DECLARED)
def test_the_algorithm_contract_names_what_is_declared_but_not_done(fault):
    check_algorithm(declaring(), Quadratic(dim=4))  # without a fault

    with pytest.raises(AssertionError, match=fault):
        check_algorithm(declaring(**DECLARED[fault]), Quadratic(dim=4))


FIXED = {"steps": 2, "inner_optimizer": SGD(), "batch": 0}  # whatever the setting says


@pytest.mark.parametrize("setting", FIXED)
def test_the_algorithm_contract_names_a_setting_that_is_ignored_unless_it_is_refused(setting):
    @dataclass(frozen=True)
    class Ignoring(Algorithm):
        def __call__(self, problem, theta, task):
            return replace(self, **{setting: FIXED[setting]}).of_maml(problem, theta, task)

        def of_maml(self, problem, theta, task):
            if setting == "batch":
                task = task._replace(noise=())
            return MAML(self.steps, self.inner_optimizer, self.batch)(problem, theta, task)

        def adapted(self, problem, theta, task):
            return self(problem, theta, task).phi

        def loop(self, problem):
            return None

    class Refusing(Ignoring):
        def __post_init__(self):
            super().__post_init__()
            if getattr(self, setting) != FIXED[setting]:
                raise InvalidInput(f"{setting} is not a setting of this algorithm; leave it out.")

    with pytest.raises(AssertionError, match=f"another {setting} changes neither"):
        check_algorithm(Ignoring(steps=2), Quadratic(dim=4))
    check_algorithm(dataclass(frozen=True)(Refusing)(steps=2), Quadratic(dim=4))


def test_an_algorithm_that_runs_in_a_loop_only_is_not_run_under_vmap():
    def call(self, problem, theta, task):
        found = MAML.__call__(self, problem, theta, task)
        return found if float(found.loss) < float("inf") else None  # vmap refuses float()

    looped = {"__call__": call, "loops": True}
    check_algorithm(declaring(**looped), Quadratic(dim=4))


@pytest.mark.parametrize("name", ["alpha_maml", "mamlpp", "meta_sgd"])
def test_a_learned_rate_that_has_moved_is_that_of_every_inner_loop(name):
    """Of the call, of `adapted` and of `loop`: each ends at the same phi, by a loop written out."""
    family, algorithm = Quadratic(dim=4), cases.algorithm(name, steps=2)
    subject = Subject(family.problem(), family.sample, algorithm, family.theta(0))
    learned = subject.theta * torch.where(torch.arange(len(subject.theta)) < 4, 1, 7)
    (problem, task), phi = (
        (subject.problem, cases.one(subject.draw(cases.fresh(1), 0), 0)),
        learned[:4].clone(),
    )
    for _ in range(2):
        at = phi.requires_grad_()
        loss = problem.inner_loss(at, learned, task.support)
        phi = (at - 7 * 0.01 * torch.autograd.grad(loss, at)[0]).detach()

    loop = algorithm.loop(problem)
    unrolled = adapt(
        loop.inner_optimizer, 2, loop.problem, learned, task, NO_BACKWARD, loop.rates
    ).last

    for found in (algorithm(problem, learned, task).phi, unrolled):
        assert torch.allclose(found, phi)
    assert torch.allclose(algorithm.adapted(problem, learned, task), phi)
    assert torch.allclose(algorithm.rates(problem, learned), torch.tensor(0.07).double())


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
class Same(Quadratic):
    """Draws one task, whatever its address."""

    def sample(self, address, seed):
        return super().sample(address._replace(task=0 * address.task), seed)


def test_the_family_contract_names_tasks_that_are_one_and_a_split_that_is_not_there():
    with pytest.raises(AssertionError, match="another task address gives the same task"):
        check_family(Same(dim=4))
    with pytest.raises(AssertionError, match="there is no field `split`"):
        check_family(type("Split", (Quadratic,), {"held_out": "test"})(dim=4))
    with pytest.raises(AssertionError, match="which `split` refuses"):
        check_family(type("Split", (Digits,), {"held_out": "val"})(ways=2, queries=1, filters=2))


STEPS = {
    "respect to the gradient is 0,": {
        "update": lambda self, g, phi, slots, k: (
            phi - self.rate * (self.momentum * slots[0] + g).detach(),
            (self.momentum * slots[0] + g.detach(),),
        )
    },
    "respect to slot 0 is 0,": {
        "update": lambda self, g, phi, slots, k: Momentum.update(
            self, g, phi, (slots[0].detach(),), k
        )
    },
    "plain is True, but": {"plain": True},
    "stability_edge.. is 2, but": {"stability_edge": lambda self: 2.0},
    "spectral_radius.0.1. is 0.9, its": {"spectral_radius": lambda self, at: abs(1 - at)},
    "preconditioner has shape": {"preconditioner": lambda self, slots, k: torch.ones(1)},
}


@pytest.mark.parametrize("fault", STEPS)
def test_the_contract_of_inner_optimizers_names_the_fault(fault):
    faulty = dataclass(frozen=True)(type("Faulty", (Momentum,), STEPS[fault]))

    with pytest.raises(AssertionError, match=fault):
        check_inner_optimizer(faulty(rate=0.1))


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


def reporting(change):
    """CG whose report is changed."""

    def call(self, matvec, b):
        return change(CG.__call__(self, matvec, b))

    return dataclass(frozen=True)(type("Reporting", (CG,), {"__call__": call}))


SOLVERS = {
    "residual is 0": Boasting,
    "b = 0": Shifted,
    "curvature is -1": reporting(lambda s: s._replace(curvature=-torch.ones_like(s.curvature))),
    "history begins at 0.": reporting(lambda s: s._replace(history=s.history[1:])),
}


@pytest.mark.parametrize("fault", SOLVERS)
def test_the_solver_contract_names_the_fault(fault):
    with pytest.raises(AssertionError, match=fault):
        check_solver(SOLVERS[fault](steps=2))


@dataclass(frozen=True)
class Forgetful(Variance):
    """Merges all shares but the last."""

    def merge(self, subject, seed, parts, progress=no_progress):
        return super().merge(subject, seed, [*parts[:-1], parts[0]], progress)


def test_the_probe_contract_holds_merged_shares_against_the_whole():
    check_probe(Variance(tasks=32, redrawn_tasks=0))

    with pytest.raises(AssertionError, match="merged parts give"):
        check_probe(Forgetful(tasks=32, redrawn_tasks=0))


@dataclass(frozen=True)
class Plain(Probe):
    """A probe of one row."""

    done: int = 3

    def measure(self, subject, seed, progress=no_progress):
        progress(self.done, 3)
        return [Row("length", at=0.0, value=1.0)]

    def find(self, table):
        return []

    def draw(self, table, axes):
        axes.plot(table["at"], table["value"])


def marking(self, table):
    table["at"] = 5.0
    return []


PROBES = {
    "options names limit": {"options": ("limit",)},
    "fidelities.1. names size": {"fidelities": ({"done": 1}, {"size": 2})},
    "find changes the table": {"find": marking},
    "the status of length is 'fine'": {
        "measure": lambda *_: [Row("length", value=1.0, status="fine")]
    },
    "more tasks done than there are": {"done": 5},
}


@pytest.mark.parametrize("fault", PROBES)
def test_the_probe_contract_names_the_fault(fault):
    check_probe(Plain())
    changed = {"__annotations__": {"done": int}} if "done" in PROBES[fault] else {}

    with pytest.raises(AssertionError, match=fault):
        check_probe(dataclass(frozen=True)(type("Faulty", (Plain,), PROBES[fault] | changed))())
