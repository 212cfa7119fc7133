"""A ring buffer of the last outer steps, and the recording file that a replay reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metabench.problems.tasks import Address, Task
from metabench.records.checksummed_tensors import of_its_kind, read_checksummed, write_checksummed
from metabench.settings.errors import InvalidInput

STEPS_KEPT = 8  # by a ring buffer


class StepSnapshot(NamedTuple):
    """State before an outer step."""

    step: int
    theta: Tensor  # (Q,)
    address: Address | None  # of its tasks, where known
    random: Tensor  # state of torch's CPU generator


class RingBuffer:
    """Snapshots of the last few outer steps."""

    def __init__(
        self, size: int = STEPS_KEPT, address_of: Callable[[int], Address] | None = None
    ) -> None:
        """Start empty; `address_of`, if given, returns the address of a step's tasks."""
        # the fields of snapshots, which are built only when read
        self._kept: deque[tuple[int, Tensor, Address | None, Tensor]] = deque(maxlen=size)
        self._address_of = address_of
        self._random = torch.default_generator.get_state()

    def add(self, step: int, theta: Tensor, address: Address | None = None) -> None:
        """Add the state before a step; theta is copied.

        Args:
            step: its number.
            theta: `(Q,)`.
            address: of its tasks.
        """
        state = torch.default_generator.get_state()
        self._kept.append((step, theta.detach().clone(), address, state))

    def add_uncopied(self, step: int, theta: Tensor) -> None:
        """Add a theta that is never overwritten, before a step that draws no random numbers."""
        self._kept.append((step, theta, None, self._random))

    @property
    def snapshots(self) -> list[StepSnapshot]:
        """The snapshots held, oldest first."""
        made = []
        for step, theta, address, state in self._kept:
            if self._address_of is not None:
                address = self._address_of(step)
            # cloned: torch can't differentiate at tensors made in inference mode
            made.append(StepSnapshot(step, theta.clone(), address, state))
        return made

    def oldest_theta(self) -> Tensor:
        """Return the oldest theta held."""
        return self.snapshots[0].theta

    def save(self, path: Path, tasks: Task, about: Mapping[str, Any]) -> None:
        """Write the snapshots, and the batch of the last, to a recording.

        Args:
            path: file to write.
            tasks: the batch of the last snapshot, with a leading T.
            about: JSON values to store with them, such as the spec.

        Raises:
            OSError: if the disk is full.
        """
        snapshots = self.snapshots
        tensors = {
            "theta": torch.stack([snapshot.theta for snapshot in snapshots]),
            "random": torch.stack([snapshot.random for snapshot in snapshots]),
            "steps": torch.tensor([snapshot.step for snapshot in snapshots]),
        }
        if all(snapshot.address is not None for snapshot in snapshots):
            addresses = np.array([snapshot.address for snapshot in snapshots])
            tensors["addresses"] = torch.from_numpy(addresses)
        about = {**about, "tree": _packed(tasks, "task", tensors)}
        write_checksummed(path, tensors, about)


class Recording(NamedTuple):
    """The contents of a recording file."""

    snapshots: tuple[StepSnapshot, ...]
    tasks: Task  # the batch of the last snapshot
    about: dict[str, Any]  # JSON values, such as the spec


def load(path: Path) -> Recording:
    """Read a recording that `RingBuffer.save` wrote.

    Raises:
        InvalidInput: if the file does not exist, is damaged, or is not a recording.
    """
    if not path.is_file():
        raise InvalidInput(f"There is no file {str(path)!r}.")
    tensors, about = read_checksummed(path)
    if "tree" not in about:
        raise InvalidInput(f"{path.name} is not a recording of a stopped training run.")
    with of_its_kind(path.name):
        return Recording(_snapshots(tensors), Task(*_unpacked(about["tree"], tensors)), about)


def _snapshots(tensors: Mapping[str, Tensor]) -> tuple[StepSnapshot, ...]:
    addresses: list[Address | None] = [None] * len(tensors["theta"])
    if "addresses" in tensors:
        addresses = [Address(*axes) for axes in tensors["addresses"].numpy()]
    parts = zip(tensors["steps"].tolist(), tensors["theta"], addresses, strict=True)
    states = tensors["random"]
    if states.dtype != torch.uint8 or states.shape[1:] != torch.get_rng_state().shape:
        raise ValueError("its random states are none of torch's")
    return tuple(
        # cloned: torch reads a state from the start of its storage, whatever the view (2.13)
        StepSnapshot(*part, random.clone())
        for part, random in zip(parts, states, strict=True)
    )


def _packed(tree: Any, name: str, into: dict[str, Tensor]) -> Any:
    """Add the tensors of a tree to `into`, and return the tree with their names instead."""
    if isinstance(tree, Tensor):
        into[name] = tree
        return name
    if isinstance(tree, Mapping):
        return {key: _packed(part, f"{name}.{key}", into) for key, part in tree.items()}
    return [_packed(part, f"{name}.{i}", into) for i, part in enumerate(tree)]


def _unpacked(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, str):
        return tensors[tree]
    if isinstance(tree, Mapping):
        return {key: _unpacked(part, tensors) for key, part in tree.items()}
    return tuple(_unpacked(part, tensors) for part in tree)
