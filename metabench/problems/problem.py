"""What is learned: tasks with addresses, and the inner and outer loss of one task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

# The pytrees that torch.func itself accepts; torch has no public name for this map yet.
from torch.utils._pytree import tree_map

from metabench.problems.networks import module_checks
from metabench.problems.networks.fast_convolutions import quick
from metabench.problems.networks.functional_module import forward
from metabench.problems.networks.layer_statistics import Seen, watched
from metabench.problems.networks.loss_checks import (
    check_loss,
    classifies,
    pair,
    scalar,
    share_right,
)
from metabench.problems.networks.norm_layers import safe_norms, telling
from metabench.problems.parameter_layout import Layout
from metabench.settings.errors import Misuse

__all__ = ["Address", "Layouts", "Loss", "Problem", "Sampler", "Task", "tree_map"]

Data = Any  # a pytree of tensors, e.g. (x, y)
Loss = Callable[[Tensor, Tensor, Data], Tensor]  # (phi, theta, data) -> ()
Features = Callable[[Tensor, Tensor, Data], Seen]  # (phi, theta, data) -> statistics by layer
T = TypeVar("T")


class Address(NamedTuple):
    """Where a task's random numbers are: equally long integer arrays `(T,)`.

    `task` picks the task; the others pick one of its independent redraws.
    """

    task: NDArray[np.int64]
    support: NDArray[np.int64]
    query: NDArray[np.int64]
    inner: NDArray[np.int64]
    label: NDArray[np.int64]

    @classmethod
    def fresh(cls, start: int, count: int) -> Address:
        """Address tasks `start .. start + count - 1`, each in its first draw."""
        first = np.zeros(count, np.int64)
        return cls(np.arange(start, start + count, dtype=np.int64), first, first, first, first)

    def part(self, start: int, stop: int) -> Address:
        """Take the addresses `start .. stop - 1`."""
        return Address(*(axis[start:stop] for axis in self))


class Task(NamedTuple):
    """One task, or T of them when every tensor has a leading axis T.

    `noise` holds the support rows of each inner step's mini-batch, integers `(K, b)`,
    and is an empty tuple where every step sees the whole support set.
    """

    support: Data
    query: Data
    noise: Tensor | tuple[()] = ()


Sampler = Callable[[Address, int], Task]  # (address, seed) -> Task with a leading T


class Layouts(NamedTuple):
    """The layout of the adapted parameters phi `(P,)` and of the meta-parameters theta `(Q,)`."""

    phi: Layout
    theta: Layout


Given = Callable[[Tensor, Tensor, Data, Tensor], Tensor]  # with statistics to use (S,)


class Statistics(NamedTuple):
    """Mean and variance of what each batch norm of a network normalises, flat `(S,)`."""

    layout: Layout  # "NAME.mean" and "NAME.variance" of each, a number a channel
    of: Callable[[Tensor, Tensor, Data, Tensor | None], Tensor]  # (phi, theta, data, used) -> (S,)
    loss: Given  # (phi, theta, data, used) -> ()
    outer_loss: Given  # the same, of the query set
    accuracy: Given | None = None  # where the problem has one

    @property
    def start(self) -> dict[str, Tensor]:
        """Where running ones begin, as torch's do: means at 0, variances at 1."""
        pairs = zip(self.layout.names, self.layout.shapes, strict=True)
        return {name: torch.full(shape, float("variance" in name[-8:])) for name, shape in pairs}

    def of_longer(self, Q: int) -> Statistics:
        """Read them with a theta that goes on beyond Q."""

        def cut(function: Given) -> Given:
            return lambda phi, theta, data, used: function(phi, theta[:Q], data, used)

        return self._replace(
            of=lambda phi, theta, data, used: self.of(phi, theta[:Q], data, used),
            loss=cut(self.loss),
            outer_loss=cut(self.outer_loss),
            accuracy=self.accuracy and cut(self.accuracy),
        )


