"""What a network's batch norms normalize by: read from a batch, or given instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metabench.problems.networks.functional_module import FunctionalModule, forward
from metabench.problems.networks.loss_checks import as_pair, check_scalar, fraction_correct
from metabench.problems.networks.norm_layers import record_batch_statistics
from metabench.problems.parameter_layout import Layout
from metabench.problems.tasks import Data

Given = Callable[[Tensor, Tensor, Data, Tensor], Tensor]  # with statistics to use (S,)


class Statistics(NamedTuple):
    """Mean and variance of what each batch norm of a network normalizes, flat `(S,)`."""

    layout: Layout  # "NAME.mean" and "NAME.variance" of each, a number a channel
    measure: Callable[
        [Tensor, Tensor, Data, Tensor | None], Tensor
    ]  # (phi, theta, data, used) -> (S,)
    loss: Given  # (phi, theta, data, used) -> ()
    outer_loss: Given  # the same, of the query set
    accuracy: Given | None = None  # where the problem has one

    @property
    def initial(self) -> dict[str, Tensor]:
        """Where running ones begin, as torch's do: means at 0, variances at 1."""
        pairs = zip(self.layout.names, self.layout.shapes, strict=True)
        return {name: torch.full(shape, float("variance" in name[-8:])) for name, shape in pairs}

    def with_prefix(self, Q: int) -> Statistics:
        """Read them with a theta that goes on beyond Q."""

        def cut(function: Given) -> Given:
            return lambda phi, theta, data, used: function(phi, theta[:Q], data, used)

        return self._replace(
            measure=lambda phi, theta, data, used: self.measure(phi, theta[:Q], data, used),
            loss=cut(self.loss),
            outer_loss=cut(self.outer_loss),
            accuracy=self.accuracy and cut(self.accuracy),
        )


def statistics_of(
    module: FunctionalModule, loss: Callable[[Any, Any], Tensor], classes: bool
) -> Statistics | None:
    """Read the statistics of a module's batch norms; None where it has none on its batch's own."""
    own, norms = record_batch_statistics(module.net, given=False)
    if not norms:
        return None
    other, others = record_batch_statistics(module.net, given=True)
    parts = {f"{name}.{kind}": getattr(norm, kind)
             for name, norm in norms.items() for kind in ("mean", "variance")}  # fmt: skip
    layout = Layout.from_tensors(parts)

    def call(phi: Tensor, theta: Tensor, data: Data, used: Tensor | None) -> tuple[Any, Tensor]:
        x, _ = as_pair(data)
        given = {} if used is None else layout.unflatten(used)
        called, watched = (own, norms) if used is None else (other, others)
        out = forward(called, {**module.values(phi, theta), **given}, x)
        seen = [part for norm in watched.values() for part in norm.take()]
        return out, torch.cat(seen)

    def measure(phi: Tensor, theta: Tensor, data: Data, used: Tensor | None) -> Tensor:
        return call(phi, theta, data, used)[1]

    def by_given(phi: Tensor, theta: Tensor, data: Data, used: Tensor) -> Tensor:
        return check_scalar(loss(call(phi, theta, data, used)[0], as_pair(data)[1]))

    def share(phi: Tensor, theta: Tensor, data: Data, used: Tensor) -> Tensor:
        return fraction_correct(call(phi, theta, data, used)[0], as_pair(data)[1])

    return Statistics(layout, measure, by_given, by_given, share if classes else None)
