"""Run every method on the same tasks in two precisions, and take their differences apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metabench import edges, plugins
from metabench.algorithms.algorithm import Algorithm, MetaGrad
from metabench.algorithms.imaml import IMAML, proximal
from metabench.algorithms.maml import MAML
from metabench.probes.agreement import compare
from metabench.probes.agreement.methods import UNROLLED, Make, Methods, pulls_in_problem
from metabench.probes.agreement.price import prices
from metabench.probes.explosion.growth import Array
from metabench.probes.probe import Progress
from metabench.problem import Address
from metabench.rows import Row
from metabench.steps.sgd import SGD
from metabench.subject import Subject

if TYPE_CHECKING:
    from metabench.probes.agreement import Agreement

STRENGTH = 2.0  # lambda where the algorithm has none: imaml's own default
TOGETHER = 64  # tasks whose long descents to the minimum are held at once [tasks]


class Run(NamedTuple):
    """One method at one K."""

    grads: Array  # (T, Q)
    notes: dict[str, Array]


def measure(probe: Agreement, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Compare every method at every K with both references."""
    algorithm = subject.algorithm
    if not isinstance(algorithm, Algorithm):
        return [Row("error", status="withheld")]
    ladder = tuple(sorted({*probe.at, algorithm.steps}))
    strength = strength_of(probe, algorithm)
    subject = unextended(subject, algorithm)
    methods = Methods(algorithm, strength, subject.problem.layouts.phi.size)
    listed = methods.listed(probe.solvers, probe.budgets, probe.truncate)
    total = (len(ladder) + len(probe.pulls)) * (len(listed) + 1) * 2
    done = 0

    def run(make: Make, K: int, dtype: torch.dtype, lam: float) -> Run:
        nonlocal done
        done += 1
        progress(min(done, total), total)
        return _run(subject, make(K), dtype, lam, probe.tasks, seed)

    layout = subject.problem.layouts.theta
    rows = [
        Row("pull", value=strength),
        Row("own_steps", of=name_of(algorithm), value=float(algorithm.steps)),
    ]
    best, slope, nowhere = minimum(probe, subject, methods, seed)
    rows += compare.settled(slope)
    for K in ladder:
        double = {name: run(make, K, torch.float64, strength) for name, make in listed.items()}
        exact = run(methods.implicit(methods.exact()), K, torch.float64, strength)
        rough = {name: run(make, K, torch.float32, strength) for name, make in listed.items()}
        own = rough if subject.theta.dtype == torch.float32 else double
        rows += compare.convexity(exact.notes, K)
        implicit = {name for name in listed if "residual" in double[name].notes}
        poles = implicit if compare.curves_down(exact.notes) else set()
        for name in listed:
            grads, unrolled = own[name].grads, double[UNROLLED].grads
            none = name in poles
            rows += compare.against(grads, best, K, name, "", nowhere or none)
            rows += compare.against(grads, unrolled, K, name, "_unrolled", none)
            parts = (best, exact.grads, double[name].grads, rough[name].grads)
            rows += compare.parts(*parts, K, name, name in implicit)
            rows += compare.residual(own[name].notes, K, name)
        if ladder[-1] == K:
            for name in listed:
                pair = own[name].grads, double[UNROLLED].grads
                segments = dict(layout.segments())
                rows += compare.layers(*pair, name, segments, name in poles)
            half = _half(subject, listed, K, strength, probe.tasks, seed)
            rows += compare.halves(half, {n: double[n].grads for n in half}, K)
    rows += _pulls(probe, subject, algorithm, ladder[-1], seed, run)
    rows += prices(probe, _cells(subject, listed, ladder, strength), seed)
    progress(total, total)
    return rows


def name_of(algorithm: Algorithm) -> str:
    """Give the listed name of an algorithm."""
    return plugins.name_of("algorithms", type(algorithm))


def strength_of(probe: Agreement, algorithm: Algorithm) -> float:
    """Give the pull of the inner problem that all methods share."""
    if probe.strength >= 0:
        return probe.strength
    return algorithm.strength if isinstance(algorithm, IMAML) else STRENGTH


