"""Does an algorithm do what it declares of itself to probes and to training?

Probes don't call `__call__` alone: `spectrum` differentiates `adapted`, `explosion` unrolls `loop`,
`variance` compares with `reference`, training asks `objective` and `custom_updates`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from metabench.algorithms.adapt import NO_BACKWARD, adapt
from metabench.algorithms.base import Algorithm, MetaGrad
from metabench.autodiff import derivatives
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import first_task
from metabench.problems.parameter_layout import Layout
from metabench.problems.problem import Problem
from metabench.problems.proximal import proximal
from metabench.problems.tasks import Address, Task
from metabench.settings.errors import InvalidInput
from metabench.testing.expectations import equal, expect, expect_same

MOVED = 0.1  # relative size of the step to another theta, where learned parts aren't as they began
TOLERANCE = 1e-8  # relative, of two computations of one number in float64
FIRST_RATE = 0.1  # tried where the inner rate is 0
OBJECTIVE_TOLERANCE = 1e-4  # relative, as in `variance`


def check_declared(subject: Subject, algorithm: Algorithm, task: Task, seed: int) -> None:
    """Check what an algorithm declares against what its call computes, beside the first theta.

    Args:
        subject: at a theta in float64.
        algorithm: that of the subject.
        task: one task.
        seed: of the step to the other theta.
    """
    problem, theta = subject.problem, subject.theta
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(theta), generator=generator, dtype=theta.dtype)
    beside = theta * (1 + MOVED * noise)
    found = algorithm(problem, beside, task)
    _expect_objective(algorithm, problem, beside, task, found)
    _expect_adapted(algorithm, problem, beside, task, found)
    _expect_loop(algorithm, problem, beside, task, found)
    _expect_implicit(algorithm, problem, beside, task, found)
    _expect_extended(subject, algorithm)
    _expect_updates(algorithm, problem, found)
    _expect_reference(subject, algorithm, task)
    _expect_used(subject, algorithm, seed)
    expect(
        algorithm.at_epoch(0) == algorithm,
        "at_epoch(0) has other settings, so training would begin with those",
    )


def _expect_objective(
    algorithm: Algorithm, problem: Problem, theta: Tensor, task: Task, found: MetaGrad
) -> None:
    sentence = "objective(problem, theta, task) is not the loss of the call"
    expect_same(algorithm.objective(problem, theta, task), found.loss, TOLERANCE, sentence)


def _expect_adapted(
    algorithm: Algorithm, problem: Problem, theta: Tensor, task: Task, found: MetaGrad
) -> None:
    adapted, layout = algorithm.adapted(problem, theta, task), algorithm.inner(problem).layouts.phi
    phi = _adapting(layout, problem.layouts.phi, found.phi)
    shape = tuple(adapted.shape)
    expect(shape == phi.shape, f"adapted has shape {shape}, not {tuple(phi.shape)}")
    sentence = "adapted(problem, theta, task) is not the phi of the call; override it with yours"
    expect_same(adapted, phi, TOLERANCE, sentence)


def _expect_loop(
    algorithm: Algorithm, problem: Problem, theta: Tensor, task: Task, found: MetaGrad
) -> None:
    loop = algorithm.loop(problem)
    if loop is None:
        return
    phi = _adapting(loop.problem.layouts.phi, problem.layouts.phi, found.phi)
    optimizer, steps = loop.inner_optimizer, algorithm.steps
    end = adapt(optimizer, steps, loop.problem, theta, task, NO_BACKWARD, loop.rates).last
    sentence = (
        "loop(problem) does not end at the phi of the call; return the Loop that it runs, or None"
    )
    expect_same(end, phi, TOLERANCE, sentence)
    loss = loop.problem.outer_loss(end, theta, task.query)
    expect_same(loss, found.loss, TOLERANCE, "the outer loss of loop(problem) is another")
    expect(
        loop.rates is None or not steps or algorithm.rates(problem, theta) is not None,
        "loop(problem) has learned rates, but rates(problem, theta) is None; return them there",
    )


def _adapting(part: Layout, whole: Layout, phi: Tensor) -> Tensor:
    """Return the parameters that adapt, of a phi that may hold more."""
    if part == whole:
        return phi
    held = whole.unflatten(phi)
    unknown = [name for name in part.names if name not in held]
    expect(not unknown, f"inner(problem) has parameters that phi lacks: {', '.join(unknown)}")
    return part.flatten({name: held[name] for name in part.names})


def _expect_implicit(
    algorithm: Algorithm, problem: Problem, theta: Tensor, task: Task, found: MetaGrad
) -> None:
    given = algorithm.implicit()
    if given is None:
        return
    inner, phi = algorithm.inner(problem), found.phi
    declared = proximal(problem, given.proximal_strength)
    expect_same(
        inner.inner_loss(phi, theta, task.support),
        declared.inner_loss(phi, theta, task.support),
        TOLERANCE,
        f"inner(problem) lacks the proximal term of strength {given.proximal_strength:g} that "
        "implicit() declares",
    )
    _, in_phi, direct = derivatives.value_and_gradients(inner.outer_loss, phi, theta, task.query)
    _, products = derivatives.gradient_with_products(inner.inner_loss, phi, theta, task.support)
    solved = given.solver(lambda v: products(v)[0], in_phi)
    sentence = "grad is not the implicit gradient by the solver that implicit() declares"
    expect_same(found.grad, direct - products(solved.x)[1], TOLERANCE, sentence)


def _expect_extended(subject: Subject, algorithm: Algorithm) -> None:
    """What the algorithm learns besides is appended: theta stays at its front, phi_0 as it was."""
    base = subject.problem.base or subject.problem
    Q = base.layouts.theta.size
    problem, theta = algorithm.extend(base, subject.theta[:Q].clone())
    size = problem.layouts.theta.size
    expect(len(theta) == size, f"extend returns a theta of {len(theta)} for a layout of {size}")
    expect(len(theta) >= Q, "extend returns a shorter theta; append to it")
    expect_same(theta[:Q], subject.theta[:Q], 0.0, "extend changes theta; append to it")
    start = base.init(theta[:Q])
    extended = problem.init(theta)[: len(start)]
    expect_same(extended, start, TOLERANCE, "extend changes phi_0, the start of the inner loop")


def _expect_updates(algorithm: Algorithm, problem: Problem, found: MetaGrad) -> None:
    updates, layout = algorithm.custom_updates(problem), problem.layouts.theta
    sizes = dict(zip(layout.names, layout.sizes, strict=True))
    for name in (*updates.plain_rates, *updates.averages):
        expect(name in sizes, f"custom_updates names {name!r}, which is no part of theta")
    if updates.averages:
        given = found.notes.get("batch_statistics", found.grad.new_empty(0)).numel()
        wanted = sum(sizes[name] for name in updates.averages)
        expect(
            given == wanted,
            f"notes['batch_statistics'] has {given} numbers; the averages of custom_updates have "
            f"{wanted}",
        )


def _expect_reference(subject: Subject, algorithm: Algorithm, task: Task) -> None:
    """The reference is exact, and differentiates the same number."""
    reference = algorithm.reference()
    if reference is None:
        return
    named = type(reference).__name__
    expect(reference.exact, f"reference() is {named}, which isn't exact with these settings")
    other = subject.with_algorithm(reference)
    own, theirs = (
        float(each.algorithm.differentiated(each.problem, each.theta, task))
        for each in (subject, other)
    )
    expect(
        abs(own - theirs) <= OBJECTIVE_TOLERANCE * abs(own) or own != own,  # NaN: no objective
        f"reference() is {named} of another objective: its loss is {theirs:.6g}, not {own:.6g}",
    )


def _expect_used(subject: Subject, algorithm: Algorithm, seed: int) -> None:
    """Each setting of the inner loop, inherited ones too, changes a number or is refused."""
    optimizer = algorithm.inner_optimizer
    faster = replace(optimizer, rate=2 * optimizer.rate or FIRST_RATE)
    others: dict[str, Any] = {"steps": algorithm.steps + 1, "inner_optimizer": faster}
    if len(tree_leaves(first_task(subject.draw(Address.fresh(0, 1), seed)).support)[0]) > 1:
        others["batch"] = algorithm.batch + 1
    before = _first(subject, algorithm, seed)
    for name, value in others.items():
        try:
            after = _first(subject, replace(algorithm, **{name: value}), seed)
        except InvalidInput:  # refused; or a mini-batch that is larger than the support set
            continue
        expect(
            not equal(before, after),
            f"another {name} changes neither grad nor loss nor phi; use this setting, or refuse "
            "it in __post_init__ with metabench.InvalidInput",
        )


def _first(subject: Subject, algorithm: Algorithm, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the numbers of the first task, at the theta with which the algorithm begins."""
    base = subject.problem.base or subject.problem
    start = subject.theta[: base.layouts.theta.size]
    subject = Subject(base, subject.sample, algorithm, start)
    task = first_task(subject.draw(Address.fresh(0, 1), seed))
    found = algorithm(subject.problem, subject.theta, task)
    return found.grad, found.loss, found.phi
