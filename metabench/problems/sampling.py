"""Losses that draw a sample from a law that depends on phi: how they draw, and what they draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metabench.problems.tasks import Data

Sample = Any  # a pytree of tensors with a leading axis N
At = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (phi, theta) -> those of another problem


def same_at_every_step(data: Data, step: int) -> Data:
    """Return the data as they are: every inner step draws with the same random numbers."""
    return data


class Sampling(NamedTuple):
    """The parts of a loss that draws N sequences of H random choices, such as trajectories.

    The loss is `loss(phi, theta, draw(phi, theta, data))`, where nothing is differentiated through
    `draw`; its randomness comes from numbers in the data. A choice has a log-probability and is
    followed by a cost; the loss to minimize is the expected sum of costs. From these parts alone
    derivatives of every order can be estimated without bias (Schulman, Heess, Weber & Abbeel, 2015,
    https://arxiv.org/abs/1506.05254), which is what `loss` is compared with.

    >>> import metabench as mb
    >>> family = mb.Tabular(shots=5)
    >>> sampling, phi = family.problem().sampling, family.theta(seed=0)
    >>> support = family.sample(mb.Address.fresh(0, 1), seed=0).support
    >>> from metabench.problems.tasks import tree_map
    >>> sample = sampling.draw(phi, phi, tree_map(lambda leaf: leaf[0], support))
    >>> sampling.log_probabilities(phi, phi, sample).shape  # of 5 trajectories of 3 actions
    torch.Size([5, 3])
    """

    draw: Callable[[Tensor, Tensor, Data], Sample]  # (phi, theta, data) -> sample
    loss: Callable[[Tensor, Tensor, Sample], Tensor]  # (phi, theta, sample) -> ()
    log_probabilities: Callable[[Tensor, Tensor, Sample], Tensor]  # -> (N, H)
    costs: Callable[[Tensor, Tensor, Sample], Tensor]  # after each choice -> (N, H)
    shifted: Callable[[Sample, Tensor], Sample] | None = (
        None  # with its baseline raised by a number
    )
    at_step: Callable[[Data, int], Data] = same_at_every_step  # data of inner step k, from k = 0

    def inner_loss(self, phi: Tensor, theta: Tensor, data: Data) -> Tensor:
        """Draw a sample at phi and return its loss `()`.

        Args:
            phi: parameters, `(P,)`.
            theta: meta-parameters, `(Q,)`.
            data: support or query set.
        """
        sample = self.draw(phi.detach(), theta.detach(), data)
        return self.loss(phi, theta, sample)

    def through(self, at: At) -> Sampling:
        """Return the parts as functions of other parameters, which `at` maps to these ones."""

        def mapped(function: Callable[..., Any]) -> Callable[..., Any]:
            return lambda phi, theta, given: function(*at(phi, theta), given)

        return self._replace(
            draw=mapped(self.draw),
            loss=mapped(self.loss),
            log_probabilities=mapped(self.log_probabilities),
            costs=mapped(self.costs),
        )


def unbiased_loss(sampling: Sampling) -> Callable[[Tensor, Tensor, Sample], Tensor]:
    """Return a loss of a sample whose derivatives of every order are unbiased.

    It is made of the log-probabilities and costs alone: each cost times the likelihood ratio of the
    choices before it, with the other sequences' mean as baseline.
    """

    def loss(phi: Tensor, theta: Tensor, sample: Sample) -> Tensor:
        logs = sampling.log_probabilities(phi, theta, sample)
        costs = sampling.costs(phi, theta, sample)
        total = logs.cumsum(-1)
        ratio = (total - total.detach()).exp()
        before = torch.cat([torch.ones_like(ratio[:, :1]), ratio[:, :-1]], dim=-1)
        ahead = costs.detach().flip(-1).cumsum(-1).flip(-1)
        others = (ahead.sum(0) - ahead) / max(len(ahead) - 1, 1)
        return (ratio * costs - (ratio - before) * others).sum(-1).mean()

    return loss
