"""Maps from theta to phi_0, where adaptation starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from metabench.problems.networks.like_a_vector import like
from metabench.problems.parameter_layout import Layouts


def identity(theta: Tensor) -> Tensor:
    """Return phi_0 = theta, the usual `init`."""
    return theta


def partly_learned_init(layouts: Layouts, phi: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the map that takes learned parameters from theta and the others from `phi`."""

    def init(theta: Tensor) -> Tensor:
        start = {name: like(value, theta) for name, value in phi.items()}
        learned = layouts.theta.unflatten(theta)
        return layouts.phi.flatten({name: learned.get(name, start[name]) for name in start})

    return init
