"""Reading tensors by name from a file of weights, without running code of the file."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metabench.records.checksummed_tensors import read_checksummed
from metabench.settings.errors import InvalidInput

INDEX = ".index.json"  # ending of the list of a checkpoint's shards
DEPTH = 3  # of dicts in dicts
FOLDER = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")


def read_weights(path: Path) -> tuple[object, dict[str, Any]]:
    """Return the contents of a file of weights, and the settings stored with it by `train`.

    A `.safetensors` file, a file of `torch.save`, or the `.index.json` of a sharded checkpoint.

    Raises:
        InvalidInput: if it holds more than weights, is damaged, or lacks a shard.
    """
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder; give a file of weights{_within(path)}.")
    if path.name.endswith(INDEX):
        return _read_shards(path), {}
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


def state_dicts(held: object, key: str = "") -> dict[str, dict[str, Tensor]]:
    """Return every dict of tensors by name in a checkpoint, by the keys that lead to it.

    >>> import torch
    >>> list(state_dicts({"epoch": 3, "model": {"weight": torch.ones(2)}}))
    ["['model']"]
    """
    if not isinstance(held, Mapping) or key.count("[") > DEPTH:
        return {}
    tensors = {
        str(name): value
        for name, value in held.items()
        if isinstance(value, Tensor) and not str(name).endswith("_extra_state")
    }
    found = {key: tensors} if tensors else {}
    for name, value in held.items():
        found |= state_dicts(value, f"{key}[{name!r}]")
    return found


def parts(path: Path) -> list[Path]:
    """Return a file and, for the index of a sharded checkpoint, the shards beside it.

    Raises:
        InvalidInput: if it is no such index, or a shard is missing.
    """
    if not path.name.endswith(INDEX):
        return [path]
    try:
        names = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
        # an index that was sent to the user can't name files elsewhere
        shards = sorted(path.parent / Path(name).name for name in names)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"{path.name} is not an index of shards: it must map names to files under 'weight_map'."
        ) from error
    if missing := [shard.name for shard in shards if not shard.is_file()]:
        raise InvalidInput(f"{path.name} lists {', '.join(missing)}, which {path.parent} lacks.")
    return [path, *shards]


def require_ordinary(path: Path) -> None:
    """Refuse a path that weights can't be read from: reading a pipe would wait for a writer.

    A folder passes: reading it says which of its files hold weights.

    Raises:
        InvalidInput: if nothing is there, or a pipe or device.
    """
    if not path.exists():
        raise InvalidInput(f"There is no file {str(path)!r} to read theta from.")
    if not (path.is_file() or path.is_dir()):
        raise InvalidInput(f"{path} is not an ordinary file; theta can't be read from it.")


def require_plain(file: str, name: str, value: Tensor) -> None:
    """Refuse tensors that no vector can be made of: sparse, quantized, nested, whole numbers.

    Args:
        file: for the message.
        name: of the tensor.
        value: the tensor.

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


def _read_shards(path: Path) -> dict[str, Tensor]:
    """Read all shards that an index lists."""
    tensors: dict[str, Tensor] = {}
    for shard in parts(path)[1:]:
        for found in state_dicts(read_weights(shard)[0]).values():
            tensors |= found
    return tensors


def _within(folder: Path) -> str:
    known = [name for name in FOLDER if (folder / name).is_file()]
    return f", such as {folder / known[0]}" if known else ""
