"""Random Markov decision processes, in which every expectation of meta-RL is known exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from metabench.families.base import Family, at_least
from metabench.problems import random_numbers
from metabench.problems.initial_phi import identity
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.problem import Problem
from metabench.problems.reinforcement import mdp as processes
from metabench.problems.reinforcement import policies
from metabench.problems.reinforcement.addressed_bits import bits_of, redrawn, uniforms_of
from metabench.problems.reinforcement.episodes import Trajectories
from metabench.problems.reinforcement.mdp import MDP
from metabench.problems.reinforcement.policy_gradient import PolicyGradient, check_settings
from metabench.problems.reinforcement.returns import discounts, returns
from metabench.problems.reinforcement.surrogates.loaded_dice import LoadedDiCE
from metabench.problems.reinforcement.surrogates.surrogate import Surrogate
from metabench.problems.reinforcement.tabular_rollout import rollout
from metabench.problems.samplers import independent_tasks
from metabench.problems.tasks import Address, Task
from metabench.settings.errors import InvalidInput


class Rollouts(NamedTuple):
    """What N trajectories are drawn from; each brings its process, as an example of a set."""

    process: MDP  # fields with a leading N
    bits: Tensor  # random, int64, (N, H, 2)

    @property
    def mdp(self) -> MDP:
        """The process, which is the same for all."""
        return MDP(*(part[0] for part in self.process))


@dataclass(frozen=True)
class Tabular(Family):
    r"""Meta-RL on random tables: return, Hessian and expected adaptation are known exactly.

    A task is a Markov decision process with transition probabilities from Dirichlet(1), normal
    rewards and a uniform first state; the policy is a softmax over a table of logits, or over the
    outputs of a tanh network. The inner step is a policy gradient of `shots` trajectories, each
    step's its own; the query loss is minus the mean return of `queries` trajectories after
    adaptation.
    (Duan et al., 2016, https://arxiv.org/abs/1611.02779), section 3.1, has such processes.

    >>> import metabench as mb
    >>> family = mb.Tabular(shots=5)
    >>> family.sample(mb.Address.fresh(start=0, count=3), seed=0).support.bits.shape  # of 3 tasks
    torch.Size([3, 5, 3, 2])
    """

    states: int = 2  # S, states of a process [states]
    actions: int = 2  # A, actions in each state [actions]
    horizon: int = 3  # H, actions in a trajectory [actions]
    discount: float = 0.9  # gamma, in (0, 1] [1]
    discounting: str = "from_start"  # G_t sums gamma^u r_u, or gamma^(u-t) r_u: from_t
    surrogate: Surrogate = field(default_factory=LoadedDiCE)  # naive, lvc, dice or loaded_dice
    baseline: str = "leave_one_out"  # none, time, exact, independent; biased: batch, standardized
    shots: int = 20  # N, support trajectories of an inner step [trajectories]
    queries: int = 20  # query trajectories [trajectories]
    hidden: int = 0  # units of a tanh layer between state and logits, 0: a table [units]
    spread: float = 1.0  # standard deviation of the initial logits [logit]

    def __post_init__(self) -> None:
        """Validate sizes, discounting and baseline."""
        at_least(1, states=self.states, actions=self.actions, horizon=self.horizon)
        at_least(1, shots=self.shots, queries=self.queries)
        at_least(0, hidden=self.hidden)
        check_settings(self.baseline, self.discounting, self.discount)
        if not 0 <= self.spread < float("inf"):
            raise InvalidInput(f"spread is {self.spread}; it must be finite and at least 0.")

    @property
    def layout(self) -> Layout:
        """The policy's parameters."""
        if self.hidden == 0:
            return Layout(("logits",), ((self.states, self.actions),))
        return policies.network_layout((self.states, self.hidden, self.actions))

    def logits(self, phi: Tensor) -> Tensor:
        """Return the logits of every state's actions, `(S, A)`, at phi `(P,)`."""
        if self.hidden == 0:
            return self.layout.unflatten(phi)["logits"]
        inputs = torch.eye(self.states, dtype=phi.dtype, device=phi.device)
        return policies.network(self.layout, phi, inputs, torch.tanh)

    def problem(self) -> Problem:
        """Return the problem of maximizing the return after adaptation, with its expectations."""
        sampling = self.policy_gradient().sampling()
        return Problem(
            identity,
            sampling.inner_loss,
            sampling.inner_loss,
            Layouts(self.layout, self.layout),
            sampled=True,
            sampling=sampling,
            expected_inner_loss=self.expected_loss,
            expected_outer_loss=self.expected_loss,
            differs=FROM_T if self.discounting == "from_t" else "",
        )

    def policy_gradient(self) -> PolicyGradient:
        """Return the loss of one set of trajectories in its parts."""
        return PolicyGradient(
            rollout=self.rollout,
            log_probabilities=lambda phi, seen, taken: policies.categorical(
                self.logits(phi), seen, taken
            ),
            at_stream=lambda data, number: data._replace(bits=redrawn(data.bits, number)),
            surrogate=self.surrogate,
            baseline=self.baseline,
            discount=self.discount,
            convention=self.discounting,
            known=self._known,
        )

    def rollout(self, phi: Tensor, data: Rollouts, stream: int = 0) -> Trajectories:
        """Draw the trajectories of a set at phi.

        Args:
            phi: the policy's parameters, `(P,)`.
            data: of one task.
            stream: which of its independent random numbers are used.
        """
        uniforms = uniforms_of(redrawn(data.bits, stream))
        return rollout(self.logits(phi).softmax(-1), data.process, uniforms)

    def expected_loss(self, phi: Tensor, theta: Tensor, data: Rollouts) -> Tensor:
        """Compute minus the expected return `()`, differentiable in phi.

        Args:
            phi: the policy's parameters, `(P,)`.
            theta: meta-parameters, of which nothing depends.
            data: of one task.
        """
        policy = self.logits(phi).softmax(-1)
        return -processes.expected_return(policy, data.mdp, self.horizon, self.discount)

    def _known(self, name: str, phi: Tensor, data: Rollouts, found: Trajectories) -> Tensor:
        """Return the baseline `time` or `exact` of trajectories, `(N, H)`."""
        policy = self.logits(phi).softmax(-1)
        if name == "time":
            rewards = processes.expected_rewards(policy, data.mdp, self.horizon)
            ahead = returns(rewards[None], self.discount, self.discounting)
            return ahead.expand_as(found.rewards)
        value = processes.values(policy, data.mdp, self.horizon, self.discount)
        times = torch.arange(self.horizon, device=phi.device)
        from_t = value[times, found.observations]
        if self.discounting == "from_t":
            return from_t
        return from_t * discounts(self.horizon, self.discount, phi)

    def theta(self, seed: int) -> Tensor:
        """Draw the initial policy's parameters, `(Q,)`."""
        first = Address.fresh(0, 1)
        numbers = random_numbers.uniform(seed, "theta", first, self.layout.size)[0]
        if self.hidden:
            return policies.initial_network(self.layout, torch.from_numpy(numbers))
        return self.spread * torch.from_numpy(random_numbers.normal(numbers))

    @independent_tasks
    def sample(self, address: Address, seed: int) -> Task:
        """Draw tasks: processes, and the random bits of their trajectories `(T, N, H, 2)`."""
        S, A, T = self.states, self.actions, len(address.task)
        numbers = random_numbers.uniform(seed, "task", address, S * A * (S + 1))
        weights = torch.from_numpy(numbers[:, : S * A * S]).log().neg().reshape(T, S, A, S)
        rewards = torch.from_numpy(random_numbers.normal(numbers[:, S * A * S :]))
        process = MDP(
            torch.full((T, S), 1 / S, dtype=torch.float64),
            weights / weights.sum(-1, keepdim=True),
            rewards.reshape(T, S, A),
        )

        def rollouts(axis: str, count: int) -> Rollouts:
            drawn = random_numbers.uniform(seed, axis, address, count * self.horizon * 2)
            bits = bits_of(drawn).reshape(T, count, self.horizon, 2)
            return Rollouts(MDP(*(_repeated(part, count) for part in process)), bits)

        return Task(rollouts("support", self.shots), rollouts("query", self.queries))


FROM_T = "rewards are discounted from each action on (from_t), so it is no objective's gradient"


def _repeated(part: Tensor, count: int) -> Tensor:
    """Repeat a process `(T, ...)` for each trajectory, `(T, count, ...)`, without copying it."""
    return part[:, None].expand(-1, count, *part.shape[1:])
