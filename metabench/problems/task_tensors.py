"""Tensors of a task, from what a sampler gives: arrays, lists of numbers, tensors with a graph."""

from __future__ import annotations

from numbers import Number
from typing import Any

import torch
from torch import Tensor

from metabench.problems.tasks import Data, tree_map
from metabench.settings.errors import InvalidInput
from metabench.settings.user_errors import in_one_line

OF_NUMBERS = (Number, bool)


def with_tensors(data: Any, part: str) -> Data:
    """Return a set with each array, and each list of numbers, as a tensor without a graph.

    Args:
        data: a pytree, such as (x, y).
        part: "support" or "query", for messages.

    Raises:
        InvalidInput: if a leaf is no dense tensor and can't become one.
    """
    return tree_map(lambda leaf: _tensor(leaf, part), _with_arrays(data, part))


def _with_arrays(data: Any, part: str) -> Any:
    """Replace nested lists of numbers by tensors, in tuples, lists and dictionaries."""
    if isinstance(data, list) and _is_of_numbers(data):
        return _tensor(data, part)
    if isinstance(data, dict):
        return {key: _with_arrays(value, part) for key, value in data.items()}
    if type(data) in (list, tuple):
        return type(data)(_with_arrays(each, part) for each in data)
    return data


def _is_of_numbers(data: Any) -> bool:
    """Return whether a list holds numbers, at any depth, and nothing else; by its first items."""
    while isinstance(data, list) and data:
        data = data[0]
    return isinstance(data, OF_NUMBERS)


def _tensor(leaf: Any, part: str) -> Tensor:
    """Return a leaf as a dense tensor without a graph."""
    try:
        found = torch.as_tensor(leaf).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInput(
            f"The {part} set of a task holds an object of type {type(leaf).__name__} that can't be "
            f"a tensor ({in_one_line(error)}). Give tensors, arrays or lists of numbers of one "
            "shape; words as ids, and zeros for a y that the loss ignores."
        ) from error
    if found.layout != torch.strided:
        raise InvalidInput(
            f"The {part} set of a task holds a sparse tensor ({found.layout}); tasks are dense. "
            "Give it as .to_dense(), or its indices and values as parts of x, and join them in "
            "forward."
        )
    return found
