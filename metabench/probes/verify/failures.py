"""Torch's errors in a user's model or sampler, explained with a repair."""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator
from contextlib import contextmanager

from metabench.estimation.random_losses import random_sentence
from metabench.problems.networks.functional_module import NO_HOOKS
from metabench.settings.errors import InvalidInput
from metabench.settings.user_errors import in_one_line, user_line

LOOP = (
    "Take tasks one after another: --set compute.batching=loop, or Vectorization('loop') from "
    "Python"
)

# A reentrant checkpoint of the data alone: its parameters then have no gradient.
NO_GRADIENTS = "None of the inputs have requires_grad=True"


@contextmanager
def explained(doing: str) -> Generator[None]:
    """Re-raise errors of user code as InvalidInput, with the repair and the line in that code.

    `doing` names what is being run: "drawing tasks", "one task" or "vmap".
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=NO_GRADIENTS, category=UserWarning)
            yield
    except (InvalidInput, MemoryError):
        raise
    except Exception as error:
        if "allocate" in str(error):  # torch has no one class for a lack of memory
            raise
        raise InvalidInput(f"{_sentence(error, doing)}{user_line(error)}") from error


def _sentence(error: Exception, doing: str) -> str:
    text = str(error)
    name = _operation_in(text)
    if known := _refusal(error):
        return known
    if "Batching rule not implemented" in text or "batching rule" in text:
        return f"{name} can't be computed for many tasks at once (vmap). {LOOP}."
    if ".item()" in text or "data-dependent control flow" in text:
        name = "An `if` on a tensor or .item()"
        return f"{name} can't be computed for many tasks at once (vmap). {LOOP}."
    if re.search(r"same device|expected device", text):
        return (
            f"Tensors are on two devices: {_first_line(text)}. Tasks and parameters are on theta's "
            "device; move the loss's other tensors with .to(prediction.device)."
        )
    if "target dtype" in text:
        return f"The labels y have the wrong dtype for this loss: {_first_line(text)}. Cast them."
    if re.search(r"scalar type|same dtype|same datatype|mixed dtype|expected dtype", text):
        return (
            f"Tensors have two dtypes: {_first_line(text)}. Tasks and parameters have theta's "
            "dtype; cast the loss's other tensors with .to(prediction)."
        )
    if isinstance(error, TypeError) and doing == "drawing tasks":
        return (
            f"The sampler raised TypeError: {_first_line(text)}. A sampler takes (address, seed); "
            "wrap a plain sample(indices, seed) as metabench.Indexed(sample)."
        )
    where = {"drawing tasks": "The sampler", "vmap": "Computing many tasks at once (vmap)"}
    hint = f" {LOOP}." if doing == "vmap" else ""
    return f"{where.get(doing, 'One task')} raised {in_one_line(error)}.{hint}"


def _refusal(error: Exception) -> str:
    """Return the sentence for a model that has no meta-gradient as it is, "" for others."""
    text = str(error)
    if "random operation" in text:
        return random_sentence(error)
    if "use_reentrant" in text or NO_GRADIENTS in text:
        return NO_HOOKS
    if "derivative for" in text and "not implemented" in text:
        name = _operation_in(text).strip("_").removesuffix("_backward")
        return f"torch has no second derivative of {name}. {_second_derivative_repair(name)}"
    return ""


def _operation_in(text: str) -> str:
    found = re.search(r"(?:aten|torch|torchvision)::(\w+)|derivative for '(\w+)'", text)
    return (found[1] or found[2]) if found else "an operation"


def _second_derivative_repair(name: str) -> str:
    if "scaled_dot_product" in name:
        return (
            "The module chooses this kernel itself: choose SDPBackend.MATH in its sdpa_kernel, or "
            "use --algo fomaml, which needs no second derivatives."
        )
    return (
        "Replace it by plain operations, or use --algo fomaml or reptile, which need no second "
        "derivatives."
    )


def _first_line(text: str) -> str:
    """Return the first line, without its full stop."""
    return (text.strip().splitlines() or [""])[0].rstrip(". ")
