"""Samples of methods and of mitigations out of a pool of tasks: each runs on the pool once.

What a method of `metabench agreement` gives of a task depends on that task alone, but for the rate
of the descent to the minimum, which is the pool's here. So a sample drawn from the pool, with
replacement, is what the probe would measure of those tasks, and what it finds of the whole pool is
the truth, without error. No truth is withheld: where a tail is so heavy that a sample has no
interval, one printed all the same counts. Mitigations of `metabench explosion` likewise; where a
sample chose the threshold of its clipping, the truth is what that threshold makes of the pool. Of
`metabench spectrum` the ends of expected meta-Hessians, from the tasks' matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import metabench as mb
from metabench.algorithms import stability
from metabench.autodiff import per_task_products
from metabench.linalg.expected_spectrum import spectrum_ends_of_mean
from metabench.linalg.spectra import Effort
from metabench.probes.agreement import compare
from metabench.probes.agreement import measure as module
from metabench.probes.agreement.measure_rung import Run
from metabench.probes.agreement.method_runs import MethodRun
from metabench.probes.explosion import mitigations
from metabench.probes.spectrum import measure_expected_hessians as outer
from metabench.problems.tasks import Address
from metabench.records.rows import Row, row
from metabench.stats import tail_index
from metabench.stats.intervals import Vector
from metabench.stats.proportions import share_interval

TOGETHER = 4096  # tasks of the pool that are computed together
Key = tuple[str, torch.dtype, float]  # algorithm, precision, lambda


def drawn(
    probe: mb.Agreement, make: Callable[[], mb.Subject], pool: int, far: int
) -> Callable[[int, int], list[Row]]:
    """Measure samples of a pool of tasks of the seed `far`, or all of it; all comes first."""
    held: dict[Key, Run | None] = {}
    plain, ends_of = module._run_method, stability.extreme_eigenvalues
    ends: list[Any] = []

    def kept(seen: MethodRun, dtype: torch.dtype) -> Run:
        key = repr(seen.algorithm), dtype, seen.proximal_strength
        if key not in held:
            try:
                held[key] = plain(seen, dtype, pool)
            except RuntimeError:  # an operation that this precision lacks
                held[key] = None
        found = held[key]
        if found is None:
            raise RuntimeError(f"{seen.algorithm} doesn't run in {dtype}.")
        return found

    def never(notes: dict[str, Vector]) -> bool:
        return False

    def measure(tasks: int, seed: int) -> list[Row]:
        generator = np.random.default_rng(seed)
        chosen = np.arange(pool) if tasks == pool else generator.integers(0, pool, tasks)

        def run(seen: MethodRun, dtype: torch.dtype, T: int) -> Run:
            found = kept(seen, dtype)
            notes = {name: values[chosen] for name, values in found.notes.items()}
            return Run(found.grads[chosen], notes)

        def ends_of_pool(*given: Any) -> Any:
            if not ends:
                ends.append(ends_of(*given))
            return ends[0]

        with (
            patch.object(module, "_run_method", run),
            patch.object(module, "TASKS_AT_ONCE", TOGETHER),
            patch.object(stability, "extreme_eigenvalues", ends_of_pool),
            patch.object(module, "cost_rows", return_value=[]),  # no intervals
            patch.object(tail_index, "MOMENTS", 0.0 if tasks == pool else tail_index.MOMENTS),
            patch.object(
                compare,
                "any_negative_curvature",
                never if tasks == pool else compare.any_negative_curvature,
            ),
        ):
            rows: list[Row] = replace(probe, tasks=tasks).measure(make(), far)
            return rows

    return measure


@dataclass(frozen=True)
class Mitigated:
    """Mitigations on samples of a pool of tasks."""

    make: Callable[[], mb.Subject]  # a subject of MAML
    K: int  # where they are tried [steps]
    pool: int  # [tasks]
    far: int  # the pool's seed

    @cached_property
    def gradients(self) -> tuple[Vector, dict[str, tuple[Vector, NDArray[np.bool_]]]]:
        """Give the pool's exact meta-gradients, and those of others with where they have poles."""
        probe, subject = mb.Explosion(tasks=self.pool), self.make()
        exact = mb.MAML(self.K, subject.algorithm.inner_optimizer)
        others = {
            name: mitigations._gradients(probe, subject, algorithm, self.far)
            for name, algorithm in mitigations._other_algorithms(exact)
        }
        return mitigations._gradients(probe, subject, exact, self.far)[0], others

    def __call__(self, tasks: int, seed: int) -> list[Row]:
        """Hold mitigations against the exact meta-gradient on a sample of the pool, or on all."""
        if tasks == self.pool:
            with patch.object(tail_index, "MOMENTS", 0.0):
                return self.held(np.arange(tasks))
        return self.held(np.random.default_rng(seed).integers(0, self.pool, tasks))

    def held(self, chosen: NDArray[np.int_]) -> list[Row]:
        """Give the rows of these tasks."""
        plain, others = self.gradients
        rows = []
        for name, cut, clipped in mitigations._clipped_gradients(plain[chosen]):
            share = share_interval(int(clipped.sum()), len(chosen))
            rows.append(row("share_clipped", share, at=float(self.K), of=name))
            rows += mitigations._comparison_rows(plain[chosen], cut, self.K, name)
        for name, (grads, down) in others.items():
            poles = len(chosen) < self.pool and bool(down[chosen].any())
            rows += mitigations._comparison_rows(plain[chosen], grads[chosen], self.K, name, poles)
        return rows

    def at_cut(self, line: Row) -> Row | None:
        """Give the truth of a row on clipping, at the threshold that its sample chose."""
        return next((r for r in _cut(self, line.of) if r.quantity == line.quantity), None)


