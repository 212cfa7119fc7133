"""The loss of a policy gradient: trajectories drawn at phi, then a surrogate of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from metabench.problems.reinforcement import baselines
from metabench.problems.reinforcement.episodes import Episodes, Trajectories
from metabench.problems.reinforcement.returns import CONVENTIONS, returns, rewards_of
from metabench.problems.reinforcement.surrogates.surrogate import Surrogate
from metabench.problems.sampling import Sampling
from metabench.settings.errors import InvalidInput

Rollout = Callable[[Tensor, Any, int], Trajectories]  # (phi, data, stream) -> trajectories
Given = Callable[[str, Tensor, Any, Trajectories], Tensor]  # a baseline by name, (N, H)
LogProbabilities = Callable[[Tensor, Tensor, Tensor], Tensor]  # (phi, seen, actions) -> (N, H)

OWN, BASELINE = 0, 1  # streams of a rollout's random numbers: its own trajectories, its baseline's
STREAMS = 2


@dataclass(frozen=True)
class PolicyGradient:
    """Settings and functions of a policy-gradient loss, which is minus the mean return.

    The reported value is minus the mean discounted return of the trajectories, its derivatives are
    those of minus the surrogate's mean.
    """

    rollout: Rollout
    log_probabilities: LogProbabilities
    at_stream: Callable[[Any, int], Any]  # (data, number) -> data with independent numbers
    surrogate: Surrogate
    baseline: str
    discount: float  # gamma
    convention: str  # from_start or from_t
    known: Given  # baselines `time` and `exact`

    def sampling(self) -> Sampling:
        """Return the parts of this loss."""
        return Sampling(
            draw=self.draw,
            loss=self.loss,
            log_probabilities=lambda phi, theta, sample: self.log_probabilities(
                phi, sample.observations, sample.actions
            ),
            costs=lambda phi, theta, sample: -sample.rewards,
            shifted=Episodes.shifted,
            at_step=lambda data, step: self.at_stream(data, STREAMS * step),
        )

    def draw(self, phi: Tensor, theta: Tensor, data: Any) -> Episodes:
        """Draw trajectories at phi, with returns and baselines.

        Args:
            phi: the policy's parameters, `(P,)`.
            theta: meta-parameters, of which nothing depends.
            data: of one task.
        """
        found = self.rollout(phi, data, OWN)
        ahead = returns(found.rewards, self.discount, self.convention)

        def given(name: str) -> Tensor:
            if name == "independent":
                others = self.rollout(phi, data, BASELINE)
                mean = returns(others.rewards, self.discount, self.convention).mean(0, keepdim=True)
                return mean.expand_as(ahead)
            return self.known(name, phi, data, found)

        scaled, baseline = baselines.with_baseline(self.baseline, ahead, given)
        return Episodes(found.observations, found.actions, rewards_of(ahead), scaled, baseline)

    def loss(self, phi: Tensor, theta: Tensor, sample: Episodes) -> Tensor:
        """Compute the loss `()` of trajectories that are fixed.

        Args:
            phi: the policy's parameters, `(P,)`.
            theta: meta-parameters, of which nothing depends.
            sample: the trajectories.
        """
        taken = self.log_probabilities(phi, sample.observations, sample.actions)
        surrogate = self.surrogate(taken, sample.returns, sample.baselines).mean()
        return surrogate.detach() - surrogate - sample.rewards.sum(-1).mean()


def check_settings(baseline: str, convention: str, discount: float) -> None:
    """Validate the settings of a policy gradient.

    Args:
        baseline: one of `baselines.BASELINES`.
        convention: one of `returns.CONVENTIONS`.
        discount: gamma, in (0, 1].

    Raises:
        InvalidInput: with what they may be.
    """
    if baseline not in baselines.BASELINES:
        raise InvalidInput(
            f"baseline is {baseline!r}; it must be one of {', '.join(baselines.BASELINES)}."
        )
    if convention not in CONVENTIONS:
        raise InvalidInput(
            f"discounting is {convention!r}; it must be one of {', '.join(CONVENTIONS)}."
        )
    if not 0 < discount <= 1:
        raise InvalidInput(f"discount is {discount}; it must lie in (0, 1].")
