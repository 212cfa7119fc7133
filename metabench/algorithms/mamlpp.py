"""MAML++: modifications of MAML for stable training, each switchable alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

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
from metabench.algorithms.inner_optimizers.inner_optimizer import InnerOptimizer
from metabench.autodiff import derivatives
from metabench.problems.batch_norm_statistics import Statistics
from metabench.problems.problem import Problem
from metabench.problems.tasks import Loss, Task
from metabench.settings.errors import InvalidInput

STATISTICS = ("batch", "collect", "running")


@dataclass(frozen=True)
class MAMLPP(Algorithm):
    r"""MAML with multi-step loss, derivative-order annealing, learned rates, per-step norm layers.

    The loss is :math:`\sum_k w_k F(\phi_k)`, so :math:`v_k = (I - \alpha H_k) v_{k+1} + w_k \nabla
    F(\phi_k)`; w and the derivative order depend on `epoch`, which the outer loop advances.
    Appended to theta are `rate.NAME` `(K,)`, an inner rate for each layer and step, which may
    become negative; `norm.NAME` `(K, ..)`, added to scales and shifts of normalization layers at
    step k, which then do not adapt; and `running.NAME.mean` and `.variance` `(K, C)`, running
    averages of the batch-norm statistics of the support set at step k. The running averages get no
    gradient: training moves them by `momentum` towards the tasks' mean of
    `notes["batch_statistics"]`. Batch norm uses the statistics of the batch, as the authors' code
    does, unless `statistics` is running. Cosine annealing of the outer rate is a schedule of the
    outer loop. With every piece off this is maml.
    (Antoniou, Edwards & Storkey, 2019, https://arxiv.org/abs/1810.09502).

    >>> import metabench as mb
    >>> mb.MAMLPP(steps=2, loss_epochs=10).weights  # of F(phi_1) and F(phi_2) in epoch 0
    (0.5, 0.5)
    >>> mb.MAMLPP(steps=2, loss_epochs=10).at_epoch(10).weights
    (0.0, 1.0)
    """

    epoch: int = 0  # outer epoch, sets loss weights and derivative order [epochs]
    loss_epochs: int = 15  # epochs with losses of all steps; 0: last step only [epochs]
    floor: float = 0.03  # least weight of an earlier step in those epochs, times K [1]
    first_order_epochs: int = 0  # epochs without second derivatives [epochs]
    learned_rates: bool = True  # learn an inner rate for each layer and step
    per_step_norms: bool = True  # learn scales and shifts of normalization layers per step
    statistics: str = "batch"  # batch norm uses: batch, running, collect (batch, stores running)
    momentum: float = 0.1  # weight of a batch in the running averages [1]

    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        """Validate epochs >= 0, the name of the statistics, momentum and floor in [0, 1]."""
        super().__post_init__()
        for name in ("epoch", "loss_epochs", "first_order_epochs"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be 0 or more epochs.")
        if self.statistics not in STATISTICS:
            known = ", ".join(STATISTICS)
            raise InvalidInput(f"statistics is {self.statistics!r}; it must be one of {known}.")
        if not 0 <= self.momentum <= 1:
            raise InvalidInput(f"momentum is {self.momentum}; it must lie in [0, 1].")
        if not 0 <= self.floor <= 1:
            raise InvalidInput(
                f"floor is {self.floor}; it must lie in [0, 1], since the weights of the K losses "
                "sum to 1."
            )

    @property
    def exact(self) -> bool:
        """Whether second derivatives are used at this epoch."""
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
        """Return the running statistics as averages, which get no gradient."""
        statistics = self._averaged_statistics(problem)
        if statistics is None:
            return CustomUpdates()
        names = per_step_batch_norm.part_names(statistics)
        return CustomUpdates(averages=names, share=self.momentum)

    def at_epoch(self, epoch: int) -> MAMLPP:
        """Return the algorithm with its weights and derivative order `epoch` epochs later."""
        final = max(self.loss_epochs, self.first_order_epochs, self.epoch)  # no change after it
        return replace(self, epoch=min(self.epoch + epoch, final))

    def extend(self, problem: Problem, theta: Tensor) -> tuple[Problem, Tensor]:
        """Append learned rates, per-step norm parameters and running statistics to theta."""
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
        if statistics := self._averaged_statistics(problem):
            initial = per_step_batch_norm.initial_parts(statistics, rows)
            parts |= {name: value.to(theta) for name, value in initial.items()}
        return problem.appended(theta, parts)

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Compute the meta-gradient `(Q,)` of one task at theta `(Q,)`; the loss is F(phi_K)."""
        iterates = self._iterates(problem, theta, task)
        found = {
            k: derivatives.value_and_gradients(
                self._outer_loss(problem, k), iterates.states[k][0], theta, task.query
            )
            for k in self._weighted_steps()
        }
        weight = dict(zip(range(1, self.steps + 1), self.weights, strict=True)) or {0: 1.0}
        in_phi = {k: weight[k] * in_phi for k, (_, in_phi, _) in found.items()}
        adjoint = backpropagate(iterates, theta, in_phi.pop(self.steps), in_phi)
        direct = torch.stack([weight[k] * direct for k, (_, _, direct) in found.items()]).sum(0)
        grad = through_init(problem, theta, adjoint.phi) + adjoint.theta + direct
        notes = {"norms": adjoint.norms, **self._statistics_note(problem, theta, task, iterates)}
        return MetaGrad(grad, found[self.steps][0], iterates.last, notes)

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the query loss `()` after the last step."""
        phi = self.adapted(problem, theta, task)
        return self._outer_loss(problem, self.steps)(phi, theta, task.query)

    def adapted(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the adapted parameters phi_K `(P,)` at the learned rates and norms."""
        return self._iterates(problem, theta, task).last

    def rates(self, problem: Problem, theta: Tensor) -> Tensor | None:
        """Return each parameter's largest rate of all steps, `(P,)`; None if none is learned."""
        rates = self._rates(problem)
        if rates is None or not self.steps:
            return None
        return torch.stack([rates(theta, k) for k in range(self.steps)]).amax(0)

    def differentiated(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the weighted sum `()` of the query losses after each step."""
        iterates = self._iterates(problem, theta, task)
        losses = [
            self._outer_loss(problem, k)(iterates.states[k][0], theta, task.query)
            for k in self._weighted_steps()
        ]
        weights = [weight for weight in self.weights if weight] or [1.0]
        return torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum()

    def loop(self, problem: Problem) -> Loop | None:
        """Return the inner loop with its learned rates; None where norms differ between steps."""
        averaged = self.statistics == "running" and problem.statistics
        if (self.per_step_norms and problem.norms) or averaged:
            return None
        rates = self._rates(problem)
        return Loop(problem, self._optimizer(rates), rates)

    def _optimizer(self, rates: Rates | None) -> InnerOptimizer:
        """Return the inner optimizer, at rate 1 if learned rates multiply its updates."""
        return self.inner_optimizer if rates is None else replace(self.inner_optimizer, rate=1.0)

    def _weighted_steps(self) -> list[int]:
        """List the k whose F(phi_k) has weight."""
        return [k + 1 for k, weight in enumerate(self.weights) if weight] or [0]

    def _iterates(self, problem: Problem, theta: Tensor, task: Task) -> InnerIterates:
        rates = self._rates(problem)
        optimizer = self._optimizer(rates)
        step_functions = [
            step_function(optimizer, self._at(problem, k), task, k, rates, self.exact)
            for k in range(self.steps)
        ]
        return unroll(step_functions, optimizer, problem.init(theta), theta)

    def _rates(self, problem: Problem) -> Rates | None:
        """Return each layer's rate at each step; 0 for norms with per-step parameters."""
        fixed_norms = problem.norms if self.per_step_norms else ()
        if not (self.learned_rates or fixed_norms):
            return None
        layout = problem.layouts.phi

        def rates(theta: Tensor, k: int) -> Tensor:
            learned = problem.layouts.theta.unflatten(theta) if self.learned_rates else {}
            parts = []
            for name, size in zip(layout.names, layout.sizes, strict=True):
                if learned and name not in fixed_norms:
                    rate = learned[f"rate.{name}"][k]
                else:
                    rate = theta.new_full(
                        (), 0.0 if name in fixed_norms else self.inner_optimizer.rate
                    )
                parts.append(rate.expand(size))
            return torch.cat(parts)

        return rates

    def _at(self, problem: Problem, k: int) -> Problem:
        """Return the problem with the norm parameters and statistics of inner step k."""
        statistics = self._averaged_statistics(problem)
        if statistics and self.statistics == "running":
            inner, outer = per_step_batch_norm.losses_of_step(statistics, problem.layouts.theta, k)
            problem = problem._replace(inner_loss=inner, outer_loss=outer)
        if not (self.per_step_norms and problem.norms):
            return problem

        def shifted(loss: Loss) -> Loss:
            return lambda phi, theta, data: loss(
                self._with_norms(problem, phi, theta, k), theta, data
            )

        return problem._replace(
            inner_loss=shifted(problem.inner_loss), outer_loss=shifted(problem.outer_loss)
        )

    def _with_norms(self, problem: Problem, phi: Tensor, theta: Tensor, k: int) -> Tensor:
        """Add the norm parameters of step k to the scales and shifts in phi."""
        if not (self.per_step_norms and problem.norms):
            return phi
        added = problem.layouts.theta.unflatten(theta)
        values = problem.layouts.phi.unflatten(phi)
        moved = {name: values[name] + added[f"norm.{name}"][k] for name in problem.norms}
        return problem.layouts.phi.flatten({**values, **moved})

    def _averaged_statistics(self, problem: Problem) -> Statistics | None:
        """Return the batch-norm statistics that training averages, if it does."""
        return None if self.statistics == "batch" else problem.statistics

    def _statistics_note(
        self, problem: Problem, theta: Tensor, task: Task, iterates: InnerIterates
    ) -> dict[str, Tensor]:
        """Compute the note of the task's batch-norm statistics, part by part, step by step."""
        statistics = self._averaged_statistics(problem)
        if statistics is None:
            return {}
        of_steps = []
        for k in range(max(self.steps, 1)):
            phi = self._with_norms(problem, iterates.states[k][0], theta, k)
            used = None
            if self.statistics == "running":
                used = per_step_batch_norm.of_step(statistics, problem.layouts.theta, theta, k)
            of_steps.append(statistics.measure(phi, theta, inner_batch(problem, task, k), used))
        return {"batch_statistics": per_step_batch_norm.flatten_by_part(statistics, of_steps)}

    def _outer_loss(self, problem: Problem, k: int) -> Loss:
        """Return the outer loss at phi_k, with the norms of the step before it."""
        return self._at(problem, max(k - 1, 0)).outer_loss
