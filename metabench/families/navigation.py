"""A point robot that goes to a goal, as in the MAML paper's reinforcement learning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from metabench.families.base import Family, at_least
from metabench.problems import random_numbers
from metabench.problems.initial_phi import identity
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.problem import Problem
from metabench.problems.reinforcement import policies
from metabench.problems.reinforcement.addressed_bits import bits_of, redrawn, uniforms_of
from metabench.problems.reinforcement.episodes import Trajectories
from metabench.problems.reinforcement.policy_gradient import PolicyGradient, check_settings
from metabench.problems.reinforcement.surrogates.loaded_dice import LoadedDiCE
from metabench.problems.reinforcement.surrogates.surrogate import Surrogate
from metabench.problems.samplers import independent_tasks
from metabench.problems.tasks import Address, Task
from metabench.settings.errors import InvalidInput

REACH = 0.5  # goals lie in [-REACH, REACH]^2
LARGEST_STEP = 0.1  # in each coordinate
EXACT_ONLY = ("time", "exact")  # baselines that need known expectations
LOG_SCALE = "log_scale"


class Walks(NamedTuple):
    """What N trajectories are drawn from; each brings its goal, as an example of a set."""

    goal: Tensor  # (N, 2)
    bits: Tensor  # random, int64, (N, H, 2)


@dataclass(frozen=True)
class Navigation(Family):
    r"""Meta-RL of a point robot: go from the origin to an unseen goal in the plane.

    A task is a goal, uniform in [-0.5, 0.5]^2; a step is clipped to 0.1 in each coordinate, the
    reward is minus the squared distance after it. The policy is normal, with a ReLU network for its
    mean and learned log standard deviations. Trajectories have `horizon` steps; the paper ends them
    within 0.01 of the goal, which makes their length random.
    (Finn, Abbeel & Levine, 2017, https://arxiv.org/abs/1703.03400), section 5.3.

    >>> import metabench as mb
    >>> family = mb.Navigation(shots=5, horizon=10, hidden=(8,))
    >>> family.sample(mb.Address.fresh(start=0, count=3), seed=0).support.bits.shape  # of 3 tasks
    torch.Size([3, 5, 10, 2])
    """

    horizon: int = 100  # H, steps of a trajectory [steps]
    hidden: tuple[int, ...] = (100, 100)  # widths of the policy's hidden layers [units]
    shots: int = 20  # N, support trajectories of an inner step [trajectories]
    queries: int = 20  # query trajectories [trajectories]
    discount: float = 0.99  # gamma, in (0, 1] [1]
    discounting: str = "from_start"  # G_t sums gamma^u r_u, or gamma^(u-t) r_u: from_t
    surrogate: Surrogate = field(default_factory=LoadedDiCE)  # naive, lvc, dice or loaded_dice
    baseline: str = "leave_one_out"  # none, independent, leave_one_out; biased: batch, standardized

    tasks: ClassVar[int] = 64

    def __post_init__(self) -> None:
        """Validate sizes, discounting and baseline."""
        at_least(1, horizon=self.horizon, shots=self.shots, queries=self.queries)
        at_least(1, hidden=min(self.hidden, default=1))
        check_settings(self.baseline, self.discounting, self.discount)
        if self.baseline in EXACT_ONLY:
            raise InvalidInput(
                f"baseline is {self.baseline!r}, which needs exact expectations; navigation has "
                "none, independent, leave_one_out, batch and standardized."
            )

    @property
    def layout(self) -> Layout:
        """The policy's parameters."""
        return policies.network_layout((2, *self.hidden, 2), Layout((LOG_SCALE,), ((2,),)))

    def problem(self) -> Problem:
        """Return the problem of maximizing the return after adaptation."""
        layout = self.layout
        sampling = PolicyGradient(
            rollout=self.rollout,
            log_probabilities=self._log_probabilities,
            at_stream=lambda data, number: data._replace(bits=redrawn(data.bits, number)),
            surrogate=self.surrogate,
            baseline=self.baseline,
            discount=self.discount,
            convention=self.discounting,
            known=_unknown,
        ).sampling()
        loss = sampling.inner_loss
        return Problem(
            identity, loss, loss, Layouts(layout, layout), sampled=True, sampling=sampling
        )

    def rollout(self, phi: Tensor, data: Walks, stream: int = 0) -> Trajectories:
        """Draw the trajectories of a set at phi.

        Args:
            phi: the policy's parameters, `(P,)`.
            data: of one task.
            stream: which of its independent random numbers are used.
        """
        noise = torch.special.ndtri(uniforms_of(redrawn(data.bits, stream))).to(phi)
        away = self.layout.unflatten(phi)[LOG_SCALE].exp() * noise
        position = torch.zeros_like(data.goal)
        seen: list[Tensor] = []
        actions: list[Tensor] = []
        rewards: list[Tensor] = []
        for t in range(noise.shape[-2]):
            seen.append(position)
            actions.append(self._mean(phi, position) + away[:, t])
            position = position + actions[-1].clamp(-LARGEST_STEP, LARGEST_STEP)
            rewards.append(-((position - data.goal) ** 2).sum(-1))
        return Trajectories(torch.stack(seen, 1), torch.stack(actions, 1), torch.stack(rewards, 1))

    def theta(self, seed: int) -> Tensor:
        """Draw the initial policy's parameters, `(Q,)`; standard deviations are 1."""
        layout, first = self.layout, Address.fresh(0, 1)
        numbers = random_numbers.uniform(seed, "theta", first, layout.size)[0]
        return policies.initial_network(layout, torch.from_numpy(numbers))

    @independent_tasks
    def sample(self, address: Address, seed: int) -> Task:
        """Draw tasks: goals, and the random bits of their trajectories `(T, N, H, 2)`."""
        T = len(address.task)
        numbers = random_numbers.uniform(seed, "task", address, 2)
        goals = torch.from_numpy(REACH * (2 * numbers - 1))

        def walks(axis: str, count: int) -> Walks:
            drawn = random_numbers.uniform(seed, axis, address, count * self.horizon * 2)
            bits = bits_of(drawn).reshape(T, count, self.horizon, 2)
            return Walks(goals[:, None].expand(T, count, 2), bits)

        return Task(walks("support", self.shots), walks("query", self.queries))

    def _mean(self, phi: Tensor, positions: Tensor) -> Tensor:
        return policies.network(self.layout, phi, positions, torch.relu)

    def _log_probabilities(self, phi: Tensor, seen: Tensor, actions: Tensor) -> Tensor:
        log_scale = self.layout.unflatten(phi)[LOG_SCALE]
        return policies.gaussian(self._mean(phi, seen), log_scale, actions)


def _unknown(name: str, *given: object) -> Tensor:
    """Refuse a baseline that needs expectations; the constructor does so first."""
    raise InvalidInput(f"baseline {name} needs exact expectations.")
