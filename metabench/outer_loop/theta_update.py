"""The update of theta: torch's optimizer, and an algorithm's custom updates of parts of theta."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from metabench.algorithms.alpha_maml import outer_hypergradient
from metabench.algorithms.base import CustomUpdates
from metabench.outer_loop.low_overhead_optimizer import low_overhead_step
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.problems.parameter_layout import Layout
from metabench.settings.errors import InvalidInput

# theta (Q,), then the optimizer's state tensors in the order of `ThetaUpdate.slots`
UpdateState = Sequence[Tensor]


class ThetaUpdate:
    """Updates theta by a meta-gradient; deterministic given its state and arguments."""

    def __init__(
        self,
        theta: Tensor,
        layout: Layout,
        outer: OuterOptimizer,
        steps: int,
        custom_updates: CustomUpdates,
    ) -> None:
        """Build the optimizer and its schedule.

        Args:
            theta: to start from, `(Q,)`; it is copied.
            layout: of theta.
            outer: optimizer, schedule and rate.
            steps: outer steps of the training, over which schedules run.
            custom_updates: rules for parts of theta and for the outer rate.

        Raises:
            InvalidInput: if a schedule and an algorithm would both set the outer rate.
        """
        self._theta = nn.Parameter(theta.detach().clone())
        self._optimizer = outer.build(self._theta)
        self._scheduler = outer.scheduler(self._optimizer, steps)
        self._optimizer_step: Callable[[], Any] = self._optimizer.step
        if self._scheduler is None:
            self._optimizer_step = low_overhead_step(self._optimizer)
        elif custom_updates.rate:
            raise InvalidInput(
                f"outer.schedule is {outer.schedule} with a warm-up of {outer.warmup} steps, but "
                "the algorithm adapts the outer rate too: set outer.schedule=constant and "
                "outer.warmup=0, or algo.beta_rate=0."
            )
        self._custom_updates = custom_updates
        self._slices = dict(layout.segments())
        self._optimizer_only = custom_updates == CustomUpdates()
        self._last_direction: Tensor | None = (
            None  # last change of theta divided by the outer rate, (Q,)
        )
        self._taken_over: UpdateState | None = None  # not yet written to torch's optimizer

    @property
    def theta(self) -> Tensor:
        """Current theta, `(Q,)`."""
        self._write_back()
        return self._theta.detach()

    @property
    def optimizer_only(self) -> bool:
        """Whether only the optimizer updates theta, and only a schedule its rate."""
        return self._optimizer_only

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the optimizer's state tensors, sorted; none before its first step."""
        state = self._optimizer.state.get(self._theta, {})
        return tuple(sorted(name for name, slot in state.items() if isinstance(slot, Tensor)))

    @property
    def update_state(self) -> UpdateState:
        """Copies of theta and the optimizer's state tensors."""
        if self._taken_over is None:
            state = self._optimizer.state.get(self._theta, {})
            return tuple(each.clone() for each in (self.theta, *map(state.get, self.slots)))
        return self._taken_over

    def take_over(self, held: UpdateState) -> None:
        """Set theta and the state tensors to those that a compiled step computed."""
        self._taken_over = held
        if self._scheduler is not None:
            self._scheduler.step()

    def _write_back(self) -> None:
        if self._taken_over is None:
            return
        theta, *slots = self._taken_over
        self._theta.data.copy_(theta)
        state = self._optimizer.state.get(self._theta, {})
        for name, slot in zip(self.slots, slots, strict=True):
            state[name].copy_(slot)
        self._taken_over = None  # last, so that an interrupt before it loses nothing

    @property
    def rate(self) -> float:
        """Outer rate of the next update, before it is adapted."""
        return float(self._optimizer.param_groups[0]["lr"])

    def __call__(self, gradient: Tensor, statistics: Tensor) -> float:
        """Update theta by a gradient and batch statistics; return the outer rate used."""
        self._write_back()
        self._theta.grad = gradient
        if self._optimizer_only:
            rate = self.rate
            self._optimizer_step()
        else:
            rate = self._apply_custom_updates(gradient, statistics)
        if self._scheduler is not None:
            self._scheduler.step()
        return rate

    def _apply_custom_updates(self, gradient: Tensor, statistics: Tensor) -> float:
        """Adapt the outer rate, take the optimizer's step, then apply the custom updates.

        The outer rate is adapted before the step, as in hypergradient descent (Baydin, Cornish,
        Rubio, Schmidt & Wood, 2018, https://arxiv.org/abs/1703.04782), and stays at least 0.
        """
        custom_updates, before = self._custom_updates, self.theta.clone()
        if custom_updates.rate and self._last_direction is not None:
            hypergradient = float(outer_hypergradient(gradient, self._last_direction))
            for group in self._optimizer.param_groups:
                group["lr"] = max(group["lr"] - custom_updates.rate * hypergradient, 0.0)
        self._optimizer_step()
        theta, rate = self.theta, self.rate
        for name, part_rate in custom_updates.plain_rates.items():
            part = self._slices[name]
            theta[part] = before[part] - part_rate * gradient[part]
        start = 0
        for name in custom_updates.averages:
            part = self._slices[name]
            batch = statistics[start : start + (part.stop - part.start)]
            theta[part] = before[part] + custom_updates.share * (batch - before[part])
            start += len(batch)
        if custom_updates.rate and rate:
            self._last_direction = (before - theta) / rate
            for name in (*custom_updates.plain_rates, *custom_updates.averages):
                self._last_direction[self._slices[name]] = 0
        return rate

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything the next update depends on: tensors, and plain values."""
        self._write_back()
        held = self._optimizer.state_dict()
        slots = held["state"].get(0, {})
        tensors = {f"optimizer.{k}": v for k, v in slots.items() if isinstance(v, Tensor)}
        tensors["theta"] = self.theta
        if self._last_direction is not None:
            tensors["along"] = self._last_direction
        plain: dict[str, Any] = {"groups": held["param_groups"]}
        if self._scheduler is not None:
            plain["schedule"] = self._scheduler.state_dict()
        return tensors, plain

    def restore(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self._taken_over = None
        self._theta.data.copy_(tensors["theta"])
        slots = {
            name.removeprefix("optimizer."): tensor
            for name, tensor in tensors.items()
            if name.startswith("optimizer.")
        }
        held = {"state": {0: slots} if slots else {}, "param_groups": plain["groups"]}
        self._optimizer.load_state_dict(held)
        if self._scheduler is not None:
            self._scheduler.load_state_dict(plain["schedule"])
            # Torch's scheduler warns where its optimizer never stepped in this process.
            self._optimizer._opt_called = True  # type: ignore[attr-defined]
        along = tensors.get("along")
        self._last_direction = None if along is None else along.to(self._theta)
