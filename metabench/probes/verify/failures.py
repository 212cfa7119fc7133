"""What torch's errors mean for the person whose model raised them."""

from __future__ import annotations

import re
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from metabench.settings.errors import InvalidInput

LOOP = (
    "Take tasks one after another: --set compute.batching=loop, or Vectorization('loop') from "
    "Python"
)
INTERNAL = (str(Path(__file__).parents[2]), "site-packages", "dist-packages", "<frozen")


@contextmanager
def explained(doing: str) -> Generator[None]:
    """Turn what a user's code raises into a sentence with the repair, and the line it came from."""
    try:
        yield
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput(f"{_sentence(error, doing)}{_place(error)}") from error


def _sentence(error: Exception, doing: str) -> str:
    said = str(error)
    operation = re.search(r"(?:aten|torch|torchvision)::(\w+)", said)
    name = operation[1] if operation else "an operation"
    if "random operation" in said:
        return (
            "The model draws random numbers in the inner loop (dropout?), others each time a step "
            "is recomputed. Call net.eval(), or draw them in the sampler."
        )
    if "derivative for" in said and "not implemented" in said:
        return f"torch has no second derivative of {name}. {_without(name)}"
    if "Batching rule not implemented" in said or "batching rule" in said:
        return f"{name} can't be computed for many tasks at once (vmap). {LOOP}."
    if ".item()" in said or "data-dependent control flow" in said:
        name = "An `if` on a tensor or .item()"
        return f"{name} can't be computed for many tasks at once (vmap). {LOOP}."
    if re.search(r"same device|expected device", said):
        return (
            f"Tensors on two devices meet: {_first(said)}. Tasks and parameters follow theta; move "
            "what else the loss uses with .to(prediction.device)."
        )
    if "target dtype" in said:
        return f"The labels y have another dtype than this loss takes: {_first(said)}. Cast them."
    if re.search(r"scalar type|same dtype|same datatype|mixed dtype|expected dtype", said):
        return (
            f"Tensors of two dtypes meet: {_first(said)}. Tasks and parameters follow theta; cast "
            "what else the loss uses with .to(prediction)."
        )
    if isinstance(error, TypeError) and doing == "drawing tasks":
        return (
            f"The sampler raised TypeError: {_first(said)}. A sampler takes (address, seed); wrap "
            "a plain sample(indices, seed) as metabench.Indexed(sample)."
        )
    where = {"drawing tasks": "The sampler", "vmap": "Computing many tasks at once (vmap)"}
    hint = f" {LOOP}." if doing == "vmap" else ""
    return f"{where.get(doing, 'One task')} raised {type(error).__name__}: {_first(said)}.{hint}"


def _without(name: str) -> str:
    if "scaled_dot_product" in name:
        return (
            "Run attention by torch.nn.attention.sdpa_kernel(SDPBackend.MATH) inside the module, "
            "or take --algo fomaml, which needs none."
        )
    return "Write it out of plain operations, or take --algo fomaml or reptile, which need none."


def _first(said: str) -> str:
    """Give the first line, without its full stop."""
    return (said.strip().splitlines() or [""])[0].rstrip(". ")


def _place(error: Exception) -> str:
    """Name the last line of the user's own code on the way to the error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not any(part in frame.filename for part in INTERNAL)]
    if not own:
        return ""
    name = own[-1].filename.rpartition("/")[2]
    return f" ({name}, line {own[-1].lineno}: {(own[-1].line or '').rstrip(',')})"
