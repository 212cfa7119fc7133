"""Trajectories drawn per second of one core: rollouts alone, of both families.

python benchmarks/rollouts.py
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from metabench.families.navigation import Navigation
from metabench.families.tabular import Tabular
from metabench.problems.tasks import Address

ROUNDS = 5


def seconds(family: Any, dtype: torch.dtype) -> float:
    """Return the least processor seconds of one set's rollout.

    Args:
        family: whose `shots` trajectories are drawn.
        dtype: of policy and process.
    """

    def first(leaf: Tensor) -> Tensor:
        return leaf[0].to(dtype) if leaf.is_floating_point() else leaf[0]

    support = tree_map(first, family.sample(Address.fresh(0, 1), 0).support)
    theta, taken = family.theta(0).to(dtype), []
    for _ in range(ROUNDS):
        start = time.process_time()
        with torch.no_grad():
            family.rollout(theta, support)
        taken.append(time.process_time() - start)
    return min(taken)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for family, dtype in (
        (Tabular(shots=100_000), torch.float64),
        (Navigation(shots=2_000), torch.float32),
    ):
        rate = family.shots / seconds(family, dtype)
        print(f"{type(family).__name__}: {rate:.2g} trajectories a second of one core")
