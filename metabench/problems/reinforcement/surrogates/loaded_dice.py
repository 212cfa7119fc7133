"""Loaded DiCE: a baseline at every order, and a decay that trades bias for variance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metabench.problems.reinforcement.surrogates.surrogate import Surrogate, magic_box
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class LoadedDiCE(Surrogate):
    r"""Loaded DiCE, sum_t [m(w_t) - m(d w_{t-1})] A_t with w_t = l_t + d w_{t-1}.

    At decay d = 1 unbiased at every order with any baseline that doesn't depend on the action, and
    at second order the TayPO objective of order 2 (Tang et al., 2021,
    https://arxiv.org/abs/2106.13125); at d = 0 it is `lvc`, TayPO of order 1.
    (Farquhar, Whiteson & Foerster, 2019, https://arxiv.org/abs/1909.10549).

    >>> import metabench as mb
    >>> import torch
    >>> mb.LoadedDiCE()(torch.full((2, 3), -1.0), torch.ones(2, 3), torch.zeros(2, 3))
    tensor([0., 0.])
    """

    decay: float = 1.0  # d, weight of earlier actions at second order, 1: unbiased [1]

    def __post_init__(self) -> None:
        """Validate 0 <= decay <= 1."""
        if not 0 <= self.decay <= 1:
            raise InvalidInput(f"decay is {self.decay}; it must lie in [0, 1], 1: unbiased.")

    def __call__(self, log_probabilities: Tensor, returns: Tensor, baselines: Tensor) -> Tensor:
        """Compute the surrogate of each trajectory, `(N,)`."""
        earlier = total = torch.zeros_like(log_probabilities[..., 0])
        for t, log_probability in enumerate(log_probabilities.unbind(-1)):
            before = self.decay * earlier
            earlier = log_probability + before
            boxes = magic_box(earlier) - magic_box(before)
            total = total + boxes * (returns - baselines)[..., t]
        return total
