"""Run every method on the same tasks in two precisions, and take their differences apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from metabench.algorithms import counterparts, stability
from metabench.algorithms.base import Algorithm
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.estimation.estimator_on_tasks import Subject
from metabench.probes.agreement import compare
from metabench.probes.agreement.measure_rung import Run, Rung
from metabench.probes.agreement.method_runs import MethodRun
from metabench.probes.agreement.methods import Methods
from metabench.probes.agreement.timing import prices
from metabench.probes.base import Progress
from metabench.problems.tasks import Address
from metabench.records.rows import Row
from metabench.settings import registry
from metabench.stats.intervals import Vector

if TYPE_CHECKING:
    from metabench.probes.agreement import Agreement

STRENGTH = 2.0  # lambda where the algorithm has none: imaml's own default
TOGETHER = 64  # tasks whose long descents to the minimum are held at once [tasks]


def measure(probe: Agreement, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Compare every method at every K with both references."""
    algorithm = subject.algorithm
    if not isinstance(algorithm, Algorithm):
        return [Row("error", status="withheld")]
    ladder = tuple(sorted({*probe.at, algorithm.steps}))
    proximal_strength = strength_of(probe, algorithm)
    subject = unextended(subject, algorithm)
    methods = Methods(algorithm, proximal_strength, subject.problem.layouts.phi.size)
    listed = methods.listed(probe.solvers, probe.budgets, probe.truncate)
    total = (len(ladder) + len(probe.proximal_strengths)) * (len(listed) + 1) * 2
    done = 0

    def run(seen: MethodRun, dtype: torch.dtype) -> Run:
        nonlocal done
        done += 1
        progress(min(done, total), total)
        return _run(seen, dtype, probe.tasks)

    rows = [
        Row("proximal_strength", value=proximal_strength),
        Row("own_steps", of=name_of(algorithm), value=float(algorithm.steps)),
    ]
    best, slope, nowhere = minimum(probe, subject, methods, seed)
    rows += compare.settled(slope)
    looks: dict[tuple[str, int], MethodRun] = {}
    for K in ladder:
        here = {
            name: MethodRun(subject, make(K), proximal_strength, seed)
            for name, make in listed.items()
        }
        looks |= {(name, K): seen for name, seen in here.items()}
        dense = MethodRun(subject, methods.implicit(methods.exact())(K), proximal_strength, seed)
        found = Rung.of(K, here, dense, run)
        rows += found.rows(best, nowhere)
    rows += found.layers(dict(subject.problem.layouts.theta.segments()))
    rows += found.halves(_half(here, probe.tasks))
    rows += _pulls(probe, subject, algorithm, ladder[-1], seed, run)
    rows += prices(probe, {(name, K): looks[name, K] for name in listed for K in ladder})
    progress(total, total)
    return rows


def name_of(algorithm: Algorithm) -> str:
    """Give the listed name of an algorithm."""
    return registry.name_of("algorithms", type(algorithm))


def strength_of(probe: Agreement, algorithm: Algorithm) -> float:
    """Give the pull of the inner problem that all methods share."""
    if probe.proximal_strength >= 0:
        return probe.proximal_strength
    own = algorithm.implicit()
    return own.proximal_strength if own else STRENGTH


def unextended(subject: Subject, algorithm: Algorithm) -> Subject:
    """Take off theta what its algorithm appended, which none of the methods compared knows."""
    base = subject.problem.base
    if base is None:
        return subject
    like = counterparts.exact(algorithm, algorithm.steps)
    theta = subject.theta[: base.layouts.theta.size]
    return replace(subject, problem=base, theta=theta, algorithm=like)


def minimum(
    probe: Agreement, subject: Subject, methods: Methods, seed: int
) -> tuple[Vector, Vector, bool]:
    """Give the implicit gradient where a long descent in float64 ends, and |grad G| there.

    Last, whether the objective curves down there in some tasks. The descent's rate is
    1 / (lambda + twice the largest curvature at phi_0 of any task).
    """
    exact = subject.at(subject.theta.double())
    tasks = exact.draw(Address.fresh(0, probe.tasks), seed)
    phis = exact.problem.init(exact.theta).expand(probe.tasks, -1)
    _, largest = stability.extreme_eigenvalues(exact.problem, exact.theta, phis, tasks)
    rate = 1 / (methods.proximal_strength + 2 * max(float(largest.max()), 1e-6))
    descent = replace(methods.like, inner_optimizer=SGD(rate), batch=0)
    settled = replace(methods, like=descent).implicit(methods.exact())(probe.minimum_steps)
    seen = MethodRun(subject, settled, methods.proximal_strength, seed)
    found = _run(seen, torch.float64, probe.tasks)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = found.notes["gradient_norm"] / np.linalg.norm(found.grads, axis=1)
    return found.grads, slope, compare.curves_down(found.notes)


def _run(seen: MethodRun, dtype: torch.dtype, T: int) -> Run:
    parts = [
        seen(Address.fresh(start, min(TOGETHER, T - start)), dtype)
        for start in range(0, T, TOGETHER)
    ]
    notes = {
        name: _numpy(torch.cat([part.notes[name] for part in parts])) for name in parts[0].notes
    }
    return Run(_numpy(torch.cat([part.grad for part in parts])), notes)


def _half(looks: dict[str, MethodRun], T: int) -> dict[str, Vector]:
    """Run what runs in bfloat16."""
    found = {}
    for name, seen in looks.items():
        try:
            found[name] = _run(seen, torch.bfloat16, T).grads
        except RuntimeError:  # an operation without it, such as an eigendecomposition
            continue
    return found


def _pulls(
    probe: Agreement,
    subject: Subject,
    algorithm: Algorithm,
    K: int,
    seed: int,
    run: Callable[[MethodRun, torch.dtype], Run],
) -> list[Row]:
    """Compare again under other pulls, each with its own minimum and its own unroll."""
    rows = []
    for by in probe.proximal_strengths:
        proximal_strength = by * strength_of(probe, algorithm)
        methods = Methods(algorithm, proximal_strength, subject.problem.layouts.phi.size)
        best, *_ = minimum(probe, subject, methods, seed)
        dtype = subject.theta.dtype
        for name, make in methods.listed(probe.solvers, probe.budgets, probe.truncate).items():
            grads = run(MethodRun(subject, make(K), proximal_strength, seed), dtype).grads
            error = compare.relative(grads, best)
            rows.append(compare.median("error", error, proximal_strength, name)
                        ._replace(of=f"proximal strength: {name}"))  # fmt: skip
    return rows


def _numpy(values: Tensor) -> Vector:
    found: Vector = values.detach().double().cpu().numpy()
    return found
