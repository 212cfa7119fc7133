"""The low-variance curvature estimator of ProMP."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from metabench.problems.reinforcement.surrogates.surrogate import Surrogate, magic_box


@dataclass(frozen=True)
class LVC(Surrogate):
    r"""Low-variance curvature, sum_t m(l_t) A_t with m(x) = exp(x - sg x): biased at second order.

    Its expected Hessian lacks :math:`E \sum_t \nabla l_t \nabla Q_t^\top` and its transpose, with
    any baseline: how an action changes what later actions are worth.
    (Rothfuss, Lee, Clavera, Asfour & Abbeel, 2018, https://arxiv.org/abs/1810.06784).

    >>> import metabench as mb
    >>> import torch
    >>> mb.LVC()(torch.full((2, 3), -1.0), torch.ones(2, 3), torch.zeros(2, 3))
    tensor([3., 3.])
    """

    def __call__(self, log_probabilities: Tensor, returns: Tensor, baselines: Tensor) -> Tensor:
        """Compute the surrogate of each trajectory, `(N,)`."""
        return (magic_box(log_probabilities) * (returns - baselines)).sum(-1)
