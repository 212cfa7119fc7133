"""Contract of families: tasks follow from their addresses, shapes, dtypes."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from metabench.estimation.vectorization import first_task
from metabench.families.base import Family
from metabench.families.own_problem import family_of_problem
from metabench.problems.problem import Problem
from metabench.problems.samplers import as_task, check_drawn, withheld
from metabench.problems.tasks import Address, Sampler, Task, cast, tree_map
from metabench.settings.errors import InvalidInput
from metabench.testing.expectations import TASKS, equal, expect, expect_refused, expect_same


def check_family(family: Family, seed: int = 0) -> None:
    """Check a family against its contract: addresses, shapes, dtype, and independence of the axes.

    The split that it declares to hold out is another one of its own; settings that count something
    are refused below zero.
    """
    expect_refused(family)
    _check_held_out(family)
    address = Address.fresh(5, TASKS)
    tasks = family.sample(address, seed)
    _check_theta(family, seed)
    _check_tasks(family.sample, seed)
    _check_redraws(family.sample, seed)
    other = family.sample(address, seed + 1)
    expect(not equal(tasks, other), "another seed gives the same tasks")
    for leaves in (tasks.support, tasks.query):
        tree_map(_check_leaf, leaves)
    _check_losses(family, first_task(tasks), seed)


def check_problem(problem: Problem, seed: int = 0) -> None:
    """Check a problem with tasks against what its sampler can offer.

    Shapes; the same task whatever is drawn with it; redraws, where there are any; scalar losses.

    Raises:
        AssertionError: with what is broken.
        InvalidInput: if the problem has no tasks.
    """
    own = family_of_problem(problem)
    _check_theta(own, seed)
    tasks = _check_tasks(own.sampler, seed)
    check_drawn(tasks, TASKS)
    if not withheld(own.sampler):
        _check_redraws(own.sampler, seed)
    _check_losses(own, first_task(cast(tasks, own.theta(seed))), seed)


def _check_theta(family: Family, seed: int) -> None:
    theta, Q = family.theta(seed), family.problem().layouts.theta.size
    expect(theta.shape == (Q,), f"theta has shape {tuple(theta.shape)}, its layout ({Q},)")
    expect(theta.dtype == torch.float64, f"theta is {theta.dtype}, not float64")
    expect(torch.equal(theta, family.theta(seed)), "theta(seed) differs between two calls")


def _check_tasks(sample: Sampler, seed: int) -> Task:
    """Expect the same tasks in two calls, each independent of the others drawn with it."""
    address = Address.fresh(5, TASKS)
    tasks = as_task(sample(address, seed))
    again, alone = (as_task(sample(at, seed)) for at in (address, address.part(1, 2)))
    expect_same(tasks, again, 0.0, "sample(address, seed) differs between calls")
    one = tree_map(lambda leaf: leaf[1:2], tasks)
    expect_same(one, alone, 0.0, "a task depends on which others are drawn with it")
    first, second = (tree_map(lambda leaf, i=i: leaf[i], tasks) for i in range(2))
    expect(not equal(first, second), "another task address gives the same task")
    return tasks


def _check_redraws(sample: Sampler, seed: int) -> None:
    """Expect support and query to be redrawn each without the other."""
    address = Address.fresh(5, TASKS)
    tasks = as_task(sample(address, seed))
    for part, still in (("support", "query"), ("query", "support")):
        redrawn = address._replace(**{part: getattr(address, part) + 1})
        moved = as_task(sample(redrawn, seed))
        changed = not equal(getattr(tasks, part), getattr(moved, part))
        expect(changed, f"a {part} redraw changes nothing")
        kept = equal(getattr(tasks, still), getattr(moved, still))
        expect(kept, f"a {part} redraw changes the {still} set")


def _check_held_out(family: Family) -> None:
    """Validation in training makes the family with `split` at the declared word."""
    word = family.held_out
    if not word:
        return
    held = {field.name for field in dataclasses.fields(family)}  # type: ignore[arg-type]
    expect("split" in held, f"held_out is {word!r}, but there is no field `split` to set to it")
    try:
        dataclasses.replace(family, split=word)  # type: ignore[type-var]
    except InvalidInput as error:
        raise AssertionError(f"held_out is {word!r}, which `split` refuses: {error}") from error


def _check_losses(family: Family, task: Task, seed: int) -> None:
    problem, theta = family.problem(), family.theta(seed)
    for loss, data in ((problem.inner_loss, task.support), (problem.outer_loss, task.query)):
        value = loss(problem.init(theta), theta, data)
        expect(value.shape == (), f"a loss has shape {tuple(value.shape)}; it must be a scalar")


def _check_leaf(leaf: Tensor) -> Tensor:
    expect(len(leaf) == TASKS, f"a tensor of the tasks has {len(leaf)} rows for {TASKS} addresses")
    floating = torch.is_floating_point(leaf)
    right = not floating or leaf.dtype == torch.float64
    expect(right, f"a tensor of the tasks is {leaf.dtype}, not float64")
    return leaf
