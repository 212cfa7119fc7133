"""Returns from each time on, by either of two conventions of discounting."""

from __future__ import annotations

import torch
from torch import Tensor

CONVENTIONS = ("from_start", "from_t")


def discounts(horizon: int, discount: float, like: Tensor) -> Tensor:
    """Return gamma^t for t = 0 .. horizon - 1, `(horizon,)`.

    Args:
        horizon: actions in a trajectory.
        discount: gamma.
        like: of the wanted dtype and device.
    """
    return discount ** torch.arange(horizon, dtype=like.dtype, device=like.device)


def returns(rewards: Tensor, discount: float, convention: str) -> Tensor:
    r"""Compute the return from each time on, `(N, H)`.

    `from_start`: :math:`G_t = \sum_{u \ge t} \gamma^u r_u`, which makes
    :math:`\sum_t \nabla l_t G_t` the gradient of the discounted return; `from_t`:
    :math:`\sum_{u \ge t} \gamma^{u-t} r_u`, which is what public code mostly uses, and makes it the
    gradient of no objective (Nota & Thomas, 2020, https://arxiv.org/abs/1906.07073).

    Args:
        rewards: `(N, H)`.
        discount: gamma.
        convention: one of `CONVENTIONS`.
    """
    weights = discounts(rewards.shape[-1], discount, rewards)
    ahead = (rewards * weights).flip(-1).cumsum(-1).flip(-1)
    return ahead if convention == "from_start" else ahead / weights


def rewards_of(returns: Tensor) -> Tensor:
    """Return what each time adds, G_t - G_{t+1}, whose sum is the whole return, `(N, H)`."""
    later = torch.cat([returns[..., 1:], torch.zeros_like(returns[..., :1])], dim=-1)
    return returns - later
