"""Theta from weights, with what the algorithm learns besides if it is there."""

from __future__ import annotations

import contextlib

import torch

from metabench.algorithms.base import Estimator
from metabench.problems.checkpoints import LoadedTheta, Weights
from metabench.problems.problem import Problem
from metabench.settings.errors import InvalidInput


def loaded_theta(algorithm: Estimator, problem: Problem, weights: Weights) -> LoadedTheta:
    """Return weights as theta: that of the problem, or the longer one that the algorithm trains.

    Args:
        algorithm: which may append parameters to theta.
        problem: without them.
        weights: a module, a state dict, a flat vector or a file.

    Raises:
        InvalidInput: if the weights don't fit the problem.
    """
    layout = problem.layouts.theta
    longer, _ = algorithm.extend(problem, torch.zeros(layout.size))
    if longer.layouts.theta != layout:
        with contextlib.suppress(InvalidInput):
            return longer.load(weights)
    return problem.load(weights)