@lru_cache(maxsize=8)
def _cut(of: Mitigated, name: str) -> list[Row]:
    plain, _ = of.gradients
    _, kind, word = name.split()
    limit = float(word)
    scale = np.minimum(1, limit / np.linalg.norm(plain, axis=1))[:, None]
    cut = plain * scale if kind == "norm" else np.clip(plain, -limit, limit)
    hits = int((np.abs(cut - plain).max(1) > 0).sum())
    share = row("share_clipped", share_interval(hits, len(plain)), of=name)
    with patch.object(tail_index, "MOMENTS", 0.0):
        return [share, *mitigations._comparison_rows(plain, cut, of.K, name)]


@dataclass(frozen=True)
class MetaHessians:
    """Ends of the expected meta-Hessian on samples of a pool of tasks, whose matrices are held."""

    make: Callable[[], mb.Subject]
    pool: int  # [tasks]
    far: int  # the pool's seed

    @cached_property
    def matrices(self) -> Tensor:
        """Give the pool's meta-Hessians, `(pool, Q, Q)`."""
        subject = self.make()
        tasks = subject.draw(Address.fresh(0, self.pool), self.far)
        times = per_task_products.per_task_hvp_of(
            lambda at, task: subject.algorithm.objective(subject.problem, at, task),
            subject.theta.expand(self.pool, -1),
            tasks,
            subject.compute.batching,
        )
        axes = torch.eye(len(subject.theta), dtype=subject.theta.dtype)
        return torch.stack([times(axis.expand(self.pool, -1)).detach() for axis in axes], 2)

    def __call__(self, tasks: int, seed: int) -> list[Row]:
        """Bracket the ends of the mean over a sample of the pool, or give those of the pool."""
        if tasks == self.pool:
            ends = torch.linalg.eigvalsh(self.matrices.mean(0))
            rows = [
                Row("largest_eigenvalue", of="meta", value=float(ends[-1])),
                Row("smallest_eigenvalue", of="meta", value=float(ends[0])),
            ]
            return [*rows, Row("stable_outer_rate", value=2 / float(ends[-1]))]
        drawn = np.random.default_rng(seed)
        chosen = self.matrices[torch.from_numpy(drawn.integers(0, self.pool, tasks))]
        halves = chosen[: tasks // 2], chosen[tasks // 2 :]
        fleets = [lambda vector, half=half: half @ vector for half in halves]
        signs = torch.from_numpy(drawn.choice([-1.0, 1.0], (2, chosen.shape[1])))
        probe = mb.Spectrum()
        effort = Effort(probe.tolerance, probe.steps, 0, probe.exact)
        found = spectrum_ends_of_mean(fleets, [len(half) for half in halves], signs, effort)
        rows = [
            row("largest_eigenvalue", found.largest, of="meta"),
            row("smallest_eigenvalue", found.smallest, of="meta"),
        ]
        return rows + outer.outer_rate_rows(rows, 0.0)
