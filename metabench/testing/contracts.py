"""The contracts that every member must pass: ours, and those of plugin authors.

Each function raises AssertionError with a sentence that says what was found and what was expected.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor

from metabench.algorithms.base import Algorithm
from metabench.algorithms.black_box import BlackBox
from metabench.algorithms.inner_optimizers.inner_optimizer import Step
from metabench.algorithms.maml import MAML
from metabench.autodiff import derivatives
from metabench.autodiff.finite_differences import settled_slopes
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Lift, first_task
from metabench.families.quadratic import Quadratic
from metabench.linalg.solvers.solver import Solve, Solver
from metabench.probes.base import Probe, Share
from metabench.problems.custom import Own
from metabench.problems.family import Family
from metabench.problems.problem import Problem
from metabench.problems.samplers import as_task, check_drawn, withheld
from metabench.problems.tasks import Address, Sampler, Task, cast, tree_map
from metabench.records.rows import LEVELS, Row, to_table

TASKS = 3
SIZE = 6  # of a solver's matrix
DIRECTIONS = 3  # along which a gradient is held against differences
SLOPE = 1e-4  # of its own size: differences are good to 1e-6 of it
# Settings that count something, of whichever member has them.
COUNTS = ("steps", "batch", "tasks", "ways", "shots", "queries", "rank", "rate")


def check_algorithm(algorithm: Algorithm, family: Family, seed: int = 0) -> None:
    """Hold an algorithm to its contract on a family, in float64.

    Shapes and dtype follow theta, in float32 too; vmap equals a loop over tasks; two calls give the
    same bits; the reported loss is the outer loss at the reported phi; where the algorithm says
    that it is exact, its gradient is the slope of what it says is differentiated, by finite
    differences; settings below zero are refused.
    """
    _expect_refused(algorithm)
    subject = Subject(family.problem(), _sampler(family), algorithm, family.theta(seed).double())
    problem, theta = subject.problem, subject.theta
    tasks = subject.draw(Address.fresh(0, TASKS), seed)

    def run(how: str) -> Callable[[Tensor, Task], object]:
        return Lift(how).per_task(lambda at, task: algorithm(problem, at, task))

    found = algorithm(problem, theta, first_task(tasks))
    P, Q = problem.layouts.phi.size, problem.layouts.theta.size
    _expect(found.grad.shape == (Q,), f"grad has shape {tuple(found.grad.shape)}, not ({Q},)")
    _expect(found.loss.shape == (), f"loss has shape {tuple(found.loss.shape)}, not ()")
    _expect(found.phi.shape == (P,), f"phi has shape {tuple(found.phi.shape)}, not ({P},)")
    _expect(found.grad.dtype == theta.dtype, f"grad is {found.grad.dtype}, theta {theta.dtype}")
    _expect(bool(torch.isfinite(found.grad).all()), "grad is not finite")
    together, again, apart = (run(how)(theta, tasks) for how in ("vmap", "vmap", "loop"))
    _same(together, again, 0.0, "two calls differ")
    _same(together, apart, 1e-10, "vmap and a loop over tasks differ")
    _expect_loss(algorithm, problem, theta, first_task(tasks))
    _expect_slope(algorithm, problem, theta, first_task(tasks), seed)
    small = theta.float()
    grad = algorithm(problem, small, first_task(cast(tasks, small))).grad
    _expect(grad.dtype == small.dtype, f"grad is {grad.dtype}, theta {small.dtype}")


def check_family(family: Family, seed: int = 0) -> None:
    """Hold a family to its contract: addresses, shapes, dtype, and independence of the axes.

    Settings that count something are refused below zero.
    """
    _expect_refused(family)
    address = Address.fresh(5, TASKS)
    tasks = family.sample(address, seed)
    _check_theta(family, seed)
    _check_tasks(family.sample, seed)
    _check_redraws(family.sample, seed)
    other = family.sample(address, seed + 1)
    _expect(not _equal(tasks, other), "another seed gives the same tasks")
    for leaves in (tasks.support, tasks.query):
        tree_map(_check_leaf, leaves)
    _check_losses(family, first_task(tasks), seed)


def check_own(own: Own, seed: int = 0) -> None:
    """Hold a problem of one's own to what its sampler can offer.

    Shapes; the same task whatever is drawn with it; redraws, where there are any; scalar losses.
    """
    _check_theta(own, seed)
    tasks = _check_tasks(own.draw, seed)
    check_drawn(tasks, TASKS)
    if not withheld(own.draw):
        _check_redraws(own.draw, seed)
    _check_losses(own, first_task(cast(tasks, own.theta(seed))), seed)


def check_black_box(estimator: BlackBox, family: Family, seed: int = 0) -> None:
    """Hold an estimator of one's own to its contract on its own problem, in float32.

    Shapes; finite numbers; two calls give the same bits; of a batch, the mean over its tasks.
    """
    subject = Subject(family.problem(), _sampler(family), estimator, family.theta(seed).float())
    address = Address.fresh(0, TASKS)
    found, again = (subject.meta_gradients(address, seed) for _ in range(2))
    _expect(bool(torch.isfinite(found.grad).all()), "its gradient is not finite")
    _same(found.grad, again.grad, 0.0, "two calls differ")
    (mean,) = subject.estimates(address, seed, TASKS)
    _same(mean[0], found.grad.mean(0), 1e-4, "of a batch it gives no mean over tasks")


def _sampler(family: Family) -> Sampler:
    """Give the sampler, one's own as it is, so that it can say what it can't redraw."""
    return family.draw if isinstance(family, Own) else family.sample


def _check_theta(family: Family, seed: int) -> None:
    theta, Q = family.theta(seed), family.problem().layouts.theta.size
    _expect(theta.shape == (Q,), f"theta has shape {tuple(theta.shape)}, its layout ({Q},)")
    _expect(theta.dtype == torch.float64, f"theta is {theta.dtype}, not float64")
    _expect(torch.equal(theta, family.theta(seed)), "theta(seed) differs between two calls")


def _check_tasks(sample: Sampler, seed: int) -> Task:
    """Expect the same tasks twice, and each whichever others are drawn with it."""
    address = Address.fresh(5, TASKS)
    tasks = as_task(sample(address, seed))
    again, alone = (as_task(sample(at, seed)) for at in (address, address.part(1, 2)))
    _same(tasks, again, 0.0, "sample(address, seed) differs between calls")
    one = tree_map(lambda leaf: leaf[1:2], tasks)
    _same(one, alone, 0.0, "a task depends on which others are drawn with it")
    return tasks


def _check_redraws(sample: Sampler, seed: int) -> None:
    """Expect support and query to be redrawn each without the other."""
    address = Address.fresh(5, TASKS)
    tasks = as_task(sample(address, seed))
    for part, still in (("support", "query"), ("query", "support")):
        redrawn = address._replace(**{part: getattr(address, part) + 1})
        moved = as_task(sample(redrawn, seed))
        changed = not _equal(getattr(tasks, part), getattr(moved, part))
        _expect(changed, f"a {part} redraw changes nothing")
        kept = _equal(getattr(tasks, still), getattr(moved, still))
        _expect(kept, f"a {part} redraw changes the {still} set")


def _check_losses(family: Family, task: Task, seed: int) -> None:
    problem, theta = family.problem(), family.theta(seed)
    for loss, data in ((problem.inner_loss, task.support), (problem.outer_loss, task.query)):
        value = loss(problem.init(theta), theta, data)
        _expect(value.shape == (), f"a loss has shape {tuple(value.shape)}; it must be a scalar")


def check_solver(solver: Solver, seed: int = 0) -> None:
    """Hold a solver to its contract, on a well-conditioned matrix in float64.

    Shapes; an honest residual; zero for zero; vmap equals a loop over right-hand sides; settings
    below zero are refused.
    """
    _expect_refused(solver)
    generator = torch.Generator().manual_seed(seed)
    square, B = torch.randn(2, SIZE, SIZE, generator=generator, dtype=torch.float64)
    A = torch.eye(SIZE).to(square) + square @ square.T / SIZE
    B[1] = 0

    def solve(theta: Tensor, task: Task) -> Solve:
        return solver(lambda v: A @ v, task.query)

    found = solver(lambda v: A @ v, B[0])
    _expect(found.x.shape == (SIZE,), f"x has shape {tuple(found.x.shape)}, not ({SIZE},)")
    for name in ("residual", "steps", "curvature"):
        shape = tuple(getattr(found, name).shape)
        _expect(shape == (), f"{name} has shape {shape}, not ()")
    true = float((A @ found.x - B[0]).norm() / B[0].norm())
    _expect(
        abs(float(found.residual) - true) <= 1e-9 * (true + 1e-3),
        f"residual is {float(found.residual):.2g}, but |A x - b| / |b| is {true:.2g}",
    )
    _expect(not solver(lambda v: A @ v, B[1]).x.any(), "the answer to b = 0 is not 0")
    together, apart = (Lift(how).per_task(solve)(A[0], Task(B, B)) for how in ("vmap", "loop"))
    _same(together, apart, 1e-10, "vmap and a loop over right-hand sides differ")


def check_step(step: Step, seed: int = 0) -> None:
    """Hold an inner optimiser to its contract: shapes, and a derivative that is its own.

    A rate below zero is refused.
    """
    _expect_refused(step)
    generator = torch.Generator().manual_seed(seed)
    gradient, phi, along = torch.randn(3, SIZE, generator=generator, dtype=torch.float64)
    slots = step.start(phi)
    for k in range(2):
        moved, after = step(gradient, phi, slots, k)
        _expect(moved.shape == phi.shape, f"phi becomes {tuple(moved.shape)}, not ({SIZE},)")
        _expect(len(after) == len(slots), f"{len(slots)} slots become {len(after)}")
        slots = after

    def weighted(at: Tensor) -> Tensor:
        value: Tensor = step(at, phi, slots, 2)[0] @ along
        return value

    _, pull = derivatives.pullback_of(weighted, gradient)
    claimed = float(pull(torch.ones_like(phi[0]))[0] @ along)
    h = 1e-6
    slope = float(weighted(gradient + h * along) - weighted(gradient - h * along)) / (2 * h)
    _expect(
        abs(claimed - slope) <= 1e-6 * (1 + abs(slope)),
        f"its derivative in the gradient is {claimed:.6g}, finite differences say {slope:.6g}",
    )


def check_probe(probe: Probe, seed: int = 0) -> None:
    """Hold a probe to its contract: tidy rows, and findings and a figure from the table alone.

    Settings that count something are refused below zero.
    """
    from matplotlib.figure import Figure

    _expect_refused(probe)
    family = Quadratic(dim=4)
    theta = family.theta(seed)
    subject = Subject(family.problem(), family.sample, MAML(steps=2), theta)
    rows = probe.measure(subject, seed)
    _expect(bool(rows), "it measures no rows")
    for row in rows:
        _expect(isinstance(row, Row), f"a row is a {type(row).__name__}, not a metabench.Row")
        finite = all(x is None or math.isfinite(x) for x in (row.at, row.value, row.low, row.high))
        _expect(finite, f"{row.quantity} is not finite; give None and a status")
    again = [row for row in probe.measure(subject, seed) if "seconds" not in row.quantity]
    _expect(again == [row for row in rows if "seconds" not in row.quantity], "two calls differ")
    if probe.cuts:
        _expect_merged(probe, subject, seed, rows)
    table = to_table(rows)
    for finding in probe.diagnose(table):
        _expect(finding.level in LEVELS, f"a finding's level is {finding.level!r}")
    probe.draw(table, Figure().subplots())


def _expect_merged(probe: Probe, subject: Subject, seed: int, rows: list[Row]) -> None:
    """Shares put together are the whole, to round-off."""
    shards = [probe.shard(subject, seed, Share(i, 3)) for i in range(3)]
    merged = probe.merge(subject, seed, shards)
    _expect(len(merged) == len(rows), f"merged shards give {len(merged)} rows, not {len(rows)}")
    for one, other in zip(rows, merged, strict=True):
        if "seconds" in one.quantity:
            continue
        numbers = [(getattr(one, end), getattr(other, end)) for end in ("value", "low", "high")]
        same = one._replace(value=None, low=None, high=None) == other._replace(
            value=None, low=None, high=None
        )
        near = all(
            a == b or (a is not None and b is not None and abs(a - b) <= 1e-8 * abs(a))
            for a, b in numbers
        )
        _expect(same and near, f"merged shards give {other}, not {one}")


def _expect_loss(algorithm: Algorithm, problem: Problem, theta: Tensor, task: Task) -> None:
    """The reported loss is the outer loss at the reported phi."""
    found = algorithm(problem, theta, task)
    expected = problem.outer_loss(found.phi, theta, task.query)
    gap = float((found.loss - expected).abs())
    _expect(gap <= 1e-12 * (1 + float(expected.abs())), "loss is not the outer loss at phi")


def _expect_slope(
    algorithm: Algorithm, problem: Problem, theta: Tensor, task: Task, seed: int
) -> None:
    """Hold a gradient that claims to be exact against differences of what it is the gradient of."""
    if not algorithm.exact:
        return
    grad = algorithm(problem, theta, task).grad
    size = (grad.norm() / len(grad) ** 0.5).reshape(1)
    generator = torch.Generator().manual_seed(seed)

    def loss(at: Tensor) -> Tensor:
        return algorithm.differentiated(problem, at, task).reshape(1)

    for _ in range(DIRECTIONS):
        along = torch.randn(len(theta), generator=generator, dtype=theta.dtype)
        along = along / along.norm()
        slope, claimed = float(settled_slopes(loss, theta, along, size)), float(grad @ along)
        near = math.isnan(slope) or abs(claimed - slope) <= SLOPE * float(size)  # NaN: a kink
        _expect(near, f"its slope is {claimed:.6g}, finite differences of its loss say {slope:.6g}")


def _expect_refused(member: object) -> None:
    """Counts and rates below zero are refused, where settings are fields."""
    if not dataclasses.is_dataclass(member) or isinstance(member, type):
        return
    held = {field.name for field in dataclasses.fields(member) if field.init}
    for name in COUNTS:
        if name not in held or not isinstance(getattr(member, name), int | float):
            continue
        try:
            dataclasses.replace(member, **{name: -1})
        except ValueError:  # Misuse is one
            continue
        raise AssertionError(f"{name} = -1 is taken; raise metabench.Misuse, with the repair")


def _check_leaf(leaf: Tensor) -> Tensor:
    _expect(len(leaf) == TASKS, f"a leaf has {len(leaf)} rows for {TASKS} addresses")
    floating = torch.is_floating_point(leaf)
    _expect(not floating or leaf.dtype == torch.float64, f"a leaf is {leaf.dtype}, not float64")
    return leaf


def _same(one: object, other: object, relative: float, sentence: str) -> None:
    def check(a: Tensor, b: Tensor) -> Tensor:
        gap = float((a - b)[a != b].abs().max()) if (a != b).any() else 0.0  # inf equals inf
        scale = float(a.abs().max()) if a.numel() else 0.0
        # a residual at round-off is round-off itself, and isn't compared by its own size
        within = relative * max(scale, 1e-3)
        _expect(gap <= within, f"{sentence}: by {gap:.2g}, where values reach {scale:.2g}")
        return a

    tree_map(check, one, other)


def _equal(one: object, other: object) -> bool:
    same: list[bool] = []
    tree_map(lambda a, b: same.append(torch.equal(a, b)), one, other)
    return all(same)


def _expect(holds: bool, sentence: str) -> None:
    if not holds:
        raise AssertionError(sentence)
