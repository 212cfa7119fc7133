"""MAML++: which of its pieces makes MAML train more stably? Each can be switched alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metabench import curvature
from metabench.algorithms.algorithm import Algorithm, Loop, MetaGrad, through_init
from metabench.inner import Path, Rates, pullback, stage, walk
from metabench.misuse import Misuse
from metabench.problem import Data, Loss, Problem, Task


@dataclass(frozen=True)
class MAMLPP(Algorithm):
    r"""MAML with multi-step loss, derivative-order annealing, learned rates and per-step norms.

    The loss is :math:`\sum_k w_k F(\phi_k)`, so :math:`v_k = (I - \alpha H_k) v_{k+1} + w_k \nabla
    F(\phi_k)`; w and the derivative order follow from `epoch`, which the outer loop moves on.
    theta is followed by what is learned besides: `rate.NAME` `(K,)`, an inner rate of each layer at
    each step, which may become negative; `norm.NAME` `(K, ..)`, added to the scales and shifts of
    norms at step k, which then don't adapt. Norms use the batch's own statistics, as the authors'
    code does. The cosine-annealed outer rate is the outer loop's schedule. Every piece off is maml.
    (Antoniou, Edwards & Storkey, 2019, https://arxiv.org/abs/1810.09502).
    """

    epoch: int = 0  # outer epoch, which sets loss weights and derivative order [epochs]
    loss_epochs: int = 15  # until then every step's loss counts; 0: the last step's only [epochs]
    floor: float = 0.03  # least weight of an earlier step meanwhile, times K [1]
    first_order_epochs: int = 0  # until then second derivatives are left out [epochs]
    learned_rates: bool = True  # learn an inner rate of each layer at each step
    per_step_norms: bool = True  # learn norm scales and shifts of each step

    def __post_init__(self) -> None:
        """Refuse epochs that can't be."""
        super().__post_init__()
        for name in ("epoch", "loss_epochs", "first_order_epochs"):
            if getattr(self, name) < 0:
                raise Misuse(f"{name} is {getattr(self, name)}; it must be 0 or more epochs.")
        if not 0 <= self.floor <= 1:
            raise Misuse(f"floor is {self.floor}; it must lie in [0, 1], the weight K steps share.")

    @property
    def exact(self) -> bool:
        """Whether second derivatives are taken at this epoch."""
        return self.epoch >= self.first_order_epochs or self.steps == 0

    @property
    def weights(self) -> tuple[float, ...]:
        """Weights of F(phi_1) .. F(phi_K) at this epoch; they sum to 1."""
        K, E = self.steps, self.loss_epochs
        if K == 0 or self.epoch >= E:
            return (0.0,) * (K - 1) + (1.0,) * (K > 0)
        earlier = max((1 - self.epoch / E) / K, self.floor / K)
        return (earlier,) * (K - 1) + (1 - (K - 1) * earlier,)

    def at_epoch(self, epoch: int) -> MAMLPP:
        """Give weights and derivative order so many outer epochs on."""
        settled = max(self.loss_epochs, self.first_order_epochs, self.epoch)  # nothing changes then
        return replace(self, epoch=min(self.epoch + epoch, settled))

    def extend(self, problem: Problem, theta: Tensor) -> tuple[Problem, Tensor]:
        """Append the rates of layers and steps, and what is added to norms at each step."""
        start = problem.layouts.phi.unflatten(theta.new_zeros(problem.layouts.phi.size))
        parts: dict[str, Tensor] = {}
        if self.learned_rates:
            rates = theta.new_full((self.steps,), self.step.rate)
            parts |= {f"rate.{name}": rates for name in start}
        if self.per_step_norms:
            rows = max(self.steps, 1)
            parts |= {
                f"norm.{name}": start[name].expand(rows, *start[name].shape)
                for name in problem.norms
            }
        return problem.appended(theta, parts)

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the meta-gradient `(Q,)` of one task at theta `(Q,)`; the loss is F(phi_K)."""
        path = self._path(problem, theta, task)
        found = {
            k: curvature.value_and_gradients(
                self._outer(problem, k), path.states[k][0], theta, task.query
            )
            for k in self._counted()
        }
        weight = dict(zip(range(1, self.steps + 1), self.weights, strict=True)) or {0: 1.0}
        along = {k: weight[k] * in_phi for k, (_, in_phi, _) in found.items()}
        adjoint = pullback(path, theta, along.pop(self.steps), along)
        direct = torch.stack([weight[k] * direct for k, (_, _, direct) in found.items()]).sum(0)
        grad = through_init(problem, theta, adjoint.phi) + adjoint.theta + direct
        return MetaGrad(grad, found[self.steps][0], path.last, {"norms": adjoint.norms})

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the query loss `()` after the last step."""
        phi = self._path(problem, theta, task).last
        return self._outer(problem, self.steps)(phi, theta, task.query)

    def differentiated(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the weighted sum `()` of the query losses after each step."""
        path = self._path(problem, theta, task)
        losses = [
            self._outer(problem, k)(path.states[k][0], theta, task.query) for k in self._counted()
        ]
        weights = [weight for weight in self.weights if weight] or [1.0]
        return torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum()

    def loop(self, problem: Problem) -> Loop | None:
        """Give the steps with their learned rates; None where norms differ from step to step."""
        if self.per_step_norms and problem.norms:
            return None
        rates = self._rates(problem)
        return Loop(problem, self.step if rates is None else replace(self.step, rate=1.0), rates)

    def _counted(self) -> list[int]:
        """List the k whose F(phi_k) counts."""
        return [k + 1 for k, weight in enumerate(self.weights) if weight] or [0]

    def _path(self, problem: Problem, theta: Tensor, task: Task) -> Path:
        rates = self._rates(problem)
        step = self.step if rates is None else replace(self.step, rate=1.0)
        stages = [
            stage(step, self._at(problem, k), task, k, rates, second=self.exact)
            for k in range(self.steps)
        ]
        return walk(stages, step, problem.init(theta), theta)

    def _rates(self, problem: Problem) -> Rates | None:
        """Give each layer's rate at each step; the norms' are 0 where they have values a step."""
        still = problem.norms if self.per_step_norms else ()
        if not (self.learned_rates or still):
            return None
        layout = problem.layouts.phi

        def rates(theta: Tensor, k: int) -> Tensor:
            learned = problem.layouts.theta.unflatten(theta) if self.learned_rates else {}
            parts = []
            for name, size in zip(layout.names, layout.sizes, strict=True):
                fixed = theta.new_full((), 0.0 if name in still else self.step.rate)
                own = learned[f"rate.{name}"][k] if learned and name not in still else fixed
                parts.append(own.expand(size))
            return torch.cat(parts)

        return rates

    def _at(self, problem: Problem, k: int) -> Problem:
        """Give the problem as inner step k sees it: norms with that step's values."""
        if not (self.per_step_norms and problem.norms):
            return problem
        layout = problem.layouts.phi

        def shifted(loss: Loss) -> Loss:
            def at_step(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
                added = problem.layouts.theta.unflatten(theta)
                values = layout.unflatten(phi)
                moved = {name: values[name] + added[f"norm.{name}"][k] for name in problem.norms}
                return loss(layout.flatten({**values, **moved}), theta, data)

            return at_step

        return problem._replace(
            inner_loss=shifted(problem.inner_loss), outer_loss=shifted(problem.outer_loss)
        )

    def _outer(self, problem: Problem, k: int) -> Loss:
        """Give the outer loss of phi_k, whose norms have the values of the step that led there."""
        return self._at(problem, max(k - 1, 0)).outer_loss
