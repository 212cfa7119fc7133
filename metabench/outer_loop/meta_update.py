"""One move of theta: by torch's optimizer, but for what an algorithm moves by a rule of its own."""

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

# theta (Q,), and what the optimizer keeps of the way there, by `Mover.slots`
UpdateState = Sequence[Tensor]


class MetaUpdate:
    """Moves theta along a gradient; what it does follows from its state and what it is given."""

    def __init__(
        self,
        theta: Tensor,
        layout: Layout,
        outer: OuterOptimizer,
        steps: int,
        custom_updates: CustomUpdates,
    ) -> None:
        """Make the optimizer and its schedule.

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
                f"outer.schedule is {outer.schedule} with a warm-up of {outer.warmup} steps, and "
                "the algorithm adapts the outer rate: choose outer.schedule=constant and "
                "outer.warmup=0, or algo.beta_rate=0."
            )
        self._custom_updates = custom_updates
        self._slices = dict(layout.segments())
        self._optimizer_only = custom_updates == CustomUpdates()
        self._last_direction: Tensor | None = (
            None  # what theta moved along last, (Q,), per outer rate
        )
        self._taken_over: UpdateState | None = (
            None  # what was put and torch's optimizer doesn't know of yet
        )

    @property
    def theta(self) -> Tensor:
        """Where training is, `(Q,)`."""
        self._write_back()
        return self._theta.detach()

    @property
    def optimizer_only(self) -> bool:
        """Whether theta moves by the optimizer alone, and its rate by nothing but a schedule."""
        return self._optimizer_only

    @property
    def slots(self) -> tuple[str, ...]:
        """Name the tensors that the optimizer keeps, in one order whatever a file's is.

        There are none before its first step.
        """
        state = self._optimizer.state.get(self._theta, {})
        return tuple(sorted(name for name, slot in state.items() if isinstance(slot, Tensor)))

    @property
    def update_state(self) -> UpdateState:
        """Give theta and those tensors, which nobody will write into."""
        if self._taken_over is None:
            state = self._optimizer.state.get(self._theta, {})
            return tuple(each.clone() for each in (self.theta, *map(state.get, self.slots)))
        return self._taken_over

    def take_over(self, held: UpdateState) -> None:
        """Take over theta and those tensors from whoever has computed the move."""
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
        self._taken_over = None  # last: an interrupt before it loses nothing

    @property
    def rate(self) -> float:
        """The outer rate of the next move, before its own descent."""
        return float(self._optimizer.param_groups[0]["lr"])

    def __call__(self, gradient: Tensor, shown: Tensor) -> float:
        """Move theta; `shown` is what the tasks showed of running averages. Give the outer rate."""
        self._write_back()
        self._theta.grad = gradient
        if self._optimizer_only:
            rate = self.rate
            self._optimizer_step()
        else:
            rate = self._apply_custom_updates(gradient, shown)
        if self._scheduler is not None:
            self._scheduler.step()
        return rate

    def _apply_custom_updates(self, gradient: Tensor, shown: Tensor) -> float:
        """Move what is set aside by its own rule, the outer rate first, the rest by the optimizer.

        The outer rate is adapted ahead of the move, as hypergradient descent does
        (Baydin, Cornish, Rubio, Schmidt & Wood, 2018, https://arxiv.org/abs/1703.04782), and can't
        fall below 0.
        """
        custom_updates, before = self._custom_updates, self.theta.clone()
        if custom_updates.rate and self._last_direction is not None:
            slope = float(outer_hypergradient(gradient, self._last_direction))
            for group in self._optimizer.param_groups:
                group["lr"] = max(group["lr"] - custom_updates.rate * slope, 0.0)
        self._optimizer_step()
        theta, rate = self.theta, self.rate
        for name, own in custom_updates.plain_rates.items():
            part = self._slices[name]
            theta[part] = before[part] - own * gradient[part]
        start = 0
        for name in custom_updates.averages:
            part = self._slices[name]
            seen = shown[start : start + (part.stop - part.start)]
            theta[part] = before[part] + custom_updates.share * (seen - before[part])
            start += len(seen)
        if custom_updates.rate and rate:
            self._last_direction = (before - theta) / rate
            for name in (*custom_updates.plain_rates, *custom_updates.averages):
                self._last_direction[self._slices[name]] = 0
        return rate

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give all that the next move depends on: tensors, and plain values."""
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
        """Go on where `state` was taken."""
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
