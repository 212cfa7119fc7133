"""A theta that is given from Python: weights, and the name that stands for them in settings."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from metabench.problems.checkpoints import Weights
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class GivenTheta:
    """Weights with a name that contains a digest of their values: `Sequential@0123456789ab`."""

    weights: Weights
    name: str


def given_theta(theta: Weights | None) -> str | GivenTheta:
    """Return theta as a measurement holds it: a file's name, "" for the initial one, or weights.

    Args:
        theta: a module, a state dict, a flat vector `(Q,)`, a file, or None.

    Raises:
        InvalidInput: if it is something else.
    """
    if theta is None:
        return ""
    if isinstance(theta, str | os.PathLike):
        return os.fspath(theta)
    if isinstance(theta, nn.Module):
        return GivenTheta(theta, _named(theta, theta.state_dict().values()))
    if isinstance(theta, Tensor):
        return GivenTheta(theta, _named(theta, [theta]))
    if isinstance(theta, Mapping):
        return GivenTheta(theta, _named(theta, theta.values()))
    raise InvalidInput(
        f"theta is a {type(theta).__name__}; it must be a module, a state dict, a flat vector, the "
        "name of a file, or None for the initial values."
    )


def _named(given: object, values: Iterable[Any]) -> str:
    """Return the type of the weights with a digest of their tensors."""
    held = hashlib.sha256()
    for value in values:
        if isinstance(value, Tensor):
            held.update(value.detach().cpu().contiguous().double().numpy().tobytes())
    return f"{type(given).__name__}@{held.hexdigest()[:12]}"
