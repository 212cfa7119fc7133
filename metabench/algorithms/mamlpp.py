"""MAML++: which of its pieces makes MAML train more stably? Each can be switched alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metabench.algorithms import per_step_batch_norm
from metabench.algorithms.adapt import (
    InnerIterates,
    Rates,
    backpropagate,
    inner_batch,
    step_function,
    unroll,
)
from metabench.algorithms.base import Algorithm, CustomUpdates, Loop, MetaGrad, through_init
from metabench.autodiff import derivatives
from metabench.problems.batch_norm_statistics import Statistics
from metabench.problems.problem import Problem
from metabench.problems.tasks import Loss, Task
from metabench.settings.errors import InvalidInput

STATISTICS = ("batch", "collect", "running")


@dataclass(frozen=True)
class MAMLPP(Algorithm):
    r"""MAML with multi-step loss, derivative-order annealing, learned rates and per-step norms.

    The loss is :math:`\sum_k w_k F(\phi_k)`, so :math:`v_k = (I - \alpha H_k) v_{k+1} + w_k \nabla
    F(\phi_k)`; w and the derivative order follow from `epoch`, which the outer loop moves on.
    theta is followed by what is learned besides: `rate.NAME` `(K,)`, an inner rate of each layer at
    each step, which may become negative; `norm.NAME` `(K, ..)`, added to the scales and shifts of
    norms at step k, which then don't adapt; `running.NAME.mean` and `.variance` `(K, C)`, averages
    over training of what batch norms see of the support set at step k. Training moves those by
    `momentum` towards the tasks' mean, no gradient does; `notes["batch_statistics"]` holds those of
    one task. Norms use the batch's own statistics, as the authors' code does, unless `statistics`
    is running. Cosine annealing of the outer rate is the outer loop's schedule. All off is maml.
    (Antoniou, Edwards & Storkey, 2019, https://arxiv.org/abs/1810.09502).
    """

    epoch: int = 0  # outer epoch, which sets loss weights and derivative order [epochs]
    loss_epochs: int = 15  # until then every step's loss counts; 0: the last step's only [epochs]
    floor: float = 0.03  # least weight of an earlier step meanwhile, times K [1]
    first_order_epochs: int = 0  # until then second derivatives are left out [epochs]
    learned_rates: bool = True  # learn an inner rate of each layer at each step
    per_step_norms: bool = True  # learn norm scales and shifts of each step
    statistics: str = "batch"  # of norms: batch; running; collect: batch's, running are kept
    momentum: float = 0.1  # share of the way that running statistics move in an outer step [1]

    def __post_init__(self) -> None:
        """Refuse epochs that can't be."""
        super().__post_init__()
        for name in ("epoch", "loss_epochs", "first_order_epochs"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be 0 or more epochs.")
        if self.statistics not in STATISTICS:
            words = ", ".join(STATISTICS)
            raise InvalidInput(f"statistics is {self.statistics!r}; it must be one of {words}.")
        if not 0 <= self.momentum <= 1:
            raise InvalidInput(f"momentum is {self.momentum}; it must lie in [0, 1].")
        if not 0 <= self.floor <= 1:
            raise InvalidInput(
                f"floor is {self.floor}; it must lie in [0, 1], the weight K steps share."
            )

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

    def custom_updates(self, problem: Problem) -> CustomUpdates:
        """Say that running statistics are averages, which no gradient moves."""
        told = self._gathered(problem)
        return (
            CustomUpdates(averages=per_step_batch_norm.parts(told), share=self.momentum)
            if told
            else CustomUpdates()
        )

    def at_epoch(self, epoch: int) -> MAMLPP:
        """Give weights and derivative order so many outer epochs on."""
        settled = max(self.loss_epochs, self.first_order_epochs, self.epoch)  # nothing changes then
        return replace(self, epoch=min(self.epoch + epoch, settled))

    def extend(self, problem: Problem, theta: Tensor) -> tuple[Problem, Tensor]:
        """Append the rates of layers and steps, and what is added to norms at each step."""
        start = problem.layouts.phi.unflatten(theta.new_zeros(problem.layouts.phi.size))
        parts: dict[str, Tensor] = {}
        if self.learned_rates:
            rates = theta.new_full((self.steps,), self.inner_optimizer.rate)
            parts |= {f"rate.{name}": rates for name in start}
        rows = max(self.steps, 1)
        if self.per_step_norms:
            parts |= {
                f"norm.{name}": start[name].expand(rows, *start[name].shape)
                for name in problem.norms
            }
        if told := self._gathered(problem):
            held = per_step_batch_norm.started(told, rows)
            parts |= {name: value.to(theta) for name, value in held.items()}
        return problem.appended(theta, parts)

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the meta-gradient `(Q,)` of one task at theta `(Q,)`; the loss is F(phi_K)."""
        path = self._path(problem, theta, task)
        found = {
            k: derivatives.value_and_gradients(
                self._outer(problem, k), path.states[k][0], theta, task.query
            )
            for k in self._counted()
        }
        weight = dict(zip(range(1, self.steps + 1), self.weights, strict=True)) or {0: 1.0}
        along = {k: weight[k] * in_phi for k, (_, in_phi, _) in found.items()}
        adjoint = backpropagate(path, theta, along.pop(self.steps), along)
        direct = torch.stack([weight[k] * direct for k, (_, _, direct) in found.items()]).sum(0)
        grad = through_init(problem, theta, adjoint.phi) + adjoint.theta + direct
        notes = {"norms": adjoint.norms, **self._shown(problem, theta, task, path)}
        return MetaGrad(grad, found[self.steps][0], path.last, notes)

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
        averaged = self.statistics == "running" and problem.statistics
        if (self.per_step_norms and problem.norms) or averaged:
            return None
        rates = self._rates(problem)
        return Loop(
            problem,
            self.inner_optimizer if rates is None else replace(self.inner_optimizer, rate=1.0),
            rates,
        )

    def _counted(self) -> list[int]:
        """List the k whose F(phi_k) counts."""
        return [k + 1 for k, weight in enumerate(self.weights) if weight] or [0]

    def _path(self, problem: Problem, theta: Tensor, task: Task) -> InnerIterates:
        rates = self._rates(problem)
        step = self.inner_optimizer if rates is None else replace(self.inner_optimizer, rate=1.0)
        step_functions = [
            step_function(step, self._at(problem, k), task, k, rates, second=self.exact)
            for k in range(self.steps)
        ]
        return unroll(step_functions, step, problem.init(theta), theta)

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
                fixed = theta.new_full((), 0.0 if name in still else self.inner_optimizer.rate)
                own = learned[f"rate.{name}"][k] if learned and name not in still else fixed
                parts.append(own.expand(size))
            return torch.cat(parts)

        return rates

    def _at(self, problem: Problem, k: int) -> Problem:
        """Give the problem as inner step k sees it: norms with that step's values, statistics."""
        told = self._gathered(problem)
        if told and self.statistics == "running":
            inner, outer = per_step_batch_norm.losses(told, problem.layouts.theta, k)
            problem = problem._replace(inner_loss=inner, outer_loss=outer)
        if not (self.per_step_norms and problem.norms):
            return problem

        def shifted(loss: Loss) -> Loss:
            return lambda phi, theta, data: loss(self._moved(problem, phi, theta, k), theta, data)

        return problem._replace(
            inner_loss=shifted(problem.inner_loss), outer_loss=shifted(problem.outer_loss)
        )

    def _moved(self, problem: Problem, phi: Tensor, theta: Tensor, k: int) -> Tensor:
        """Add step k's own values to the norms' scales and shifts in phi."""
        if not (self.per_step_norms and problem.norms):
            return phi
        added = problem.layouts.theta.unflatten(theta)
        values = problem.layouts.phi.unflatten(phi)
        moved = {name: values[name] + added[f"norm.{name}"][k] for name in problem.norms}
        return problem.layouts.phi.flatten({**values, **moved})

    def _gathered(self, problem: Problem) -> Statistics | None:
        """Give the statistics that are averaged over training, if any are."""
        return None if self.statistics == "batch" else problem.statistics

    def _shown(
        self, problem: Problem, theta: Tensor, task: Task, path: InnerIterates
    ) -> dict[str, Tensor]:
        """Give what this task shows of the running statistics, part after part, step after step."""
        told = self._gathered(problem)
        if told is None:
            return {}
        seen = []
        for k in range(max(self.steps, 1)):
            phi = self._moved(problem, path.states[k][0], theta, k)
            own = self.statistics == "running"
            used = (
                per_step_batch_norm.of_step(told, problem.layouts.theta, theta, k) if own else None
            )
            seen.append(told.measure(phi, theta, inner_batch(task, k), used))
        return {"batch_statistics": per_step_batch_norm.in_order(told, seen)}

    def _outer(self, problem: Problem, k: int) -> Loss:
        """Give the outer loss of phi_k, whose norms have the values of the step that led there."""
        return self._at(problem, max(k - 1, 0)).outer_loss
