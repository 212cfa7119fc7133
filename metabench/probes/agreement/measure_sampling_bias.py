r"""What sampling biases in the meta-gradient, and by which cause, where expectations are known.

With the exact gradient of the expected query loss at phi_K as cotangent, four backward passes
differ in one thing each: A, the estimator's, whose Hessians are of the samples that made the steps;
B, Hessians of other samples at the same phi_k; C, expected Hessians there; D, the exact path. Then
A - B is the bias of *reuse*, B - C that of the *Hessian*, and C - D the *compositional* one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.algorithms import counterparts
from metabench.algorithms.adapt import adapt, inner_batch
from metabench.algorithms.base import Algorithm, Loop, through_init
from metabench.autodiff import derivatives
from metabench.estimation.redraws import redraws
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Task, tree_map
from metabench.records.rows import Row
from metabench.stats.intervals import Interval
from metabench.stats.mean_intervals import mean_interval
from metabench.stats.moments import Moments, mean_norm_interval

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

DRAWS = 2048  # of tasks and samples, and of one task's samples for its Hessian
PARTS = ("reuse", "hessian", "compositional")
MOST_DIRECTIONS = 8  # of Hessians larger than this, random ones

Products = Callable[[int, Tensor], Callable[[Tensor], tuple[Tensor, Tensor]]]  # k, phi_k -> H v
Array = NDArray[np.float64]


class Passes(NamedTuple):
    """Backward passes of one task, `(Q,)` each, in the order of the module's letters."""

    own: Tensor  # A
    other: Tensor  # B
    expected: Tensor  # C
    exact: Tensor  # D


def sampling_bias_rows(subject: Subject, seed: int, draws: int = DRAWS) -> list[Row]:
    """Return the parts of the bias, and the inner Hessian's expectation by layer.

    Args:
        subject: the algorithm, problem and theta.
        seed: of the tasks and samples.
        draws: number of tasks.

    Returns:
        One row, withheld, where the expected losses or the inner loop aren't known.
    """
    algorithm, problem = subject.algorithm, subject.problem
    loop = algorithm.loop(problem) if isinstance(algorithm, Algorithm) else None
    known = problem.expected_inner_loss and problem.expected_outer_loss
    if loop is None or loop.rates is not None or not known:
        return [Row("sampling_bias", status="withheld")]
    steps = algorithm.steps if isinstance(algorithm, Algorithm) else 0
    found = _collected(
        subject, lambda theta, task: passes(loop, steps, theta, task), Address.fresh(0, draws), seed
    )
    own, other, expected, exact = found
    pairs = dict(zip(PARTS, ((own, other), (other, expected), (expected, exact)), strict=True))
    rows = [_norm_row("expected_norm", exact, "")]
    rows += [_norm_row("sampling_bias", one - two, name) for name, (one, two) in pairs.items()]
    rows.append(_norm_row("sampling_bias", own - exact, "total"))
    if redraws(subject, seed)["support"] == "ok":
        rows += _hessian_rows(subject, loop, seed, draws)
    return rows


def passes(loop: Loop, steps: int, theta: Tensor, task: Task) -> Passes:
    """Compute the four backward passes of one task.

    Args:
        loop: the inner loop.
        steps: K.
        theta: meta-parameters, `(Q,)`.
        task: one task.
    """
    problem, whole = loop.problem, loop.problem.expected()
    iterates = adapt(loop.inner_optimizer, steps, problem, theta, task)
    states = [phi for phi, _ in iterates.states]

    def of(loss_of: Problem, data_of: Callable[[int], object]) -> Products:
        return lambda k, phi: derivatives.gradient_with_products(
            loss_of.inner_loss, phi, theta, data_of(k)
        )[1]

    def redrawn(k: int) -> object:
        assert problem.sampling is not None
        return problem.sampling.at_step(task.support, steps + k)

    sources = (
        of(problem, lambda k: inner_batch(problem, task, k)),
        of(problem, redrawn),
        of(whole, lambda k: task.support),
    )
    each = [_backward(loop, whole, theta, task, states, source) for source in sources]
    maml = counterparts.exact_of(loop, steps)
    return Passes(each[0], each[1], each[2], maml(whole, theta, task).grad)


