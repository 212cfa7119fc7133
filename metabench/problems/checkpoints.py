"""Loading theta from a file of trained weights."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metabench.problems.parameter_layout import Layout
from metabench.records.checksummed_tensors import read_checksummed
from metabench.settings.errors import InvalidInput

# Buffers of torch's norms, which a state dict holds and theta does not.
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def load_theta(path: Path, layout: Layout, fixed: Mapping[str, Tensor] | None = None) -> Tensor:
    """Load a state dict or a flat vector as theta `(Q,)`.

    Args:
        path: a `.safetensors` file, or one of `torch.save`.
        layout: names and shapes of theta.
        fixed: parameters and buffers that are not part of theta, by name.

    Raises:
        InvalidInput: if the file holds more than weights, doesn't match the layout, or holds other
            values than `fixed` for parameters outside theta.
    """
    held, about = _read(path)
    if isinstance(held, Tensor):
        _require_plain(path.name, "a tensor", held)
        if held.numel() != layout.size:
            raise InvalidInput(
                f"{path.name} holds {held.numel()} numbers; this problem's theta has {layout.size}."
            )
        return held.detach().reshape(-1)
    if not isinstance(held, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in held.items()
    ):
        raise InvalidInput(
            f"{path.name} holds no tensors by name; save net.state_dict() or a flat vector."
        )
    for name, value in held.items():
        if name.rpartition(".")[2] not in STATISTICS:
            _require_plain(path.name, name, value)
    held_fixed = fixed or {}
    _refuse_other_values(path.name, held, held_fixed)
    parameters = {
        name: value
        for name, value in held.items()
        if name not in held_fixed and name.rpartition(".")[2] not in STATISTICS
    }
    try:
        return layout.flatten(parameters).detach()
    except InvalidInput as error:
        raise InvalidInput(
            f"{path.name}{_origin(about)} doesn't fit this problem. {error}"
        ) from error


def trained_on(path: Path) -> dict[str, Any]:
    """Return the settings theta was trained with by `metabench train`: algorithm, family, step.

    Raises:
        InvalidInput: if the file is truncated or was changed.
    """
    return _read(path)[1] if path.suffix == ".safetensors" else {}


def _require_plain(file: str, name: str, value: Tensor) -> None:
    """Refuse tensors that no vector can be made of: sparse, quantized, nested, whole numbers.

    Raises:
        InvalidInput: naming the tensor and what it is.
    """
    kind = ""
    if value.is_nested:
        kind = "nested"
    elif value.layout is not torch.strided:
        kind = "sparse"
    elif value.is_quantized:
        kind = "quantized"
    elif value.device.type == "meta":
        kind = "on the device meta, without numbers"
    elif not value.is_floating_point():
        kind = f"of {value.dtype}"
    if kind:
        raise InvalidInput(
            f"{file} holds {name}, which is {kind}; save dense tensors of floating-point numbers."
        )


def _origin(about: Mapping[str, Any]) -> str:
    """Return an insert for messages that names the training of a theta, or ""."""
    names = [about.get(part, {}).get("name") for part in ("algo", "family")]
    return f", trained by {names[0]} on {names[1]}," if all(names) else ""


def _refuse_other_values(file: str, held: dict[str, Tensor], fixed: Mapping[str, Tensor]) -> None:
    """Refuse trained values for parameters outside theta, which would silently be ignored."""
    for name, value in fixed.items():
        if name in held and not torch.equal(held[name].to(value), value):
            raise InvalidInput(
                f"{file} also holds {name}, which is not part of theta and has other values in the "
                "module. Load the file into the module before Problem.from_module."
            )


def _read(path: Path) -> tuple[object, dict[str, Any]]:
    """Return the contents of a file, and the settings stored with it."""
    if path.suffix == ".safetensors":
        found = read_checksummed(path)
        # another tool may have written metadata under our key
        about = {key: value for key, value in found.about.items() if isinstance(value, dict)}
        return found.tensors, about
    try:
        held: object = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # whatever unpickling what is no torch file may raise
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # torch seeks beyond the end
            raise
        raise InvalidInput(
            f"{path.name} holds more than weights, or isn't a torch file; save it with "
            "torch.save(net.state_dict(), ...)."
        ) from error
    return held, {}
