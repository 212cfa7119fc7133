"""What is learned: the inner and outer loss of one task, and where adaptation starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from metabench.problems.batch_norm_statistics import Statistics
from metabench.problems.module_functions import Features, module_functions
from metabench.problems.networks.norm_layers import safe_norms
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.tasks import Data, Loss, Sampler
from metabench.settings.errors import InvalidInput

T = TypeVar("T")


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
    norms: tuple[str, ...] = ()  # parameters of phi that scale and shift normalized features
    accuracy: Loss | None = None  # share of a set that is classified rightly, where classes are
    statistics: Statistics | None = None  # of batch norms, which can also use given ones
    features: Features | None = None  # what each layer gives, where there is a network
    base: Problem | None = None  # the problem before an algorithm appended to its theta
    unfused: Callable[[], Problem] | None = None  # the same one, its norms of plain operations
    tasks: Sampler | None = None  # (address, seed) -> Task, or an Indexed or Stream

    def appended(self, theta: Tensor, parts: Mapping[str, Tensor]) -> tuple[Problem, Tensor]:
        """Lay what an algorithm learns besides after theta `(Q,)`, by name; give both, longer."""
        if not parts:
            return self, theta
        Q, more = self.layouts.theta.size, Layout.from_tensors(parts)
        names = self.layouts.theta.names + more.names
        longer = Layout(names, self.layouts.theta.shapes + more.shapes)

        def with_prefix(
            function: Callable[[Tensor, Tensor, Data], T],
        ) -> Callable[[Tensor, Tensor, Data], T]:
            return lambda phi, theta, data: function(phi, theta[:Q], data)

        problem = self._replace(
            init=lambda theta: self.init(theta[:Q]),
            inner_loss=with_prefix(self.inner_loss),
            outer_loss=with_prefix(self.outer_loss),
            layouts=Layouts(self.layouts.phi, longer),
            theta=None,
            accuracy=self.accuracy and with_prefix(self.accuracy),
            statistics=self.statistics and self.statistics.with_prefix(Q),
            features=self.features and with_prefix(self.features),
            base=self,
        )
        return problem, torch.cat([theta, more.flatten(parts).to(theta)])

    def with_accuracy(self) -> Problem:
        """Give the problem whose outer loss is `(2,)`, accuracy beside the loss; for values alone.

        Raises:
            InvalidInput: if it classifies nothing.
        """
        right, told = self.accuracy, self.statistics
        if right is None:
            raise InvalidInput(
                "This problem has no accuracy: its loss isn't torch's cross-entropy."
            )

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
        tasks: Sampler | None = None,
    ) -> Problem:
        """Adapt parameters of a network, or some of them, from an initialization theta.

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
            tasks: draws tasks: an `Indexed`, a `Stream`, or a function (address, seed) -> Task
                with a leading axis; needed where the problem stands for a family
                (`--problem my.py:NAME`).

        Returns:
            The problem, with `theta` as the module holds it.

        Raises:
            InvalidInput: if the loss takes other arguments, dropout is active, or a pattern is
                unknown.
        """
        made = module_functions(net, loss, adapt, learn)
        problem = cls(made.init, made.loss, made.loss, made.layouts, made.theta, made.notes,
                      made.fused, made.fixed, made.norms, made.accuracy, made.statistics,
                      made.features, tasks=tasks)  # fmt: skip
        if not made.fused:
            return problem
        plain, names = safe_norms(made.net), (made.layouts.phi.names, made.layouts.theta.names)
        return problem._replace(unfused=lambda: cls.from_module(plain, loss, *names, tasks=tasks))