def _backward(
    loop: Loop,
    whole: Problem,
    theta: Tensor,
    task: Task,
    states: list[Tensor],
    products: Products,
) -> Tensor:
    """Backpropagate the expected query loss through the path with given Hessians, `(Q,)`.

    Args:
        loop: the inner loop.
        whole: the problem of expected losses.
        theta: meta-parameters, `(Q,)`.
        task: one task.
        states: phi_0 .. phi_K.
        products: of each step's Hessian.
    """
    optimizer, steps = loop.inner_optimizer, len(states) - 1
    _, v, total = derivatives.value_and_gradients(whole.outer_loss, states[-1], theta, task.query)
    slots = [optimizer.start(states[0])]
    for k in range(steps):
        data = inner_batch(loop.problem, task, k)
        gradient = derivatives.gradient(loop.problem.inner_loss, states[k], theta, data)
        slots.append(optimizer(gradient, states[k], slots[-1], k)[1])
    slots_bar = tree_map(torch.zeros_like, slots[-1])
    for k in reversed(range(steps)):
        data = inner_batch(loop.problem, task, k)
        gradient = derivatives.gradient(loop.problem.inner_loss, states[k], theta, data)
        _, vjp = derivatives.vjp_of(
            lambda g, p, s, k=k: optimizer(g, p, s, k), gradient, states[k], slots[k]
        )
        g_bar, v, slots_bar = vjp((v, slots_bar))
        through, direct = products(k, states[k])(g_bar)
        v, total = v + through, total + direct
    return through_init(loop.problem, theta, v) + total


def _hessian_rows(subject: Subject, loop: Loop, seed: int, draws: int) -> list[Row]:
    """Return how much of the expected Hessian the sampled one has in the mean, by layer.

    Args:
        subject: the problem and theta.
        loop: the inner loop.
        seed: of the samples.
        draws: number of support sets of task 0.
    """
    problem, size = loop.problem, loop.problem.layouts.phi.size
    along = torch.eye(size).to(subject.theta)
    if size > MOST_DIRECTIONS:
        drawn = np.random.default_rng(0).standard_normal((size, MOST_DIRECTIONS))
        along = torch.from_numpy(np.linalg.qr(drawn)[0].T.copy()).to(subject.theta)

    def both(theta: Tensor, task: Task) -> tuple[Tensor, ...]:
        phi, found = problem.init(theta), []
        for loss in (problem.inner_loss, problem.expected().inner_loss):
            times = derivatives.gradient_with_products(loss, phi, theta, task.support)[1]
            found.append(torch.stack([times(v)[0] for v in along]))
        return tuple(found)

    first = np.zeros(draws, np.int64)
    address = Address.fresh(0, draws)._replace(task=first, support=np.arange(draws))
    sampled, expected = _collected(subject, both, address, seed)
    rows = []
    layers = list(problem.layouts.phi.segments())
    for name, part in [("", slice(None)), *(layers if len(layers) > 1 else [])]:
        one = sampled.reshape(draws, len(along), size)[:, :, part].reshape(draws, -1)
        right = expected[0].reshape(len(along), size)[:, part].reshape(-1)
        square = float(right @ right)
        if square == 0:
            rows.append(Row("hessian_share", layer=name, status="degenerate"))
            continue
        share = mean_norm_interval(Moments.from_samples(one))
        aligned = mean_interval(one @ right / square)
        rows.append(_root("hessian_share", share, square, "", name))
        rows.append(Row("hessian_alignment", None, "", name, *aligned))
    return rows


def _collected(
    subject: Subject, function: Callable[[Tensor, Task], object], address: Address, seed: int
) -> list[Array]:
    """Compute a function of each task, `(n, ...)` flattened, a few hundred tasks at a time."""
    per_task = subject.compute.per_task(function)
    parts: list[list[Array]] = []
    for start in range(0, len(address.task), subject.compute.chunk):
        tasks = subject.draw(address.part(start, start + subject.compute.chunk), seed)
        each = per_task(subject.theta, tasks)
        parts.append([leaf.flatten(1).double().cpu().numpy() for leaf in each])
    return [np.concatenate(leaves) for leaves in zip(*parts, strict=True)]


def _norm_row(quantity: str, sample: Array, of: str) -> Row:
    """Return the norm of a mean with its interval."""
    if not np.isfinite(sample).all():
        return Row(quantity, of=of, status="diverged")
    return _root(quantity, mean_norm_interval(Moments.from_samples(sample)), 1.0, of)


def _root(quantity: str, squared: Interval, unit: float, of: str, layer: str = "") -> Row:
    """Return the root of a squared norm over a unit, cut off at 0.

    Args:
        quantity: of the row.
        squared: interval of the squared norm.
        unit: square of what it is relative to.
        of: source of the row.
        layer: of the row.
    """
    value, low, high = (float(np.sqrt(max(x, 0.0) / unit)) for x in squared)
    status = "ok" if low > 0 or high == 0 else "unresolved"
    return Row(quantity, None, of, layer, value, low, high, status)
