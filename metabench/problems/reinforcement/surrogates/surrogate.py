"""Base class of surrogates: `surrogate(log_probabilities, returns, baselines) -> (N,)`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from metabench.settings.keywords import Settings


class Surrogate(Settings, ABC):
    """A function of trajectories that is differentiated in their log-probabilities.

    Its value means nothing; its gradient estimates that of the expected return, and its Hessian, if
    it is right at second order, the Hessian. Returns and baselines are constants.

    >>> import metabench as mb
    >>> import torch
    >>> log_probabilities, returns = torch.zeros(5, 3), torch.ones(5, 3)
    >>> mb.LVC()(log_probabilities, returns, 0 * returns)  # of 5 trajectories of 3 actions
    tensor([3., 3., 3., 3., 3.])
    """

    settings_group: ClassVar[str] = "family.surrogate"
    version: ClassVar[int] = 1  # part of the address: raise it when the numbers change

    @abstractmethod
    def __call__(self, log_probabilities: Tensor, returns: Tensor, baselines: Tensor) -> Tensor:
        """Compute the surrogate of each trajectory, `(N,)`.

        Args:
            log_probabilities: of the actions taken, `(N, H)`.
            returns: from each time on, `(N, H)`.
            baselines: subtracted from the returns, `(N, H)`.
        """


def magic_box(log_probability: Tensor) -> Tensor:
    """Return exp(x - stop_gradient(x)), whose value is 1 and whose derivative is x's."""
    return (log_probability - log_probability.detach()).exp()
