"""The surrogate of common code, right at first order and wrong at second."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from metabench.problems.reinforcement.surrogates.surrogate import Surrogate


@dataclass(frozen=True)
class Naive(Surrogate):
    r"""Log-probabilities times advantages, sum_t l_t A_t: biased at second order.

    Its expected Hessian is :math:`E \sum_t \nabla^2 l_t A_t` alone, which is zero for a tabular
    softmax policy with its exact time-dependent value as baseline.
    (Finn, Abbeel & Levine, 2017, https://arxiv.org/abs/1703.03400).

    >>> import metabench as mb
    >>> import torch
    >>> mb.Naive()(torch.full((2, 3), -1.0), torch.ones(2, 3), torch.zeros(2, 3))
    tensor([-3., -3.])
    """

    def __call__(self, log_probabilities: Tensor, returns: Tensor, baselines: Tensor) -> Tensor:
        """Compute the surrogate of each trajectory, `(N,)`."""
        return (log_probabilities * (returns - baselines)).sum(-1)
