"""How the paths of many tasks are walked: in chunks that fit, eagerly, on the loss descended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from metabench.algorithms.base import Algorithm, Loop
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization
from metabench.probes.explosion import measure_multi_horizon_adjoint
from metabench.probes.explosion.measure_multi_horizon_adjoint import Sweep
from metabench.problems.tasks import Address, Task
from metabench.stats.intervals import Vector

if TYPE_CHECKING:
    from torch import Tensor

    from metabench.probes.explosion import Explosion

HELD = 2**29  # what the paths that are walked together may hold [bytes]


def walker(probe: Explosion, subject: Subject, algorithm: Algorithm) -> tuple[Explosion, Subject]:
    """Look at the algorithm's own inner loop, over all steps asked for; its own K joins them.

    An algorithm whose theta has parts for each inner step is walked no further than it has them.
    """
    own = algorithm.steps
    probe = replace(probe, steps=max(probe.steps, own), at=tuple(sorted({*probe.plan, own})))
    longer = subject.with_algorithm(replace(algorithm, steps=probe.steps))
    if longer.theta.shape == subject.theta.shape:
        return probe, longer
    return replace(probe, steps=algorithm.steps, at=()), subject


def chunks(probe: Explosion, subject: Subject, address: Address, seed: int) -> Iterator[Task]:
    """Draw as many tasks at a time as their paths and meta-gradients leave room for."""
    loop, theta = loop_of(subject), subject.theta
    P, slots = loop.problem.layouts.phi.size, len(loop.inner_optimizer.start(theta))
    numbers = P * (1 + slots) * (probe.steps + 1) + (P + theta.numel()) * 3 * len(probe.plan)
    size = max(min(subject.compute.chunk, HELD // (numbers * theta.element_size())), 1)
    for start in range(0, len(address.task), size):
        yield subject.draw(address.part(start, start + size), seed)


def swept(subject: Subject, at: tuple[int, ...], tasks: Task) -> Sweep:
    """Sweep the exact meta-gradient of every K for each task, with a leading T."""
    loop = loop_of(subject)
    run = eagerly(subject).per_task(
        lambda theta, task: measure_multi_horizon_adjoint.sweep(loop, at, theta, task)
    )
    result: Sweep = run(subject.theta, tasks)
    return result


def eagerly(subject: Subject) -> Vectorization:
    """Vectorize without tracing: a path of hundreds of steps is one long graph, used few times."""
    how = "loop" if subject.compute.batching == "loop" else "vmap"
    return replace(subject.compute, batching=how, engine="eager")


def loop_of(subject: Subject) -> Loop:
    """Give the inner loop of a walker: what it descends, and by which steps."""
    assert isinstance(subject.algorithm, Algorithm)
    loop = subject.algorithm.loop(subject.problem)
    assert loop is not None
    return loop


def some(probe: Explosion) -> int:
    """How many tasks what costs several paths is measured on: a quarter of them."""
    return max(probe.tasks // 4, 1)


def numpy(values: Tensor) -> Vector:
    """Take numbers to NumPy, in float64."""
    found: Vector = values.detach().double().cpu().numpy()
    return found
