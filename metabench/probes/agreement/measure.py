"""Run every method on the same tasks in two precisions, and compare their meta-gradients."""

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
from metabench.estimation.inputs_not_finite import inputs_not_finite
from metabench.probes.agreement import compare
from metabench.probes.agreement.measure_rung import Run, RunsAtK
from metabench.probes.agreement.measure_sampling_bias import sampling_bias_rows
from metabench.probes.agreement.method_runs import MethodRun
from metabench.probes.agreement.methods import Methods
from metabench.probes.agreement.timing import cost_rows
from metabench.probes.base import Progress
from metabench.problems.tasks import Address
from metabench.records.rows import Row
from metabench.settings import registry
from metabench.settings.printed_names import printed_name
from metabench.stats.intervals import Vector

if TYPE_CHECKING:
    from metabench.probes.agreement import Agreement

DEFAULT_STRENGTH = 2.0  # lambda where the algorithm has none: imaml's own default
TASKS_AT_ONCE = 64  # tasks whose long descents to the minimum run together [tasks]


def measure(probe: Agreement, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Compare every method at every K with both references.

    Args:
        probe: its settings.
        subject: what is measured: problem, tasks, algorithm and theta.
        seed: of the tasks.
        progress: called with the runs done and the runs in all.

    Returns:
        All rows of the probe; one row "error", withheld, for a black box.
    """
    algorithm = subject.algorithm
    if not isinstance(algorithm, Algorithm):
        return [Row("error", status="withheld")]
    if subject.problem.sampling is not None:  # there is no inner minimum to compare methods at
        return sampling_bias_rows(subject, seed)
    all_K = tuple(sorted({*probe.at, algorithm.steps}))
    proximal_strength = proximal_strength_of(probe, algorithm)
    subject = without_appended_parameters(subject, algorithm)
    methods = Methods(algorithm, proximal_strength, subject.problem.layouts.phi.size)
    listed = methods.listed(probe.solvers, probe.budgets, probe.truncate)
    total = (len(all_K) + len(probe.proximal_strengths)) * (len(listed) + 1) * 2
    done = 0

    def run(method: MethodRun, dtype: torch.dtype) -> Run:
        nonlocal done
        done += 1
        progress(min(done, total), total)
        return _run_method(method, dtype, probe.tasks)

    rows = [
        Row("proximal_strength", value=proximal_strength),
        Row("own_steps", of=name_of(algorithm), value=float(algorithm.steps)),
    ]
    rows += inputs_not_finite(subject, Address.fresh(0, probe.tasks), seed)
    at_minimum, gradient_norm, no_minimum = gradient_at_minimum(probe, subject, methods, seed)
    rows += compare.minimum_rows(gradient_norm)
    runs: dict[tuple[str, int], MethodRun] = {}
    for K in all_K:
        here = {
            name: MethodRun(subject, make(K), proximal_strength, seed)
            for name, make in listed.items()
        }
        runs |= {(name, K): method for name, method in here.items()}
        dense = MethodRun(subject, methods.implicit(methods.exact())(K), proximal_strength, seed)
        found = RunsAtK.from_methods(K, here, dense, run)
        rows += found.rows(at_minimum, no_minimum)
    rows += found.layer_rows(dict(subject.problem.layouts.theta.segments()))
    rows += found.bfloat16_rows(_bfloat16_gradients(here, probe.tasks))
    rows += _other_strengths(probe, subject, algorithm, all_K[-1], seed, run)
    rows += cost_rows(probe, {(name, K): runs[name, K] for name in listed for K in all_K})
    progress(total, total)
    return rows


def name_of(algorithm: Algorithm) -> str:
    """Return the registered name of an algorithm."""
    return printed_name(registry.name_of("algorithms", type(algorithm)))


def proximal_strength_of(probe: Agreement, algorithm: Algorithm) -> float:
    """Return the lambda of the proximal term that all methods share."""
    if probe.proximal_strength >= 0:
        return probe.proximal_strength
    own = algorithm.implicit()
    return own.proximal_strength if own else DEFAULT_STRENGTH


def without_appended_parameters(subject: Subject, algorithm: Algorithm) -> Subject:
    """Return the subject without the parameters that its algorithm appended to theta."""
    base = subject.problem.base
    if base is None:
        return subject
    like = counterparts.exact(algorithm, algorithm.steps)
    theta = subject.theta[: base.layouts.theta.size]
    return replace(subject, problem=base, theta=theta, algorithm=like)


def gradient_at_minimum(
    probe: Agreement, subject: Subject, methods: Methods, seed: int
) -> tuple[Vector, Vector, bool]:
    """Compute the implicit meta-gradients at the inner minimum, by a long descent in float64.

    The rate of the descent is 1 / (lambda + twice the largest curvature at phi_0 of any task).

    Args:
        probe: its settings.
        subject: what is measured.
        methods: the shared inner loop and proximal strength.
        seed: of the tasks.

    Returns:
        The meta-gradients, `(T, Q)`; |grad G| / |g| where each descent ends, `(T,)`; and whether
        the inner objective has negative curvature there in any task, so that it is no minimum.
    """
    exact = subject.at(subject.theta.double())
    tasks = exact.draw(Address.fresh(0, probe.tasks), seed)
    phis = exact.problem.init(exact.theta).expand(probe.tasks, -1)
    _, largest = stability.extreme_eigenvalues(exact.problem, exact.theta, phis, tasks)
    known = largest[torch.isfinite(largest)]  # of other tasks nothing is found at any rate
    steepest = float(known.max()) if len(known) else 0.0
    rate = 1 / (methods.proximal_strength + 2 * max(steepest, 1e-6))
    descent = replace(methods.like, inner_optimizer=SGD(rate), batch=0)
    algorithm = replace(methods, like=descent).implicit(methods.exact())(probe.minimum_steps)
    method = MethodRun(subject, algorithm, methods.proximal_strength, seed)
    found = _run_method(method, torch.float64, probe.tasks)
    with np.errstate(divide="ignore", invalid="ignore"):
        gradient_norm = found.notes["gradient_norm"] / np.linalg.norm(found.grads, axis=1)
    return found.grads, gradient_norm, compare.any_negative_curvature(found.notes)


def _run_method(method: MethodRun, dtype: torch.dtype, T: int) -> Run:
    parts = [
        method(Address.fresh(start, min(TASKS_AT_ONCE, T - start)), dtype)
        for start in range(0, T, TASKS_AT_ONCE)
    ]
    notes = {
        name: _to_numpy(torch.cat([part.notes[name] for part in parts])) for name in parts[0].notes
    }
    return Run(_to_numpy(torch.cat([part.grad for part in parts])), notes)


def _bfloat16_gradients(methods: dict[str, MethodRun], T: int) -> dict[str, Vector]:
    """Return the meta-gradients `(T, Q)` of each method that runs in bfloat16."""
    found = {}
    for name, method in methods.items():
        try:
            found[name] = _run_method(method, torch.bfloat16, T).grads
        except RuntimeError:  # an operation without it, such as an eigendecomposition
            continue
    return found


def _other_strengths(
    probe: Agreement,
    subject: Subject,
    algorithm: Algorithm,
    K: int,
    seed: int,
    run: Callable[[MethodRun, torch.dtype], Run],
) -> list[Row]:
    """Return the errors at other lambdas, each relative to its own inner minimum."""
    rows = []
    for by in probe.proximal_strengths:
        proximal_strength = by * proximal_strength_of(probe, algorithm)
        methods = Methods(algorithm, proximal_strength, subject.problem.layouts.phi.size)
        at_minimum, *_ = gradient_at_minimum(probe, subject, methods, seed)
        dtype = subject.theta.dtype
        for name, make in methods.listed(probe.solvers, probe.budgets, probe.truncate).items():
            grads = run(MethodRun(subject, make(K), proximal_strength, seed), dtype).grads
            error = compare.relative_error(grads, at_minimum)
            rows.append(compare.median_row("error", error, proximal_strength, name)
                        ._replace(of=f"proximal strength: {name}"))  # fmt: skip
    return rows


def _to_numpy(values: Tensor) -> Vector:
    found: Vector = values.detach().double().cpu().numpy()
    return found
