"""DiCE: unbiased derivatives of every order."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from metabench.problems.reinforcement.returns import rewards_of
from metabench.problems.reinforcement.surrogates.surrogate import Surrogate, magic_box


@dataclass(frozen=True)
class DiCE(Surrogate):
    r"""DiCE, sum_t m(c_t) r_t with m(x) = exp(x - sg x): unbiased at every order.

    :math:`c_t = \sum_{u \le t} l_u`, and :math:`\sum_t (1 - m(l_t)) b_t` for the baseline, which
    lowers the variance of the first order only.
    (Foerster et al., 2018, https://arxiv.org/abs/1802.05098).

    >>> import metabench as mb
    >>> import torch
    >>> mb.DiCE()(torch.full((2, 3), -1.0), torch.tensor([[3.0, 2.0, 1.0]] * 2), torch.zeros(2, 3))
    tensor([3., 3.])
    """

    def __call__(self, log_probabilities: Tensor, returns: Tensor, baselines: Tensor) -> Tensor:
        """Compute the surrogate of each trajectory, `(N,)`."""
        boxes = magic_box(log_probabilities.cumsum(-1))
        controls = (1 - magic_box(log_probabilities)) * baselines
        return (boxes * rewards_of(returns) + controls).sum(-1)