def unextended(subject: Subject, algorithm: Algorithm) -> Subject:
    """Take off theta what its algorithm appended, which none of the methods compared knows."""
    base = subject.problem.base
    if base is None:
        return subject
    like = MAML(algorithm.steps, algorithm.step, algorithm.batch)
    theta = subject.theta[: base.layouts.theta.size]
    return replace(subject, problem=base, theta=theta, algorithm=like)


def through(subject: Subject, algorithm: Algorithm, strength: float) -> Subject:
    """Look at the tasks through a method, on the inner loss with its pull."""
    problem = subject.problem
    if pulls_in_problem(algorithm):
        problem = proximal(problem, strength)
    elif isinstance(algorithm, IMAML):
        algorithm = replace(algorithm, strength=strength)
    lift = replace(subject.lift, engine="eager")
    return replace(subject, problem=problem, algorithm=algorithm, lift=lift)


def minimum(
    probe: Agreement, subject: Subject, methods: Methods, seed: int
) -> tuple[Array, Array, bool]:
    """Give the implicit gradient where a long descent in float64 ends, and |grad G| there.

    Last, whether the objective curves down there in some tasks. The descent's rate is
    1 / (lambda + twice the largest curvature at phi_0 of any task).
    """
    exact = subject.at(subject.theta.double())
    tasks = exact.draw(Address.fresh(0, probe.tasks), seed)
    phis = exact.problem.init(exact.theta).expand(probe.tasks, -1)
    _, largest = edges.ends(exact.problem, exact.theta, phis, tasks)
    rate = 1 / (methods.strength + 2 * max(float(largest.max()), 1e-6))
    algorithm = IMAML(probe.settle, SGD(rate), strength=methods.strength, solver=methods.exact())
    found = _run(subject, algorithm, torch.float64, methods.strength, probe.tasks, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = found.notes["slope"] / np.linalg.norm(found.grads, axis=1)
    return found.grads, slope, compare.curves_down(found.notes)


def _run(
    subject: Subject, algorithm: Algorithm, dtype: torch.dtype, strength: float, T: int, seed: int
) -> Run:
    looked = through(subject, algorithm, strength).at(subject.theta.to(dtype))
    looked._lifted.clear()
    parts: list[MetaGrad] = [
        looked.meta_gradients(Address.fresh(start, min(TOGETHER, T - start)), seed)
        for start in range(0, T, TOGETHER)
    ]
    notes = {
        name: _numpy(torch.cat([part.notes[name] for part in parts])) for name in parts[0].notes
    }
    return Run(_numpy(torch.cat([part.grad for part in parts])), notes)


def _half(
    subject: Subject, listed: dict[str, Make], K: int, strength: float, T: int, seed: int
) -> dict[str, Array]:
    """Run what runs in bfloat16."""
    found = {}
    for name, make in listed.items():
        try:
            found[name] = _run(subject, make(K), torch.bfloat16, strength, T, seed).grads
        except RuntimeError:  # an operation without it, such as an eigendecomposition
            continue
    return found


def _pulls(
    probe: Agreement,
    subject: Subject,
    algorithm: Algorithm,
    K: int,
    seed: int,
    run: Callable[[Make, int, torch.dtype, float], Run],
) -> list[Row]:
    """Compare again under other pulls, each with its own minimum and its own unroll."""
    rows = []
    for by in probe.pulls:
        strength = by * strength_of(probe, algorithm)
        methods = Methods(algorithm, strength, subject.problem.layouts.phi.size)
        best, *_ = minimum(probe, subject, methods, seed)
        dtype = subject.theta.dtype
        for name, make in methods.listed(probe.solvers, probe.budgets, probe.truncate).items():
            grads = run(make, K, dtype, strength).grads
            rows.append(compare.median("error", compare.relative(grads, best), strength, name)
                        ._replace(of=f"pull: {name}"))  # fmt: skip
    return rows


def _cells(
    subject: Subject, listed: dict[str, Make], ladder: tuple[int, ...], strength: float
) -> dict[tuple[str, int], Subject]:
    return {
        (name, K): through(subject, make(K), strength)
        for name, make in listed.items()
        for K in ladder
    }


def _numpy(values: Tensor) -> Array:
    found: Array = values.detach().double().cpu().numpy()
    return found
