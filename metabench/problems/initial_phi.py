"""Where does adaptation start? The map from theta to phi_0."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from metabench.problems.networks.functional_module import like
from metabench.problems.parameter_layout import Layouts


def identity(theta: Tensor) -> Tensor:
    """Begin where theta is: phi_0 = theta, the usual `init`."""
    return theta


def partly_learned_init(layouts: Layouts, phi: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Start what is learned from theta, and the rest from the module's values."""

    def init(theta: Tensor) -> Tensor:
        start = {name: like(value, theta) for name, value in phi.items()}
        learned = layouts.theta.unflatten(theta)
        return layouts.phi.flatten({name: learned.get(name, start[name]) for name in start})

    return init
