"""Batch-norm statistics of a network: computed from a batch, or given instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metabench.problems.networks.accuracy import Accuracy
from metabench.problems.networks.functional_module import FunctionalModule, forward
from metabench.problems.networks.norm_layers import record_batch_statistics
from metabench.problems.networks.plain_norms import with_plain_norms
from metabench.problems.networks.plain_tensors import following, plain_tensors
from metabench.problems.networks.user_loss import UserLoss
from metabench.problems.networks.written_data import OwnData
from metabench.problems.parameter_layout import Layout
from metabench.problems.tasks import Data

Given = Callable[[Tensor, Tensor, Data, Tensor], Tensor]  # (phi, theta, data, statistics (S,))


class Statistics(NamedTuple):
    """Functions of the mean and variance of every batch-norm input of a network, flat `(S,)`."""

    layout: Layout  # "NAME.mean" and "NAME.variance" of each, one entry per channel
    measure: Callable[
        [Tensor, Tensor, Data, Tensor | None], Tensor
    ]  # (phi, theta, data, used) -> (S,)
    loss: Given  # (phi, theta, data, used) -> ()
    outer_loss: Given  # the same, of the query set
    accuracy: Given | None = None  # where the problem has one

    @property
    def initial(self) -> dict[str, Tensor]:
        """Initial running statistics, as in torch: means 0, variances 1."""
        pairs = zip(self.layout.names, self.layout.shapes, strict=True)
        return {name: torch.full(shape, float("variance" in name[-8:])) for name, shape in pairs}

    def with_prefix(self, Q: int) -> Statistics:
        """Return the same functions for a longer theta, whose first Q entries they use."""

        def cut(function: Given) -> Given:
            return lambda phi, theta, data, used: function(phi, theta[:Q], data, used)

        return self._replace(
            measure=lambda phi, theta, data, used: self.measure(phi, theta[:Q], data, used),
            loss=cut(self.loss),
            outer_loss=cut(self.outer_loss),
            accuracy=self.accuracy and cut(self.accuracy),
        )

    def with_plain_norms(self) -> Statistics:
        """Return the same functions, which call torch's other norms in their plain form."""
        return Statistics(
            self.layout,
            with_plain_norms(self.measure),
            with_plain_norms(self.loss),
            with_plain_norms(self.outer_loss),
            self.accuracy and with_plain_norms(self.accuracy),
        )


def statistics_of(
    module: FunctionalModule,
    losses: tuple[UserLoss, UserLoss],
    right: Accuracy | None,
    own_data: OwnData,
) -> Statistics | None:
    """Return the statistics functions of a module; None if no batch norm uses batch statistics.

    Args:
        module: the network.
        losses: of the inner loop, and of the query set.
        right: the fraction of right predictions; None: the problem has no accuracy.
        own_data: copies of data that are written to.
    """
    by_batch, norms = record_batch_statistics(module.net, given=False)
    if not norms:
        return None
    by_given_net, given_norms = record_batch_statistics(module.net, given=True)
    plain = {net: plain_tensors(net) for net in (by_batch, by_given_net)}
    parts = {f"{name}.{kind}": getattr(norm, kind)
             for name, norm in norms.items() for kind in ("mean", "variance")}  # fmt: skip
    layout = Layout.from_tensors(parts)

    def call(values: dict[str, Tensor], x: Any, used: Tensor | None) -> tuple[Any, Tensor]:
        given = {} if used is None else layout.unflatten(used)
        net, used_norms = (by_batch, norms) if used is None else (by_given_net, given_norms)
        with following(plain[net], next(iter(values.values()))):
            out = forward(net, {**values, **given}, x)
        recorded = [part for norm in used_norms.values() for part in norm.take_recorded()]
        return out, torch.cat(recorded)

    def measure(phi: Tensor, theta: Tensor, data: Data, used: Tensor | None) -> Tensor:
        return call(module.values(phi, theta), own_data.pair(data)[0], used)[1]

    def by_given(loss: UserLoss) -> Given:
        def given_loss(phi: Tensor, theta: Tensor, data: Data, used: Tensor) -> Tensor:
            x, y = own_data.pair(data)
            values = module.values(phi, theta)
            return loss(module.chosen(values), phi, call(values, x, used)[0], y)

        return given_loss

    def accuracy(phi: Tensor, theta: Tensor, data: Data, used: Tensor) -> Tensor:
        assert right is not None
        x, y = own_data.pair(data)
        return right(call(module.values(phi, theta), x, used)[0], y)

    inner, outer = (by_given(loss) for loss in losses)
    return Statistics(layout, measure, inner, outer, accuracy if right else None)
