"""Markov decision processes with finitely many states: values and returns by backward recursion."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class MDP(NamedTuple):
    """A Markov decision process of S states and A actions.

    >>> import torch
    >>> mdp = MDP(torch.ones(1), torch.ones(1, 2, 1), torch.tensor([[0.0, 1.0]]))
    >>> policy = torch.tensor([[0.5, 0.5]])
    >>> expected_return(policy, mdp, horizon=3, discount=1.0)
    tensor(1.5000)
    """

    start: Tensor  # probabilities of the first state, (S,)
    transitions: Tensor  # probabilities of the next state, (S, A, S)
    rewards: Tensor  # (S, A)


def values(policy: Tensor, mdp: MDP, horizon: int, discount: float) -> Tensor:
    r"""Compute the expected return from each time and state, `(horizon + 1, S)`.

    :math:`V_t(s) = \sum_a \pi(a|s) (r(s, a) + \gamma \sum_{s'} p(s'|s, a) V_{t+1}(s'))` and
    :math:`V_H = 0`; discounted from t.

    Args:
        policy: probabilities of the actions, `(S, A)`.
        mdp: the process.
        horizon: H, actions in a trajectory.
        discount: gamma.
    """
    value = [torch.zeros_like(policy[:, 0])]
    for _ in range(horizon):
        of_action = mdp.rewards + discount * mdp.transitions @ value[-1]
        value.append((policy * of_action).sum(-1))
    return torch.stack(value[::-1])


def expected_return(policy: Tensor, mdp: MDP, horizon: int, discount: float) -> Tensor:
    """Compute the expected discounted return `()` of a policy `(S, A)`.

    Args:
        policy: probabilities of the actions, `(S, A)`.
        mdp: the process.
        horizon: actions in a trajectory.
        discount: gamma.
    """
    return mdp.start @ values(policy, mdp, horizon, discount)[0]


def expected_rewards(policy: Tensor, mdp: MDP, horizon: int) -> Tensor:
    """Compute the expected undiscounted reward at each time, `(horizon,)`.

    Args:
        policy: probabilities of the actions, `(S, A)`.
        mdp: the process.
        horizon: actions in a trajectory.
    """
    state, found = mdp.start, []
    for _ in range(horizon):
        both = state[:, None] * policy
        found.append((both * mdp.rewards).sum())
        state = torch.einsum("sa,sat->t", both, mdp.transitions)
    return torch.stack(found)
