"""Specs of all points of a study's tables, by column: each distinct value is made once.

A study of 10^5 cells has few algorithms, families and probes, and many seeds. So the JSON of each
is written once, and a cell's digest takes little more than the SHA-256 of what varies.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metabench.grid.study.outline import Combination
from metabench.problems.random_numbers import LARGEST_SEED
from metabench.settings import fields

# key of a spec -> tables and keys of the study that determine its value
DETERMINED_BY = {
    "algo": ("algo",),
    "compute": ("compute",),
    "device": ("device",),
    "dtype": ("dtype",),
    "family": ("family",),
    "probe": ("probe", "family"),  # a family may prescribe the number of tasks
    "seed": ("seed",),
    "theta": ("theta", "family"),  # the initial theta is the family's
}
# The same of what is known of a cell besides its spec.
BESIDE = {"file": ("theta",), "kind": ("probe", "device")}
Values = Callable[[tuple[int, ...]], Mapping[str, Any]]  # of the point with these indices, by key


class Column(NamedTuple):
    """The values of one key at all points."""

    values: Sequence[Any]  # the distinct ones
    which: NDArray[np.int64]  # (points,) index of each point's value

    def of_each(self, made: Sequence[Any]) -> Iterator[Any]:
        """Yield, for every point, what was made of its value."""
        return map(made.__getitem__, self.which.tolist())


Columns = Mapping[str, Column]


def columns(combination: Combination, values: Values) -> Columns:
    """Return the columns of a combination's points, in the order of `Combination.points`.

    Args:
        combination: the tables and their axes.
        values: makes and validates those of one point.
    """
    named = {**DETERMINED_BY, **BESIDE}
    return {key: _column(combination, names, values, key) for key, names in named.items()}


def columns_of_one(values: Mapping[str, Any]) -> Columns:
    """Return the columns of a single point."""
    return {key: Column([value], np.zeros(1, dtype=np.int64)) for key, value in values.items()}


def digests(table: Columns) -> Iterator[str]:
    """Yield the digest of every point, the same as `fields.digest` of its whole spec."""
    head = b"{"
    rest: list[Iterator[bytes]] = []
    for key in sorted(DETERMINED_BY):
        column = table[key]
        ending = b"}" if key == max(DETERMINED_BY) else b","
        texts = [b'"%b":%b%b' % (key.encode(), _text(value), ending) for value in column.values]
        if len(texts) == 1 and not rest and ending == b",":
            head += texts[0]
        else:
            rest.append(column.of_each(texts))
    hashed = hashlib.sha256(head)
    for parts in zip(*rest, strict=True):
        one = hashed.copy()
        one.update(b"".join(parts))
        yield one.hexdigest()[: fields.DIGITS]


def _text(value: Any) -> bytes:
    return b"%d" % value if type(value) is int else fields.canonical(value)  # of many seeds, fast


def _column(combination: Combination, names: Iterable[str], values: Values, key: str) -> Column:
    lengths, groups = combination.lengths, combination.groups
    moving = [
        g
        for g, group in enumerate(groups)
        if lengths[g] > 1 and any(path[0] in names for path in group)
    ]
    which = np.zeros(combination.size, dtype=np.int64)
    for g in moving:
        which = which * lengths[g] + _index(lengths, g)
    if key == "seed" and moving and (seeds := _valid_seeds(combination)):
        return Column(seeds, which)
    ranges = [range(length) if g in moving else (0,) for g, length in enumerate(lengths)]
    return Column([values(choice)[key] for choice in itertools.product(*ranges)], which)


def _index(lengths: Sequence[int], group: int) -> NDArray[np.int64]:
    """Return the index of a group's value at every point; the last group moves fastest."""
    inner = math.prod(lengths[group + 1 :])
    return np.arange(math.prod(lengths)) // inner % lengths[group]


def _valid_seeds(combination: Combination) -> Sequence[int]:
    """List the seeds if none needs a check of its own, which takes longer than all else."""
    seeds = list(combination.axes["seed",])
    plain = all(type(seed) is int and 0 <= seed <= LARGEST_SEED for seed in seeds)
    return seeds if plain else ()
