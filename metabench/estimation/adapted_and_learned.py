"""What adapts in the inner loop and what the outer loop learns, by name and number."""

from __future__ import annotations

import torch

from metabench.algorithms.base import Algorithm
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import first_task
from metabench.problems.parameter_layout import Layout
from metabench.problems.tasks import Address

MOST_NAMED = 4  # parameters in the sentence
PER_STEP = "norm."  # prefix of norm parameters that have a value for each inner step


def adapted_and_learned(subject: Subject) -> str:
    """Return a sentence on which parameters adapt and which are learned.

    >>> import metabench as mb
    >>> family = mb.Sinusoid()
    >>> subject = mb.Subject(family.problem(), family.sample, mb.ANIL(), family.theta(0))
    >>> adapted_and_learned(subject)[:43]
    'Adapted: 2 tensors with 41 numbers, 4.weigh'
    """
    theta = subject.problem.layouts.theta
    learned = f"Learned: {_described(theta)}."
    if not isinstance(subject.algorithm, Algorithm):
        return learned
    problem = subject.problem
    if problem.last_called and not problem.last_called():
        task = first_task(subject.draw(Address.fresh(0, 1), 0))
        with torch.no_grad():
            problem.inner_loss(problem.init(subject.theta), subject.theta, task.support)
    phi = subject.algorithm.inner(problem).layouts.phi
    per_step = {name.removeprefix(PER_STEP) for name in theta.names if name.startswith(PER_STEP)}
    kept = [
        (name, shape)
        for name, shape in zip(phi.names, phi.shapes, strict=True)
        if name not in per_step
    ]
    adapted = Layout(tuple(name for name, _ in kept), tuple(shape for _, shape in kept))
    return f"Adapted: {_described(adapted)}. {learned}"


def _described(layout: Layout) -> str:
    """Return the numbers of tensors and of their entries, and the first and last names."""
    count, names = len(layout.names), list(layout.names)
    if count > MOST_NAMED:
        names = [*names[: MOST_NAMED - 1], "...", names[-1]]
    word = "tensor" if count == 1 else "tensors"
    return f"{count} {word} with {layout.size:,} numbers, {', '.join(names)}"
