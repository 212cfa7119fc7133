"""N-way K-shot classification of image folders: mini-ImageNet, CUB, or your own images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from metabench.families.base import Family, at_least
from metabench.problems import architectures
from metabench.problems.images import archives, class_splits, image_folders, n_way_k_shot
from metabench.problems.problem import Problem
from metabench.problems.samplers import independent_tasks
from metabench.problems.tasks import Address, Task
from metabench.settings.errors import InvalidInput

SPLIT_ENDS = 0.64, 0.80  # shares of train, and of train and val classes, as in mini-ImageNet


@dataclass(frozen=True)
class Folder(Family):
    """N-way K-shot classification of images in class directories, by a four-block conv network.

    `path` is a folder, or a .zip or .tar of one. A split is the folder `path/<split>/` of class
    directories, or the list `path/<split>.csv` (columns filename and label) of images in
    `path/images`, as for mini-ImageNet. Otherwise every folder of images is a class, and 64, 16
    and 20 % of the classes are train, val and test, the same for every seed.
    (Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra, 2016, https://arxiv.org/abs/1606.04080).

    >>> import metabench as mb
    >>> mb.Folder("images.zip")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    metabench.settings.errors.InvalidInput: The folder 'images.zip' does not exist; ...
    """

    path: str = ""  # folder of class directories, or an archive of one
    ways: int = 5  # N, classes of a task [classes]
    shots: int = 1  # support images of each class [examples]
    queries: int = 15  # query images of each class [examples]
    split: str = "train"  # train, val or test
    side: int = 84  # width and height images are scaled to [pixels]
    channels: int = 3  # 3: color, 1: gray [channels]
    filters: int = 32  # channels of each convolution [channels]
    norm: bool = True  # batch norm, with batch statistics

    tasks: ClassVar[int] = 256
    held_out: ClassVar[str] = "val"
    needs: ClassVar[str] = "path"

    def __post_init__(self) -> None:
        """Read the images, and check sizes against the classes of the split."""
        at_least(1, shots=self.shots, queries=self.queries, filters=self.filters)
        at_least(2, ways=self.ways)
        at_least(16, side=self.side)
        class_splits.check_split(self.split)
        if self.channels not in (1, 3):
            raise InvalidInput(
                f"channels is {self.channels}; it must be 3 for color or 1 for gray."
            )
        if not self.path:
            raise InvalidInput(
                "The family folder needs a folder of class directories: --set family.path=FOLDER."
            )
        self._pool().check(self.ways, self.shots, self.queries)

    def problem(self) -> Problem:
        """Return the problem of minimizing the network's cross-entropy."""
        return Problem.from_module(self._net(), functional.cross_entropy)

    def theta(self, seed: int) -> Tensor:
        """Draw the network's initial parameters, `(Q,)`."""
        return architectures.initial_parameters(self._net(), seed)

    @independent_tasks
    def sample(self, address: Address, seed: int) -> Task:
        """Draw tasks: images `(T, ways * n, C, side, side)` in [0, 1], labels `(T, ways * n)`."""
        return n_way_k_shot.draw_tasks(
            self._pool(), address, seed, self.ways, self.shots, self.queries
        )

    def _net(self) -> torch.nn.Module:
        return architectures.conv(4, self.filters, self.ways, self.side, self.channels, self.norm)

    def _pool(self) -> n_way_k_shot.Pool:
        return _pool(self.path, self.split, self.side, self.channels)


@cache
def _pool(path: str, split: str, side: int, channels: int) -> n_way_k_shot.Pool:
    """Read a split; the result is cached."""
    root = Path(path)
    if root.is_file():
        root = archives.unpack(root, root.with_name(f"{root.name}.unpacked"))
    if not root.is_dir():
        raise InvalidInput(
            f"The folder {path!r} does not exist; give a folder of class directories."
        )
    below = [child for child in root.iterdir() if not child.name.startswith(".")]
    if len(below) == 1 and below[0].is_dir() and below[0].name not in class_splits.SPLITS:
        root = below[0]  # an archive of one folder
    return image_folders.read_classes(_classes(root, split), side, channels)


def _classes(root: Path, split: str) -> dict[str, list[Path]]:
    """Return the images of a split's classes, from its folder, its list, or a share of all."""
    if (root / split).is_dir():
        return image_folders.classes_below(root / split)
    if (root / f"{split}.csv").is_file():
        return image_folders.classes_listed(root / f"{split}.csv", root / "images")
    found = image_folders.classes_below(root)
    names = list(found)
    ends = [round(share * len(names)) for share in SPLIT_ENDS]
    chosen = class_splits.classes_of_split(
        split, len(names), ends, f"{root} has {len(names)} classes"
    )
    return {name: found[name] for name in sorted(names[c] for c in chosen)}
