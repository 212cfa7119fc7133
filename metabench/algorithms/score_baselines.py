"""Baselines of the score term that leave it unbiased: losses that don't depend on the samples.

The mean loss of the same samples' batch is none: it makes the bias minus the gradient of J.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from metabench.algorithms.adapt import inner_batch, inner_update
from metabench.algorithms.base import Algorithm
from metabench.autodiff import derivatives
from metabench.autodiff.per_task_products import vectorize
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task, tree_map
from metabench.settings.errors import InvalidInput

SCORE_BASELINES = ("none", "expected", "redrawn", "leave_one_out")


def score_baseline(
    algorithm: Algorithm,
    problem: Problem,
    theta: Tensor,
    task: Task,
    phis: list[Tensor],
    k: int,
) -> Tensor:
    """Return the baseline of step k's samples, `()` or one for each, `(N,)`.

    `expected`: the expected loss before adaptation; `redrawn`: the loss after a step k on other
    samples of the same task; `leave_one_out`: that after a step k without the sample whose score it
    multiplies.

    Args:
        algorithm: gives the inner optimizer, the number of steps and `score_baseline`.
        problem: the losses.
        theta: meta-parameters, `(Q,)`.
        task: one task.
        phis: phi_0 .. phi_K.
        k: index of the step, from 0.

    Raises:
        InvalidInput: if the expected loss isn't known.
    """
    name = getattr(algorithm, "score_baseline", "none")
    if name == "none":
        return torch.zeros_like(phis[0][0])
    if name == "expected":
        if problem.expected_outer_loss is None:
            raise InvalidInput(
                "score_baseline=expected needs the problem's expected_outer_loss, which isn't "
                "known; use redrawn or leave_one_out."
            )
        return problem.expected_outer_loss(phis[0].detach(), theta, task.query).detach()

    def after(support: Any) -> Tensor:
        return _loss_after(algorithm, problem, theta, task, phis[k].detach(), k, support)

    if name == "redrawn":
        assert problem.sampling is not None
        return after(problem.sampling.at_step(task.support, algorithm.steps + k))
    support = inner_batch(problem, task, k)
    count = tree_leaves(support)[0].shape[0]
    if count == 1:
        return _loss_after(algorithm, problem, theta, task, phis[k].detach(), k, None)
    every = torch.arange(count, device=theta.device)
    others = torch.stack([torch.cat([every[:i], every[i + 1 :]]) for i in range(count)])
    left: Tensor = vectorize(after)(tree_map(lambda leaf: leaf[others], support))
    return left


def _loss_after(
    algorithm: Algorithm,
    problem: Problem,
    theta: Tensor,
    task: Task,
    phi: Tensor,
    k: int,
    support: Any,
) -> Tensor:
    """Compute the outer loss `()` where step k is taken on another support set.

    Args:
        algorithm: gives the inner optimizer and the number of steps.
        problem: the losses.
        theta: meta-parameters, `(Q,)`.
        task: one task.
        phi: phi_k, `(P,)`.
        k: index of the step, from 0.
        support: of step k; None: no step.
    """
    optimizer = algorithm.inner_optimizer
    slots = optimizer.start(phi)
    for step in range(k, algorithm.steps):
        data = support if step == k else inner_batch(problem, task, step)
        if data is not None:
            gradient = derivatives.gradient(problem.inner_loss, phi, theta, data)
            phi, slots = inner_update(optimizer, gradient, phi, slots, step, theta, None)
            phi = phi.detach()
    return problem.outer_loss(phi, theta, task.query).detach()
