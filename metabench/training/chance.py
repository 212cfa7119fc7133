"""Accuracy of a classifier that has learned nothing: the best constant answer on each task."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from metabench.problems.networks.accuracy import IGNORED
from metabench.problems.tasks import Task


def chance_accuracy(tasks: Task) -> float | None:
    """Return the share of the most frequent label in each query set, the mean over tasks.

    Args:
        tasks: whose query sets end with their labels, `(T, n, ...)`: integers, or 0 and 1.

    Returns:
        The accuracy, or None where labels are given in another form, such as probabilities.

    >>> y = torch.tensor([[0, 0, 1, 2], [3, 3, 3, 4]])
    >>> chance_accuracy(Task((), (torch.zeros(2, 4), y)))
    0.625
    """
    leaves = [leaf for leaf in tree_leaves(tasks.query) if isinstance(leaf, Tensor)]
    labels = leaves[-1] if leaves else None
    if labels is None or labels.dim() < 2:
        return None
    zero_or_one = labels.dim() == 2 and bool(((labels == 0) | (labels == 1)).all())
    if labels.is_floating_point() and not zero_or_one:
        return None
    shares = [_most_frequent(each.flatten()) for each in labels]
    return sum(shares) / len(shares)


def _most_frequent(labels: Tensor) -> float:
    counted = labels[labels != IGNORED]
    if not counted.numel():
        return 0.0
    counts = torch.unique(counted, return_counts=True)[1]
    return float(counts.max()) / counted.numel()
