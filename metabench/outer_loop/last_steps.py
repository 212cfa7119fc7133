"""The last steps of an outer loop: kept while it goes on, written to a file, and read again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metabench.problems.tasks import Address, Task
from metabench.records.checksummed_tensors import read_checksummed, write_checksummed
from metabench.settings.errors import InvalidInput

STEPS = 8  # that the ring holds


class StepSnapshot(NamedTuple):
    """What an outer step began from."""

    step: int
    theta: Tensor  # (Q,)
    address: Address | None  # of its tasks, where they have one
    random: Tensor  # the state of torch's generator on the CPU


class RingBuffer:
    """The last few snapshots; older ones are forgotten."""

    def __init__(
        self, size: int = STEPS, address_of: Callable[[int], Address] | None = None
    ) -> None:
        """Begin empty; where a step's address follows from its number, it is made when asked."""
        # fields of a Moment: made into one when asked, as each step adds to it
        self._kept: deque[tuple[int, Tensor, Address | None, Tensor]] = deque(maxlen=size)
        self._address_of = address_of
        self._random = torch.default_generator.get_state()

    def add(self, step: int, theta: Tensor, address: Address | None = None) -> None:
        """Remember what a step begins from."""
        state = torch.default_generator.get_state()
        self._kept.append((step, theta.detach().clone(), address, state))

    def add_uncopied(self, step: int, theta: Tensor) -> None:
        """Remember it uncopied: theta stays as it is, and the step draws nothing at random."""
        self._kept.append((step, theta, None, self._random))

    @property
    def snapshots(self) -> list[StepSnapshot]:
        """Give what is held, the oldest first."""
        made = []
        for step, theta, address, state in self._kept:
            if self._address_of is not None:
                address = self._address_of(step)
            # cloned: what was made in inference mode can't be differentiated at
            made.append(StepSnapshot(step, theta.clone(), address, state))
        return made

    def oldest_theta(self) -> Tensor:
        """Give the oldest theta, from before things went wrong."""
        return self.snapshots[0].theta

    def save(self, path: Path, tasks: Task, about: Mapping[str, Any]) -> None:
        """Write the snapshots and the batch of the last of them.

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
        told = {**about, "tree": _packed(tasks, "task", tensors)}
        write_checksummed(path, tensors, told)


class Recording(NamedTuple):
    """What a file holds: the snapshots, the batch, and what was said of them."""

    snapshots: tuple[StepSnapshot, ...]
    tasks: Task
    about: dict[str, Any]


def load(path: Path) -> Recording:
    """Read what `Ring.save` wrote.

    Raises:
        InvalidInput: if there is no such file, or it is another, damaged or changed.
    """
    if not path.is_file():
        raise InvalidInput(f"There is no file {str(path)!r}.")
    tensors, about = read_checksummed(path)
    if "tree" not in about:
        raise InvalidInput(f"{path.name} is not a recording of a training that stopped.")
    addresses: list[Address | None] = [None] * len(tensors["theta"])
    if "addresses" in tensors:
        addresses = [Address(*axes) for axes in tensors["addresses"].numpy()]
    parts = zip(tensors["steps"].tolist(), tensors["theta"], addresses, strict=True)
    snapshots = tuple(
        # cloned: torch reads a state from the start of its storage, whatever the view (2.13)
        StepSnapshot(*part, random.clone())
        for part, random in zip(parts, tensors["random"], strict=True)
    )
    return Recording(snapshots, Task(*_unpacked(about["tree"], tensors)), about)


def _packed(tree: Any, name: str, into: dict[str, Tensor]) -> Any:
    """Put the tensors of a batch among the others; give its shape as plain JSON."""
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
