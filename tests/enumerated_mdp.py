"""One small decision process with all its 64 trajectories: an oracle without sampling."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap

from metabench.problems.reinforcement.mdp import MDP

S, A, H, GAMMA = 2, 2, 3, 0.9


class Enumerated(NamedTuple):
    """All trajectories: their states and actions, `(64, H)`, and the process and policy."""

    mdp: MDP
    phi: Tensor  # logits, flat (S A,)
    states: Tensor
    actions: Tensor
    rewards: Tensor  # (64, H), undiscounted
    baselines: Tensor  # a number for each time and state, of each trajectory, (64, H)

    def log_probability(self, phi: Tensor) -> Tensor:
        """Of each trajectory, `(64,)`, transitions included."""
        chances = self.mdp.start[self.states[:, 0]].log() + self.log_policy(phi).sum(-1)
        moves = self.mdp.transitions[self.states[:, :-1], self.actions[:, :-1], self.states[:, 1:]]
        return chances + moves.log().sum(-1)

    def log_policy(self, phi: Tensor) -> Tensor:
        """Of each action taken, `(64, H)`."""
        return phi.view(S, A).log_softmax(-1)[self.states, self.actions]

    @property
    def probabilities(self) -> Tensor:
        return self.log_probability(self.phi).exp()

    def weights(self) -> Tensor:
        return GAMMA ** torch.arange(H, dtype=torch.float64)

    def returns(self) -> Tensor:
        """From each time on, discounted from the start, `(64, H)`."""
        parts = self.rewards * self.weights()
        return torch.stack([parts[:, t:].sum(-1) for t in range(H)], -1)

    def expected_return(self, phi: Tensor) -> Tensor:
        return self.log_probability(phi).exp() @ self.returns()[:, 0]

    def gradient(self) -> Tensor:
        return grad(self.expected_return)(self.phi)

    def hessian(self) -> Tensor:
        return jacrev(grad(self.expected_return))(self.phi)

    def derivatives(self, surrogate, returns=None) -> tuple[Tensor, Tensor]:
        """Gradients `(64, P)` and Hessians `(64, P, P)` of a surrogate of each trajectory alone."""
        returns = self.returns() if returns is None else returns

        def alone(phi, states, actions, ahead, baseline):
            taken = phi.view(S, A).log_softmax(-1)[states, actions]
            return surrogate(taken[None], ahead[None], baseline[None])[0]

        given = (self.states, self.actions, returns, self.baselines)
        along = (None, 0, 0, 0, 0)
        made = (grad(alone), jacrev(grad(alone)))  # reverse mode alone: forward warns in torch 2.13
        gradients, hessians = (vmap(each, along)(self.phi, *given) for each in made)
        return gradients, hessians

    def mean(self, values: Tensor) -> Tensor:
        """The expectation of numbers of each trajectory."""
        return torch.tensordot(self.probabilities, values, dims=1)

    def scores(self) -> Tensor:
        """Gradients of log-probabilities by action, `(64, H, P)`."""
        return jacrev(self.log_policy)(self.phi)


def enumerated(seed: int = 0) -> Enumerated:
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    mdp = MDP(numbers(S).softmax(-1), numbers(S, A, S).softmax(-1), numbers(S, A))
    both = torch.tensor(list(itertools.product(range(S), range(A), repeat=H)))
    states, actions = both[:, 0::2], both[:, 1::2]
    table = numbers(H, S)
    baselines = table[torch.arange(H), states]
    return Enumerated(mdp, numbers(S * A), states, actions, mdp.rewards[states, actions], baselines)
