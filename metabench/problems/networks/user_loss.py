"""A user's loss: validated, and called with its tensors on the device and in the dtype of phi."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.func import functional_call

from metabench.problems.networks.like_a_vector import like
from metabench.problems.networks.loss_checks import check_scalar
from metabench.settings.errors import InvalidInput
from metabench.settings.user_errors import in_one_line

SHAPES = "prediction "  # begins the note of shapes on an error that a loss raises


class UserLoss(NamedTuple):
    """A loss `(prediction, y) -> ()` or `(prediction, y, parameters) -> ()`."""

    given: Callable[..., Any]
    takes_parameters: bool

    def __call__(self, chosen: Mapping[str, Tensor], phi: Tensor, *pair: Any) -> Tensor:
        """Compute the loss `()`.

        Args:
            chosen: the parameters that are adapted or learned, by name, which it may take.
            phi: for device and dtype, `(P,)`.
            pair: prediction and y.
        """
        more = (dict(chosen),) if self.takes_parameters else ()
        prediction, y = pair
        if prediction is None:
            raise InvalidInput("The module returned None: a `return` is missing in its forward.")
        try:
            value = _called(self.given, phi, (*pair, *more), {})
        except (TypeError, AttributeError) as error:
            if isinstance(prediction, Tensor):
                raise
            raise InvalidInput(
                f"The loss failed on what the module returned, of type {type(prediction).__name__} "
                f"({in_one_line(error)}). Take the tensor out of it in the loss, as in "
                "lambda output, y: mse_loss(output[0], y), or return it alone from forward."
            ) from error
        except Exception as error:
            error.add_note(f"{SHAPES}{_described(prediction)}, y {_described(y)}")
            raise
        return check_scalar(value)


def user_loss(given: Callable[..., Any]) -> UserLoss:
    """Return a loss of a prediction and y, and of the parameters if it takes three arguments.

    Raises:
        InvalidInput: if it can't be called with two or three arguments.
    """
    if isinstance(given, type):
        raise InvalidInput(
            f"The loss is the class {given.__name__}; give an instance of it, "
            f"{given.__name__}(), or a function of (prediction, y)."
        )
    if not callable(given):
        raise InvalidInput(
            f"The loss is {given!r} ({type(given).__name__}); give a function of (prediction, y), "
            "such as torch.nn.functional.mse_loss."
        )
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
        f"yours takes {signature}.{_by_keyword(signature)}"
    )


def _by_keyword(signature: inspect.Signature) -> str:
    """Return how to wrap a loss that takes its two arguments by keyword only, "" for others."""
    needed = [
        name
        for name, each in signature.parameters.items()
        if each.kind is each.KEYWORD_ONLY and each.default is each.empty
    ]
    if len(needed) != 2:
        return ""
    first, second = needed
    return f" Wrap it: lambda prediction, y: loss({first}=prediction, {second}=y)."


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


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