class Problem(NamedTuple):
    """The two losses of one task and the map from theta to where adaptation starts."""

    init: Callable[[Tensor], Tensor]  # theta (Q,) -> phi_0 (P,)
    inner_loss: Loss  # f(phi, theta, support) -> ()
    outer_loss: Loss  # F(phi, theta, query) -> ()
    layouts: Layouts
    theta: Tensor | None = None  # where it is known, a theta to start from: the module's own (Q,)
    notes: tuple[str, ...] = ()  # sentences on what was changed for the inner loop
    fused: tuple[str, ...] = ()  # modules whose higher derivatives torch gets wrong
    fixed: Mapping[str, Tensor] = {}  # parameters and buffers that nothing learns
    norms: tuple[str, ...] = ()  # parameters of phi that scale and shift normalised features
    accuracy: Loss | None = None  # share of a set that is classified rightly, where classes are
    statistics: Statistics | None = None  # of batch norms, which can also use given ones
    features: Features | None = None  # what each layer gives, where there is a network
    base: Problem | None = None  # the problem before an algorithm appended to its theta
    unfused: Callable[[], Problem] | None = None  # the same one, its norms of plain operations

    def appended(self, theta: Tensor, parts: Mapping[str, Tensor]) -> tuple[Problem, Tensor]:
        """Lay what an algorithm learns besides after theta `(Q,)`, by name; give both, longer."""
        if not parts:
            return self, theta
        Q, more = self.layouts.theta.size, Layout.of(parts)
        names = self.layouts.theta.names + more.names
        longer = Layout(names, self.layouts.theta.shapes + more.shapes)

        def of_theta(
            function: Callable[[Tensor, Tensor, Data], T],
        ) -> Callable[[Tensor, Tensor, Data], T]:
            return lambda phi, theta, data: function(phi, theta[:Q], data)

        problem = self._replace(
            init=lambda theta: self.init(theta[:Q]),
            inner_loss=of_theta(self.inner_loss),
            outer_loss=of_theta(self.outer_loss),
            layouts=Layouts(self.layouts.phi, longer),
            theta=None,
            accuracy=self.accuracy and of_theta(self.accuracy),
            statistics=self.statistics and self.statistics.of_longer(Q),
            features=self.features and of_theta(self.features),
            base=self,
        )
        return problem, torch.cat([theta, more.flatten(parts).to(theta)])

    def scored(self) -> Problem:
        """Give the problem whose outer loss is `(2,)`, accuracy beside the loss; for values alone.

        Raises:
            Misuse: if it classifies nothing.
        """
        right, told = self.accuracy, self.statistics
        if right is None:
            raise Misuse("This problem has no accuracy: its loss isn't torch's cross-entropy.")

        def both(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
            return torch.stack([self.outer_loss(phi, theta, data), right(phi, theta, data)])

        if told is not None and told.accuracy is not None:
            with_given, right_given = told.outer_loss, told.accuracy

            def both_given(phi: Tensor, theta: Tensor, data: Data, used: Tensor) -> Tensor:
                each = (f(phi, theta, data, used) for f in (with_given, right_given))
                return torch.stack(list(each))

            told = told._replace(outer_loss=both_given)
        return self._replace(outer_loss=both, statistics=told)

    @classmethod
    def from_module(
        cls,
        net: nn.Module,
        loss: Callable[[Any, Any], Tensor],
        adapt: Iterable[str] | None = None,
        learn: Iterable[str] | None = None,
    ) -> Problem:
        """Adapt parameters of a network, or some of them, from an initialisation theta.

        Data are pairs `(x, y)`; both losses are `loss(net(x), y)`, where a tuple x is several
        arguments and a dict x keywords. The module is copied; its values are in `theta` and, where
        neither adapted nor learned, stay as they are. Keep it on the device you measure on.

        Args:
            net: the module; batch norm in training mode uses the batch's own statistics.
            loss: `(prediction, y) -> ()`.
            adapt: patterns of the names in phi, such as `head.*`; by default all parameters with
                requires_grad.
            learn: patterns of the names in theta; by default those of `adapt`. What is learned but
                not adapted enters both losses as it is; what is adapted but not learned starts
                from the module's value.

        Returns:
            The problem, with `theta` as the module holds it.

        Raises:
            Misuse: if the loss takes other arguments, dropout is active, or a pattern is unknown.
        """
        check_loss(loss)
        net, notes = module_checks.snapshot(net)
        held = {name: value.detach() for name, value in net.named_parameters()}
        trained = [name for name, value in net.named_parameters() if value.requires_grad]
        in_phi = trained if adapt is None else module_checks.choose(held, adapt, "adapt")
        in_theta = in_phi if learn is None else module_checks.choose(held, learn, "learn")
        phi_held, theta_held = ({name: held[name] for name in part} for part in (in_phi, in_theta))
        for part in (phi_held, theta_held, {**phi_held, **theta_held}):
            module_checks.check_one_kind(part)
        layouts = Layouts(Layout.of(phi_held), Layout.of(theta_held))
        fixed = {name: value for name, value in held.items() if name not in in_phi}
        fixed.update(net.named_buffers())
        run, direct = quick(net), not set(in_theta) <= set(in_phi)
        watching = watched(net)

        def values_of(phi: Tensor, theta: Tensor) -> dict[str, Tensor]:
            values = {name: _like(value, phi) for name, value in fixed.items()}
            if direct:
                values |= layouts.theta.unflatten(theta)
            return values | layouts.phi.unflatten(phi)

        def task_loss(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
            x, y = pair(data)
            return scalar(loss(forward(run, values_of(phi, theta), x), y))

        def share(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
            x, y = pair(data)
            return share_right(forward(run, values_of(phi, theta), x), y)

        def features(phi: Tensor, theta: Tensor, data: Data) -> Seen:
            return watching(values_of(phi, theta), pair(data)[0])

        init = identity if layouts.phi == layouts.theta else _part(layouts, phi_held)
        theta = layouts.theta.flatten(theta_held)
        fused = module_checks.fused_norms(net)
        still = {name: value for name, value in fixed.items() if name not in in_theta}
        norms = module_checks.norm_parameters(net, in_phi)
        classes = classifies(loss)
        told = _statistics(run, loss, values_of, classes)
        made = cls(init, task_loss, task_loss, layouts, theta, notes, fused, still, norms)
        made = made._replace(
            accuracy=share if classes else None, statistics=told, features=features
        )
        if not fused:
            return made
        plain, names = safe_norms(net), (in_phi, in_theta)
        return made._replace(unfused=lambda: cls.from_module(plain, loss, *names))


def _statistics(
    net: nn.Module,
    loss: Callable[[Any, Any], Tensor],
    values_of: Callable[[Tensor, Tensor], dict[str, Tensor]],
    classes: bool,
) -> Statistics | None:
    """Read the statistics of a module's batch norms; None where it has none on its batch's own."""
    own, norms = telling(net, given=False)
    if not norms:
        return None
    other, others = telling(net, given=True)
    parts = {f"{name}.{kind}": getattr(norm, kind)
             for name, norm in norms.items() for kind in ("mean", "variance")}  # fmt: skip
    layout = Layout.of(parts)

    def call(phi: Tensor, theta: Tensor, data: Data, used: Tensor | None) -> tuple[Any, Tensor]:
        x, _ = pair(data)
        given = {} if used is None else layout.unflatten(used)
        called, watched = (own, norms) if used is None else (other, others)
        out = forward(called, {**values_of(phi, theta), **given}, x)
        seen = [part for norm in watched.values() for part in norm.take()]
        return out, torch.cat(seen)

    def of(phi: Tensor, theta: Tensor, data: Data, used: Tensor | None) -> Tensor:
        return call(phi, theta, data, used)[1]

    def by_given(phi: Tensor, theta: Tensor, data: Data, used: Tensor) -> Tensor:
        return scalar(loss(call(phi, theta, data, used)[0], pair(data)[1]))

    def share(phi: Tensor, theta: Tensor, data: Data, used: Tensor) -> Tensor:
        return share_right(call(phi, theta, data, used)[0], pair(data)[1])

    return Statistics(layout, of, by_given, by_given, share if classes else None)


def identity(theta: Tensor) -> Tensor:
    """Begin where theta is: phi_0 = theta, the usual `init`."""
    return theta


def _part(layouts: Layouts, phi: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Start what is learned from theta, and the rest from the module's values."""

    def init(theta: Tensor) -> Tensor:
        start = {name: _like(value, theta) for name, value in phi.items()}
        learned = layouts.theta.unflatten(theta)
        return layouts.phi.flatten({name: learned.get(name, start[name]) for name in start})

    return init


def _like(value: Tensor, vector: Tensor) -> Tensor:
    dtype = vector.dtype if torch.is_floating_point(value) else value.dtype
    return value.to(vector.device, dtype)


def cast(task: Task, like: Tensor) -> Task:
    """Move a task to the device of `like`, and its floating-point numbers to its dtype."""

    def move(leaf: Tensor) -> Tensor:
        return leaf.to(like) if torch.is_floating_point(leaf) else leaf.to(like.device)

    moved: Task = tree_map(move, task)
    return moved
