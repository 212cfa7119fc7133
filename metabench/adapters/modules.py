"""A user's module at given meta-parameters, and the library that differentiates it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from metabench.autodiff import derivatives
from metabench.problems.networks.loss_checks import check_scalar
from metabench.problems.parameter_layout import Layout
from metabench.problems.tasks import Loss
from metabench.settings.errors import InvalidInput


def library(name: str) -> Any:
    """Import another library.

    Raises:
        InvalidInput: if it can't be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InvalidInput(
            f"metabench.adapters.from_{name} needs the package {name}, which can't be imported "
            f"({error}): pip install 'metabench[adapters]'."
        ) from error


def filled(net: nn.Module, theta: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fill a module's parameters with the values of theta, and return them by name.

    Args:
        net: the module; it takes theta's dtype and device, and is changed in place.
        theta: meta-parameters by name.

    Raises:
        InvalidInput: if the module has no parameter of a name in theta.
    """
    named = dict(net.to(next(iter(theta.values()))).named_parameters())
    unknown = [name for name in theta if name not in named]
    if unknown:
        raise InvalidInput(
            f"The module given to the adapter has no parameter {unknown[0]!r}, which is in theta; "
            f"it has {', '.join(named)}. Give the module that the problem was made from."
        )
    with torch.no_grad():
        for name, value in theta.items():
            named[name].copy_(value)
    return {name: named[name] for name in theta}


def with_gradient(loss: Any, leaves: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a loss `()` and its gradient in each of the leaves of its graph.

    Args:
        loss: what the user's function returned.
        leaves: by name.

    Raises:
        InvalidInput: if the loss isn't a scalar tensor that depends on a leaf.
    """
    value = check_scalar(loss)
    if not value.requires_grad:
        raise InvalidInput(
            "The loss after adaptation does not depend on theta: nothing in it requires a "
            "gradient. Remove .detach(), .item() and torch.no_grad() between theta and the loss."
        )
    found = derivatives.gradients_of(value, list(leaves.values()))
    return value, dict(zip(leaves, found, strict=True))


def flat_loss(
    loss: Callable[[dict[str, Tensor], dict[str, Tensor], Any], Tensor], layout: Layout
) -> Loss:
    """Return a loss of dictionaries as a loss of flat vectors in one layout."""
    return lambda phi, theta, data: check_scalar(
        loss(layout.unflatten(phi), layout.unflatten(theta), data)
    )
