"""Trajectories of a table of probabilities by inverse distribution functions."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench.problems.reinforcement.episodes import Trajectories
from metabench.problems.reinforcement.mdp import MDP


def rollout(policy: Tensor, mdp: MDP, uniforms: Tensor) -> Trajectories:
    """Draw N trajectories; the same uniform numbers give the same trajectories.

    Args:
        policy: probabilities of the actions, `(S, A)`.
        mdp: one process for each trajectory: fields `(N, S)`, `(N, S, A, S)`, `(N, S, A)`.
        uniforms: `(N, H, 2)` in (0, 1): at each time one for the state, one for the action.
    """
    each = torch.arange(uniforms.shape[-3], device=uniforms.device)
    actions_below, states_below = policy.cumsum(-1), mdp.transitions.cumsum(-1)
    state = _drawn(mdp.start.cumsum(-1), uniforms[:, 0, 0])
    states: list[Tensor] = []
    actions: list[Tensor] = []
    for t in range(uniforms.shape[-2]):
        if t > 0:
            state = _drawn(states_below[each, state, actions[-1]], uniforms[:, t, 0])
        states.append(state)
        actions.append(_drawn(actions_below[state], uniforms[:, t, 1]))
    at, chosen = torch.stack(states, -1), torch.stack(actions, -1)
    return Trajectories(at, chosen, mdp.rewards[each[:, None], at, chosen])


def _drawn(below: Tensor, uniform: Tensor) -> Tensor:
    """Return the index that each uniform number `(N,)` falls on, given cumulative probabilities."""
    # the last cumulative probability may be below 1 by round-off
    return (uniform[:, None].to(below) > below[..., :-1]).sum(-1)
