"""Torch's errors in a user's model or sampler, explained with a repair."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

from metabench.settings.errors import InvalidInput
from metabench.settings.user_errors import in_one_line, user_line

LOOP = (
    "Take tasks one after another: --set compute.batching=loop, or Vectorization('loop') from "
    "Python"
)


@contextmanager
def explained(doing: str) -> Generator[None]:
    """Re-raise errors of user code as InvalidInput, with the repair and the line in that code.

    `doing` names what is being run: "drawing tasks", "one task" or "vmap".
    """
    try:
        yield
    except (InvalidInput, MemoryError):
        raise
    except Exception as error:
        if "allocate" in str(error):  # torch has no one class for a lack of memory
            raise
        raise InvalidInput(f"{_sentence(error, doing)}{user_line(error)}") from error


def _sentence(error: Exception, doing: str) -> str:
    text = str(error)
    operation = re.search(r"(?:aten|torch|torchvision)::(\w+)", text)
    name = operation[1] if operation else "an operation"
    if "random operation" in text:
        return (
            "The model draws random numbers in the inner loop (dropout?), and different ones when "
            "a step is recomputed. Call net.eval(), or draw them in the sampler."
        )
    if "derivative for" in text and "not implemented" in text:
        return f"torch has no second derivative of {name}. {_second_derivative_repair(name)}"
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


def _second_derivative_repair(name: str) -> str:
    if "scaled_dot_product" in name:
        return (
            "Run attention under torch.nn.attention.sdpa_kernel(SDPBackend.MATH) inside the "
            "module, or use --algo fomaml, which needs no second derivatives."
        )
    return (
        "Replace it by plain operations, or use --algo fomaml or reptile, which need no second "
        "derivatives."
    )


def _first_line(text: str) -> str:
    """Return the first line, without its full stop."""
    return (text.strip().splitlines() or [""])[0].rstrip(". ")
