"""A user's loss: validated, and called with its tensors on the device and in the dtype of phi."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.func import functional_call

from metabench.problems.networks.functional_module import FunctionalModule, like
from metabench.problems.networks.loss_checks import check_scalar
from metabench.settings.errors import InvalidInput


class UserLoss(NamedTuple):
    """A loss `(prediction, y) -> ()` or `(prediction, y, parameters) -> ()`."""

    given: Callable[..., Any]
    takes_parameters: bool

    def __call__(self, module: FunctionalModule, phi: Tensor, theta: Tensor, *pair: Any) -> Tensor:
        """Compute the loss `()`.

        Args:
            module: whose parameters the loss may take.
            phi: adapted parameters, `(P,)`.
            theta: meta-parameters, `(Q,)`.
            pair: prediction and y.
        """
        more = (module.parameters(phi, theta),) if self.takes_parameters else ()
        return check_scalar(_called(self.given, phi, (*pair, *more), {}))


def user_loss(given: Callable[..., Any]) -> UserLoss:
    """Return a loss of a prediction and y, and of the parameters if it takes three arguments.

    Raises:
        InvalidInput: if it can't be called with two or three arguments.
    """
    try:
        signature = inspect.signature(given)
    except (TypeError, ValueError):  # some built-in functions have no signature
        return UserLoss(given, takes_parameters=False)
    for count in (2, 3):
        try:
            signature.bind(*(None,) * count)
        except TypeError:
            continue
        return UserLoss(given, takes_parameters=count == 3)
    raise InvalidInput(
        "The loss must take two arguments, (prediction, y), or three, (prediction, y, parameters); "
        f"yours takes {signature}."
    )


def _called(
    loss: Callable[..., Any], phi: Tensor, args: tuple[Any, ...], more: Mapping[str, Any]
) -> Any:
    """Call a loss whose own tensors, such as class weights, follow phi.

    Args:
        loss: a module, a `functools.partial` or any function.
        phi: adapted parameters, `(P,)`.
        args: the loss's arguments.
        more: its keywords.
    """
    if isinstance(loss, functools.partial):
        first = tuple(_following(value, phi) for value in loss.args)
        keywords = {name: _following(value, phi) for name, value in loss.keywords.items()}
        return _called(loss.func, phi, (*first, *args), {**keywords, **more})
    if isinstance(loss, nn.Module):
        held = {**dict(loss.named_parameters()), **dict(loss.named_buffers())}
        if held:
            values = {name: like(value, phi) for name, value in held.items()}
            return functional_call(loss, values, args, dict(more))
    return loss(*args, **more)


def _following(value: Any, phi: Tensor) -> Any:
    return like(value, phi) if isinstance(value, Tensor) else value
