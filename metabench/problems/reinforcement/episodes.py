"""Trajectories with what a surrogate needs of them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Trajectories(NamedTuple):
    """N trajectories of H actions as they were drawn."""

    observations: Tensor  # what the policy sees, (N, H, ...)
    actions: Tensor  # (N, H, ...)
    rewards: Tensor  # (N, H)


class Episodes(NamedTuple):
    """N trajectories with their returns and baselines, fixed once drawn."""

    observations: Tensor  # (N, H, ...)
    actions: Tensor  # (N, H, ...)
    rewards: Tensor  # discounted as declared: their sum is the trajectory's return, (N, H)
    returns: Tensor  # from each time on, (N, H)
    baselines: Tensor  # (N, H)

    def shifted(self, by: Tensor) -> Episodes:
        """Return the same trajectories with every baseline raised by a number."""
        return self._replace(baselines=self.baselines + by)
