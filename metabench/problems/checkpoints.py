"""Theta from a module, a state dict, a flat vector or a file of trained weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from metabench.problems.checkpoint_files import (
    read_weights,
    require_ordinary,
    require_plain,
    state_dicts,
)
from metabench.problems.checkpoint_names import Match, matches
from metabench.problems.parameter_layout import Layout
from metabench.settings.errors import InvalidInput
from metabench.settings.printed_names import printed_name

# Buffers of torch's norms, which a state dict holds and theta does not.
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
MOST_LISTED = 3  # names in a message

Weights = nn.Module | Mapping[str, Tensor] | Tensor | str | os.PathLike[str]


class Fits(NamedTuple):
    """What weights must fit: the layout of theta, and what else the module has."""

    layout: Layout
    fixed: Mapping[str, Tensor] = {}  # parameters and buffers that are not part of theta
    aliases: Mapping[str, str] = {}  # further names of tied parameters -> the name in use


class LoadedTheta(NamedTuple):
    """Theta `(Q,)`, and sentences on how it was found."""

    theta: Tensor
    notes: tuple[str, ...]


def load_theta(weights: Weights, fits: Fits) -> LoadedTheta:
    """Return weights as theta `(Q,)`.

    Args:
        weights: a module, a state dict, a flat vector, or a file of one of the last two.
        fits: names and shapes of theta, and the rest of the module.

    Raises:
        InvalidInput: if there is no such file, it holds more than weights, doesn't match the
            layout, or holds other values for parameters outside theta.
    """
    if isinstance(weights, str | os.PathLike):
        path = Path(weights)
        require_ordinary(path)
        held, about = read_weights(path)
        return _theta_of(held, fits, path.name, about)
    if isinstance(weights, nn.Module):
        own = {**dict(weights.named_parameters()), **dict(weights.named_buffers())}
        return _theta_of(own, fits, f"the {type(weights).__name__}", {})
    return _theta_of(weights, fits, "the given theta", {})


def trained_on(path: Path) -> dict[str, Any]:
    """Return the settings theta was trained with by `metabench train`: algorithm, family, step.

    Raises:
        InvalidInput: if the file is truncated or was changed.
    """
    return read_weights(path)[1] if path.suffix == ".safetensors" else {}


def _theta_of(held: object, fits: Fits, name: str, about: Mapping[str, Any]) -> LoadedTheta:
    """Return the contents of a file, or what was given in its place, as theta.

    Args:
        held: a vector, or tensors by name, possibly nested.
        fits: what they must fit.
        name: of the file, for messages.
        about: settings that `train` stored with it.
    """
    if isinstance(held, Tensor):
        return LoadedTheta(_flat(held, fits.layout, name), ())
    nested = state_dicts(held)
    if not nested:
        raise InvalidInput(
            f"{name} holds no tensors by name; save net.state_dict() or a flat vector."
        )
    known = (*fits.fixed, *fits.aliases)
    candidates = [
        (key, match)
        for key, tensors in nested.items()
        for match in matches(_untied(tensors, fits, name), fits.layout.names, known)
    ]
    if len(candidates) > 1:
        raise _ambiguous(name, candidates)
    if not candidates:
        tensors = nested[""] if "" in nested else max(nested.values(), key=len)
        candidates = [("", Match(_untied(tensors, fits, name), "", (), ""))]
    ((key, match),) = candidates
    for key_in_file, value in match.tensors.items():
        if key_in_file in fits.layout.names:
            require_plain(name, key_in_file, value)
    _refuse_other_values(name, match.tensors, fits.fixed)
    parameters = {
        name: value
        for name, value in match.tensors.items()
        if name not in fits.fixed and name.rpartition(".")[2] not in STATISTICS
    }
    try:
        theta = fits.layout.flatten(parameters).detach()
    except InvalidInput as error:
        raise InvalidInput(f"{name}{_origin(about)} doesn't fit this problem. {error}") from error
    return LoadedTheta(theta, _notes(name, key, match))


def _ambiguous(file: str, candidates: list[tuple[str, Match]]) -> InvalidInput:
    """Return the error for a file with several networks that fit, with how to save one."""
    places = [
        " ".join(filter(None, (key, match.prefix and f"{match.prefix}*")))
        for key, match in candidates
    ]
    key, match = candidates[0]
    one = f"{'load_file' if file.endswith('.safetensors') else 'torch.load'}({file!r}){key}"
    if match.prefix:
        one = f"{{n.removeprefix({match.prefix!r}): v for n, v in {one}.items()}}"
    return InvalidInput(
        f"{file} holds several networks that fit: {', '.join(places)}. Save the one you mean: "
        f"torch.save({one}, 'theta.pt')."
    )


def _flat(held: Tensor, layout: Layout, name: str) -> Tensor:
    require_plain(name, "a tensor", held)
    if held.numel() != layout.size:
        raise InvalidInput(
            f"{name} holds {held.numel()} numbers; this problem's theta has {layout.size}."
        )
    return held.detach().reshape(-1)


def _untied(tensors: Mapping[str, Tensor], fits: Fits, file: str) -> dict[str, Tensor]:
    """Return tensors with each tied parameter once, under the name that the layout has for it.

    Args:
        tensors: of a state dict.
        fits: has the other names of tied parameters.
        file: for messages.

    Raises:
        InvalidInput: if tied parameters differ.
    """
    found = dict(tensors)
    for alias, name in fits.aliases.items():
        for key in [key for key in found if key == alias or key.endswith(f".{alias}")]:
            value, main = found.pop(key), key[: len(key) - len(alias)] + name
            if main in found and not torch.equal(found[main], value):
                raise InvalidInput(
                    f"{file} has other values for {key} than for {main}, which are one parameter "
                    "in the module. Tie them before saving, or untie them in the module."
                )
            found[main] = value
    return found


def _notes(file: str, key: str, match: Match) -> tuple[str, ...]:
    """Return a sentence on where in a file theta was found; none if it is the whole file."""
    places = [f"under {key}"] if key else []
    places += [match.how] if match.how else []
    if not places:
        return ()
    left = match.others[:MOST_LISTED]
    more = f" and {len(match.others) - len(left)} more" if len(match.others) > len(left) else ""
    unused = f"; {', '.join(left)}{more} are not used" if left else ""
    return (f"theta was read from {file} {', '.join(places)}{unused}.",)


def _origin(about: Mapping[str, Any]) -> str:
    """Return an insert for messages that names the training of a theta, or ""."""
    names = [printed_name(about.get(part, {}).get("name", "")) for part in ("algo", "family")]
    return f", trained by {names[0]} on {names[1]}," if all(names) else ""


def _refuse_other_values(file: str, held: dict[str, Tensor], fixed: Mapping[str, Tensor]) -> None:
    """Refuse trained values for parameters outside theta, which would silently be ignored."""
    for name, value in fixed.items():
        if name in held and not torch.equal(held[name].to(value), value):
            raise InvalidInput(
                f"{file} also holds {name}, which is not part of theta and has other values in the "
                "module. Load the file into the module before Problem.from_module."
            )
