"""Unrolls of many tasks, in chunks that fit into memory."""

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

BYTES_AT_ONCE = 2**29  # memory that tasks unrolled together may use [bytes]


def with_all_steps(
    probe: Explosion, subject: Subject, algorithm: Algorithm
) -> tuple[Explosion, Subject]:
    """Return probe and subject with as many inner steps as the probe needs, its own K included.

    An algorithm with parameters for each inner step is unrolled only as far as it has them.

    Args:
        probe: its settings.
        subject: what is measured.
        algorithm: that of the subject.
    """
    own = algorithm.steps
    probe = replace(probe, steps=max(probe.steps, own), at=tuple(sorted({*probe.plan, own})))
    longer = subject.with_algorithm(replace(algorithm, steps=probe.steps))
    if longer.theta.shape == subject.theta.shape:
        return probe, longer
    return replace(probe, steps=algorithm.steps, at=()), subject


def task_chunks(probe: Explosion, subject: Subject, address: Address, seed: int) -> Iterator[Task]:
    """Draw the addressed tasks in chunks whose iterates and meta-gradients fit into memory.

    Args:
        probe: its settings.
        subject: what is measured.
        address: the tasks.
        seed: of the tasks.
    """
    loop, theta = inner_loop_of(subject), subject.theta
    P, slots = loop.problem.layouts.phi.size, len(loop.inner_optimizer.start(theta))
    numbers = P * (1 + slots) * (probe.steps + 1) + (P + theta.numel()) * 3 * len(probe.plan)
    size = max(min(subject.compute.chunk, BYTES_AT_ONCE // (numbers * theta.element_size())), 1)
    for start in range(0, len(address.task), size):
        yield subject.draw(address.part(start, start + size), seed)


def sweep_tasks(subject: Subject, at: tuple[int, ...], tasks: Task) -> Sweep:
    """Compute the exact meta-gradients at every K for each task, with a leading T.

    Args:
        subject: what is measured.
        at: values of K, ascending.
        tasks: with a leading T.
    """
    loop = inner_loop_of(subject)
    run = eager_vectorization(subject).per_task(
        lambda theta, task: measure_multi_horizon_adjoint.sweep(loop, at, theta, task)
    )
    result: Sweep = run(subject.theta, tasks)
    return result


def eager_vectorization(subject: Subject) -> Vectorization:
    """Return the vectorization without tracing: a graph of so many steps is used too few times."""
    how = "loop" if subject.compute.batching == "loop" else "vmap"
    return replace(subject.compute, batching=how, engine="eager")


def inner_loop_of(subject: Subject) -> Loop:
    """Return the inner loop of the subject's algorithm: its loss and its inner optimizer."""
    assert isinstance(subject.algorithm, Algorithm)
    loop = subject.algorithm.loop(subject.problem)
    assert loop is not None
    return loop


def subset_size(probe: Explosion) -> int:
    """Return the number of tasks for what costs several unrolls: a quarter of them."""
    return max(probe.tasks // 4, 1)


def to_numpy(values: Tensor) -> Vector:
    """Return a tensor as a NumPy array in float64."""
    found: Vector = values.detach().double().cpu().numpy()
    return found
