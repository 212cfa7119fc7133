"""What does `verify` say of wrong and of right losses that sample? Faults are planted by seed.

python reports/sampled_losses/run.py --faults 50 --healthy 200
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

import metabench as mb
from metabench.families.tabular import Tabular
from metabench.probes.verify.measure_sampled import sampled_rows
from metabench.problems import random_numbers
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.problem import Problem
from metabench.problems.reinforcement.surrogates.surrogate import Surrogate
from metabench.problems.tasks import Address, Task
from metabench.records.rows import Row
from metabench.settings.errors import InvalidInput

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Uncontrolled(Surrogate):
    """Weights divided by the number of trajectories, without the control term."""

    decay: float = 0.05  # 1/N [1]

    def __call__(self, log_probabilities: Tensor, returns: Tensor, baselines: Tensor) -> Tensor:
        """Compute the surrogate of each trajectory, `(N,)`."""
        earlier = total = torch.zeros_like(log_probabilities[..., 0])
        for t, taken in enumerate(log_probabilities.unbind(-1)):
            earlier = taken + self.decay * earlier
            total = total + (earlier - earlier.detach()).exp() * (returns - baselines)[..., t]
        return total


def tabular(seed: int, one: bool = False, **settings: Any) -> list[Row]:
    """Check the inner loss of processes and a policy of this seed, or of one process of seed 0.

    Args:
        seed: of the trajectories.
        one: whether processes and policy are those of seed 0.
        settings: of the family.
    """
    family = Tabular(**settings)

    def sample(address: Address, seed: int) -> Task:
        drawn = family.sample(address, seed)
        if not one:
            return drawn
        first = family.sample(address, 0)
        parts = zip(first[:2], drawn[:2], strict=True)
        return Task(*(old._replace(bits=new.bits) for old, new in parts))

    theta = family.theta(0 if one else seed)
    subject = mb.Subject(family.problem(), sample, mb.MAML(), theta)
    return sampled_rows(subject, seed, tasks=1 if one else 2)


def from_noise(seed: int, noise: Callable[[Array], Array], loss: Any, mean: Any) -> list[Row]:
    """Check a loss whose noise is in the task, against its expectation.

    Args:
        seed: of theta and tasks.
        noise: from uniform numbers.
        loss: (phi, noise) -> (N, P), averaged.
        mean: phi -> (P,), its expectation.
    """
    layout = Layout(("phi",), ((4,),))

    def sample(address: Address, seed: int) -> Task:
        def drawn(axis: str) -> Tensor:
            numbers = random_numbers.uniform(seed, axis, address, 80).reshape(-1, 20, 4)
            return torch.from_numpy(noise(numbers))

        return Task(drawn("support"), drawn("query"))

    def sampled(phi: Tensor, theta: Tensor, data: Tensor) -> Tensor:
        value: Tensor = loss(phi, data).mean()
        return value

    def expected(phi: Tensor, theta: Tensor, data: Tensor) -> Tensor:
        value: Tensor = mean(phi).mean()
        return value

    problem = Problem(lambda theta: theta, sampled, sampled, Layouts(layout, layout),
                         sampled=True, expected_inner_loss=expected,
                         expected_outer_loss=expected)  # fmt: skip
    theta = torch.from_numpy(np.random.default_rng(seed).standard_normal(4))
    return sampled_rows(mb.Subject(problem, sample, mb.MAML(), theta), seed, tasks=2)


def halves(u: Array) -> Array:
    """Return 2 for half of the numbers and 0 for the others."""
    kept: Array = np.where(u < 0.5, 2.0, 0.0)
    return kept


def dropout(seed: int) -> list[Row]:
    """Check dropout of half the inputs by masks of the task."""
    return from_noise(seed, halves, lambda phi, keep: (keep * phi - 1) ** 2,
                      lambda phi: (phi - 1) ** 2 + phi**2)  # fmt: skip


def gumbel(seed: int) -> list[Row]:
    """Check the largest of phi and 0 with Gumbel noise: softplus in expectation."""

    def logistic(u: Array) -> Array:  # the difference of two Gumbel numbers
        odds: Array = np.log(u) - np.log1p(-u)
        return odds

    def relaxed(phi: Tensor, noise: Tensor) -> Tensor:
        return (phi + noise).exp().log1p()  # of temperature 1

    grid = (torch.arange(20_000).double() + 0.5) / 20_000
    quantiles = grid.log() - (-grid).log1p()
    return from_noise(seed, logistic, relaxed, lambda phi: relaxed(phi, quantiles[:, None]).mean(0))


def score_on(surrogate: Surrogate, seed: int) -> bool:
    """Return whether E-MAML is refused on a surrogate."""
    family = Tabular(surrogate=surrogate)
    tasks = family.sample(Address.fresh(0, 1), seed)
    try:
        mb.EMAML().check(family.problem(), family.theta(seed), tree_map(lambda x: x[0], tasks))
    except InvalidInput:
        return True
    return False


BASELINES = ("none", "time", "leave_one_out", "independent", "exact")
# name -> settings, and what it is rightly recognized as
FAULTS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "naive": ({"surrogate": mb.Naive()}, {"naive"}),
    "lvc": ({"surrogate": mb.LVC()}, {"lvc"}),
    "decay 1/N without control term, no baseline": (
        {"surrogate": Uncontrolled(), "baseline": "none"},
        {"batch or control", "control", "lvc"},  # near lvc for many trajectories
    ),
    "same-batch baseline": ({"baseline": "batch"}, {"same batch"}),
    "standardized advantages": ({"baseline": "standardized"}, {"batch or control"}),
}
HEALTHY: dict[str, Callable[[int], list[Row]]] = {
    **{f"loaded_dice, {name}": partial(tabular, baseline=name) for name in BASELINES},
    "dice, leave_one_out": partial(tabular, surrogate=mb.DiCE()),
    "dropout by the task's masks": dropout,
    "Gumbel noise of the task": gumbel,
}


def print_faults(count: int) -> None:
    """Print how many planted faults are called a fault and named."""
    print("| planted | processes | called a fault | named | of |\n|---|---|---|---|---|")
    for name, (settings, kinds) in FAULTS.items():
        for one in (True, False):
            found = [tabular(seed, one, **settings) for seed in range(count)]
            alarms = sum(any(row.status == "biased" for row in rows) for rows in found)
            named = sum(any(row.of in kinds for row in rows if row.quantity == "sampled_kind")
                        for rows in found)  # fmt: skip
            which = "one" if one else "another each time"
            print(f"| {name} | {which} | {alarms} | {named} | {count} |", flush=True)


def print_score_terms(count: int) -> None:
    """Print how often a score term is refused, on surrogates that have it and on `naive`."""
    for surrogate in (mb.LVC(), mb.DiCE(), mb.LoadedDiCE()):
        refused = sum(score_on(surrogate, seed) for seed in range(count))
        name = f"score term (`emaml`) on {type(surrogate).__name__}"
        print(f"| {name} | another each time | {refused} (refused) | {refused} | {count} |")
    kept = sum(not score_on(mb.Naive(), seed) for seed in range(count))
    print(f"\n`emaml` on `naive` is refused in {count - kept} of {count}.\n")


def print_healthy(count: int) -> None:
    """Print how many right losses are called a fault."""
    print("| right | alarms | of |\n|---|---|---|")
    for name, healthy in HEALTHY.items():
        rows = [healthy(1000 + seed) for seed in range(count)]
        false = sum(any(row.status == "biased" for row in each) for each in rows)
        print(f"| {name} | {false} | {count} |", flush=True)


def main() -> None:
    """Print a table of faults and one of right losses."""
    given = argparse.ArgumentParser()
    given.add_argument("--faults", type=int, default=50)
    given.add_argument("--healthy", type=int, default=200)
    counts = given.parse_args()
    print_faults(counts.faults)
    print_score_terms(counts.faults)
    print_healthy(counts.healthy)


if __name__ == "__main__":
    main()
