"""Tensors in safetensors files, which run no code, with a digest of their contents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metabench.records import atomic_files
from metabench.settings.errors import InvalidInput

KEY = "metabench"  # of the file's metadata
REPAIR = "use a copy of it, or train again"


class ChecksummedTensors(NamedTuple):
    """Tensors by name, and metadata about them as plain JSON values."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]


def write_checksummed(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and metadata atomically, with a digest of both.

    Args:
        path: of the file.
        tensors: by name.
        about: metadata, plain JSON values.

    Raises:
        OSError: if the disk is full; the old file is as it was.
    """
    from safetensors.torch import save

    held = _apart(tensors)
    metadata = json.dumps({"about": about, "digest": _digest(held, about)}, allow_nan=False)
    atomic_files.write(path, save(held, {"format": "pt", KEY: metadata}))


def read_checksummed(path: Path) -> ChecksummedTensors:
    """Read a safetensors file, and verify its digest if it has one.

    Raises:
        InvalidInput: if the file was cut off, isn't safetensors, or fails its digest.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    # read once: safe_open opens a file twice, which may be two files while a training writes
    content = path.read_bytes()
    try:
        tensors = load(content)
        metadata = _metadata(content).get(KEY)
    except SafetensorError as error:
        raise InvalidInput(
            f"{path.name} is not a safetensors file, or was cut off ({error}); {REPAIR}."
        ) from error
    if metadata is None:
        return ChecksummedTensors(tensors, {})
    try:
        held = json.loads(metadata)
        about, digest = dict(held["about"]), held["digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"The metadata of {path.name} can't be read; {REPAIR}.") from error
    if digest != _digest(tensors, about):
        raise InvalidInput(f"{path.name} was changed or damaged: its digest differs; {REPAIR}.")
    return ChecksummedTensors(tensors, about)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors on the CPU that share no memory, which safetensors refuses."""
    found: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        made = tensor.detach().cpu().contiguous()
        if made.untyped_storage().data_ptr() in storages:
            made = made.clone()
        storages.add(made.untyped_storage().data_ptr())
        found[name] = made
    return found


def _metadata(content: bytes) -> dict[str, str]:
    """Read them from a file that is known to be safetensors: eight bytes of length, then JSON."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return metadata


def _digest(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    held = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        held.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        held.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return held.hexdigest()


@contextmanager
def of_its_kind(name: str) -> Generator[None]:
    """Refuse a file with a right digest that lacks what is read here, or has it in another form.

    Args:
        name: of the file.

    Raises:
        InvalidInput: for whatever reading what isn't there raises.
    """
    try:
        yield
    except InvalidInput:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else f"{error}"
        raise InvalidInput(
            f"{name} is undamaged but doesn't hold what such a file holds ({reason}); {REPAIR}."
        ) from error
