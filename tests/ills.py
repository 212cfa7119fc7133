"""Problems built to be ill, one fault each or two at once, and healthy ones: cheap and small.

All are bowls of P = 6 whose support sets say nearly the same as their query sets; what is planted
follows from the settings, not from chance.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import torch

import metabench as mb
from metabench.measurement.measurement import Measurement
from metabench.probes.verify import Verify


@dataclass(frozen=True)
class Bowls(mb.Quadratic):
    """Quadratic bowls, near each other and far from theta; some of whose faults are fields."""

    dim: int = 6
    condition: float = 3.0
    spread: float = 0.3
    noise: float = 0.3
    jitter: float = 0.3
    offset: float = 1.5
    shots: int = 10
    queries: int = 10
    together: int = 1  # consecutive tasks that share all but some query noise [tasks]
    down: float = 0.0  # curvature that is taken off the first coordinate [curvature]
    half: bool = False  # whether the inner loss is computed in float16

    def problem(self):
        """Give the bowls, with the planted losses."""
        plain = super().problem()
        if not (self.half or self.down):
            return plain
        return plain._replace(inner_loss=self._loss, outer_loss=self._loss)

    def _loss(self, phi, theta, data):
        curvature, target = data
        at, to, bent = phi, target, curvature
        if self.half:
            at, to, bent = (x.to(torch.float16) for x in (at, to, bent))
        loss = (0.5 * bent * (at - to) ** 2).sum(-1).mean()
        if self.down:
            loss = loss - 0.5 * self.down * at[0] ** 2
        return loss.to(phi.dtype)

    def sample(self, address, seed):
        """Draw tasks, neighbors alike where that is planted."""
        tasks = super().sample(address, seed)
        if self.together == 1:
            return tasks
        near = super().sample(address._replace(task=address.task // self.together), seed)
        own = tasks.query[1] - tasks.query[1].mean(1, keepdim=True)
        return near._replace(query=(near.query[0], near.query[1] + own))


@dataclass(frozen=True)
class Case:
    """What is diagnosed, and the causes that were planted in it."""

    family: mb.Family
    algorithm: mb.Algorithm
    outer: mb.OuterOptimizer
    planted: tuple[str, ...] = ()

    def cell(self, seed):
        """Make the cell that a checkup takes."""
        compute = mb.Vectorization()
        return Measurement(
            Verify(), self.algorithm, self.family, compute, seed, "float32", "cpu", ""
        )


# Settings at which one checkup takes a second or two, and still sees what is planted.
SMALL = {
    "variance": {"tasks": 2048, "redrawn_tasks": 1024, "batches": 32},
    "spectrum": {"tasks": 24},
    "explosion": {"tasks": 32, "steps": 10},
    "agreement": {"tasks": 8, "minimum_steps": 30},
    "constants": {"tasks": 16, "hessians": 4},
}


def asking(algorithm):
    """Name the probes that can warn of this algorithm: of MAML, agreement and cost never do."""
    implicit = ("agreement",) if isinstance(algorithm, mb.IMAML) else ()
    return ("verify", "variance", "spectrum", "explosion", "constants", *implicit)


def healthy(seed):
    """Draw a healthy problem: rate inside the edge, B above the noise scale, many shots."""
    draw = np.random.default_rng(seed)
    family = Bowls(
        dim=int(draw.integers(3, 9)),
        condition=float(draw.uniform(1, 4)),
        spread=float(draw.uniform(0.1, 0.5)),
        noise=float(draw.uniform(0.1, 0.5)),
        jitter=float(draw.uniform(0.05, 0.3)),
        shots=int(draw.integers(8, 21)),
        queries=int(draw.integers(8, 21)),
    )
    rate, K = float(draw.uniform(0.05, 0.5)), int(draw.integers(1, 4))
    algorithm = mb.MAML(K, mb.SGD(rate))
    return Case(family, algorithm, mb.OuterOptimizer(batch=int(draw.integers(16, 65))))


def rate(case):
    """Put the inner rate past the edge 2 / lambda_max, where the largest curvature is about 1."""
    step = replace(case.algorithm.inner_optimizer, rate=2.6)
    return replace(case, algorithm=replace(case.algorithm, inner_optimizer=step, steps=4))


def shots(case):
    """Leave two examples of noisy curvature a task, and follow them closely."""
    family = replace(case.family, shots=2, jitter=0.9)
    step = replace(
        case.algorithm.inner_optimizer, rate=max(0.8, case.algorithm.inner_optimizer.rate)
    )
    return replace(
        case, family=family, algorithm=replace(case.algorithm, inner_optimizer=step, steps=5)
    )


def batch(case):
    """Train on one task a step, and spread tasks so that one says little."""
    family = replace(case.family, spread=3.0)
    return replace(case, family=family, outer=mb.OuterOptimizer(batch=1))


def curvature(case):
    """Let one coordinate curve down, and solve an implicit gradient there."""
    family = replace(case.family, down=1.8)
    algorithm = mb.IMAML(
        case.algorithm.steps, case.algorithm.inner_optimizer, proximal_strength=0.5
    )
    return replace(case, family=family, algorithm=algorithm)


def precision(case):
    """Compute the inner loss in float16."""
    return replace(case, family=replace(case.family, half=True))


def sampling(case):
    """Let four consecutive tasks be nearly one."""
    return replace(case, family=replace(case.family, together=4))


# One task a batch has no neighbor to resemble: the noise scale that names it assumes
# independent tasks, and is withheld where they aren't.
APART = {("batch", "sampling")}
PLANTS = {plant.__name__: plant for plant in (rate, shots, batch, curvature, precision, sampling)}


def planted(names, seed=0):
    """Plant faults in a healthy draw."""
    case = healthy(seed)
    for name in names:
        case = PLANTS[name](case)
    return replace(case, planted=tuple(names))


PAIRS = [pair for pair in itertools.combinations(PLANTS, 2) if pair not in APART]
