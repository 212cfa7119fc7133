"""Torch's errors in a user's model or sampler, explained with a repair."""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator
from contextlib import contextmanager

from metabench.estimation.random_losses import random_sentence
from metabench.problems.networks.functional_module import NO_HOOKS
from metabench.problems.networks.own_gradients import NO_GRAPH
from metabench.problems.networks.user_loss import SHAPES
from metabench.settings.errors import InvalidInput
from metabench.settings.user_errors import in_one_line, user_line

LOOP = (
    "Take tasks one after another: --set compute.batching=loop, or Vectorization('loop') from "
    "Python"
)

# A reentrant checkpoint of the data alone: its parameters then have no gradient.
NO_GRADIENTS = "None of the inputs have requires_grad=True"

OWN_GRADIENT = (
    "torch.autograd.grad, or backward(), in forward or in the loss finds no path to what it "
    "differentiates in, since each call gets tensors of its own. Start from the input of forward: "
    "x = x.requires_grad_(); u = self.net(x); return u, x; and take the gradient of u in this x; "
    "or differentiate by torch.func.grad or torch.func.jvp."
)
IN_VMAP = (
    "torch.autograd.grad, backward() and requires_grad_() can't be used for many tasks at once "
    "(vmap); torch.func.grad and torch.func.jvp can, as in "
    "vmap(grad(lambda x: self.net(x).sum()))(x)."
)


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
    if labels := _of_labels(text):
        return f"{labels}{_shapes(error)}"
    if _two_dtypes(text) and (integer := INTEGER.search(text)):
        return (
            f"An integer tensor ({integer[0]}) meets floating-point weights: {_first_line(text)}. "
            "Integer parts of a task keep their dtype, as labels and ids must. Give x as "
            "floating-point numbers: x.float() in the sampler."
        )
    if _two_dtypes(text):
        return (
            f"Tensors have two dtypes: {_first_line(text)}. Tasks, parameters and buffers have "
            "theta's dtype; make other tensors like them: .to(x) in forward, .to(prediction) in "
            "the loss, register_buffer in __init__."
        )
    if isinstance(error, TypeError) and doing == "drawing tasks":
        return (
            f"The sampler raised TypeError: {_first_line(text)}. A sampler takes (address, seed); "
            "wrap a plain sample(indices, seed) as metabench.Indexed(sample)."
        )
    where = {"drawing tasks": "The sampler", "vmap": "Computing many tasks at once (vmap)"}
    hint = f" {LOOP}." if doing == "vmap" else ""
    return f"{where.get(doing, 'One task')} raised {in_one_line(error)}.{_shapes(error)}{hint}"


INTEGER = re.compile(r"\b(Long|Int|Short|Char|Byte|Bool)\b")


def _of_labels(text: str) -> str:
    """Return the sentence on labels that a loss of torch refuses, "" for other errors."""
    if "target dtype" in text:
        return f"The labels y have the wrong dtype for this loss: {_first_line(text)}. Cast them."
    if found := re.search(r"Target (-?\d+) is out of bounds", text):
        return (
            f"A label in y is {found[1]}; with C scores per example, labels run from 0 to C - 1. "
            "Number the classes of each task from 0 in the sampler, or widen the last layer."
        )
    if "multi-target not supported" in text:
        return (
            "The labels y have an axis too many for this loss, which takes one label per example. "
            "Remove it in the sampler: y.squeeze(-1)."
        )
    if "with two bool tensors" in text or "with a bool tensor" in text:
        return "A Boolean tensor is subtracted in the loss. Give y as numbers: y.float()."
    return ""


def _two_dtypes(text: str) -> bool:
    words = r"scalar type|same dtype|same datatype|mixed dtype|expected dtype"
    return re.search(words, text) is not None


def _shapes(error: Exception) -> str:
    """Return shapes of prediction and y where a loss failed, as a sentence."""
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith(SHAPES)]
    return f" There, {notes[0]}." if notes else ""


def _refusal(error: Exception) -> str:
    """Return the sentence for a model that has no meta-gradient as it is, "" for others."""
    text = str(error)
    if "random operation" in text:
        return random_sentence(error)
    if "use_reentrant" in text or NO_GRADIENTS in text:
        return NO_HOOKS
    if NO_GRAPH in text or "appears to not have been used in the graph" in text:
        return OWN_GRADIENT
    if "functorch transform" in text and "requires_grad_" in text:
        return f"{IN_VMAP} {LOOP}."
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
