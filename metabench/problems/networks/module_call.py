"""What a few calls of a user's module and losses show: state, random numbers, shapes, writes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.utils._pytree import tree_leaves, tree_map

from metabench.problems.networks.attribute_changes import (
    Attributes,
    attributes_of,
    changed_attributes,
    restore_attributes,
)
from metabench.problems.networks.broadcast_shapes import broadcast_shapes
from metabench.problems.networks.foreign_random import foreign_generator, same_random_numbers
from metabench.problems.networks.functional_module import FunctionalModule
from metabench.problems.networks.loss_checks import as_pair
from metabench.problems.networks.user_loss import UserLoss
from metabench.problems.networks.written_data import copied, written_parts
from metabench.problems.tasks import Data

ELSEWHERE = 0.9  # parameters and inputs of a call in between, as a multiple of the given ones
BY_MODE = (_NormBase, _DropoutNd, nn.RNNBase, nn.MultiheadAttention)  # differ in training mode
Values = dict[str, Tensor]


class ModuleCall(NamedTuple):
    """What a few calls showed."""

    changed: tuple[str, ...] = ()  # buffers and attributes that it changes, and its output with it
    written: tuple[str, ...] = ()  # attributes that it assigns; of a problem, those its loss reads
    broadcast: str = ""  # shapes of prediction and y that the loss broadcasts to more; or ""
    rewritten: tuple[str, ...] = ()  # adapted or learned parameters that it writes to
    switched: tuple[str, ...] = ()  # norms and dropouts whose training mode it changes
    varies: str = ""  # "module" or "loss", if it differs from call to call; else ""
    generator: str = ""  # whose random numbers it draws, where that was found
    writes: tuple[str, ...] = ()  # "x" and "y", where they are changed in place


def examine_call(
    module: FunctionalModule,
    losses: Sequence[UserLoss],
    phi: Tensor,
    theta: Tensor,
    data: Data,
) -> ModuleCall:
    """Call a module and its losses a few times, and leave the module as it was.

    Args:
        module: the user's module.
        losses: of the inner loop, and of the query set.
        phi: adapted parameters, `(P,)`.
        theta: meta-parameters, `(Q,)`.
        data: a pair of x and y.
    """
    # a graph, since the module or a loss may take gradients itself
    phi, theta = (each.detach().requires_grad_() for each in (phi, theta))
    calls = _Calls(module, tuple(dict.fromkeys(losses)), phi, theta, data)
    net = module.net
    before, modes = attributes_of(net), {part: part.training for part in net.modules()}
    with torch.enable_grad(), same_random_numbers():
        try:
            first = calls.writes_of_first_call()
            if first.rewritten or first.switched:
                return first
            restore_attributes(net, before)
            changed, written, varies = calls.differences(before)
            if changed or varies:
                return first._replace(changed=changed, written=written, varies=varies)
            restore_attributes(net, before)
            return calls.of_losses(first._replace(written=written))
        finally:
            restore_attributes(net, before)
            for part, mode in modes.items():
                part.training = mode


class _Calls(NamedTuple):
    """Calls at the same values, each with copies of them and of the data."""

    module: FunctionalModule
    losses: tuple[UserLoss, ...]
    phi: Tensor
    theta: Tensor
    data: Data

    @property
    def values(self) -> Values:
        return self.module.values(self.phi, self.theta)

    def predict(self, values: Values, data: Data) -> Any:
        """Call the module with the random numbers of every other call."""
        with same_random_numbers():
            return self.module.at(values, self.phi, as_pair(data)[0])

    def writes_of_first_call(self) -> ModuleCall:
        """Return the parameters and training modes that a call changes."""
        values, net = _copies(self.values), self.module.net
        modes = {name: part.training for name, part in net.named_modules()}
        self.predict(values, copied(self.data))
        chosen = self.module.chosen(self.values)
        return ModuleCall(
            rewritten=tuple(name for name, x in chosen.items() if not _same(x, values[name])),
            switched=tuple(
                name or "the module itself"
                for name, part in net.named_modules()
                if part.training != modes.get(name) and isinstance(part, BY_MODE)
            ),
        )

    def differences(self, before: Attributes) -> tuple[tuple[str, ...], tuple[str, ...], str]:
        """Compare a first call with one that follows a call at other parameters and inputs.

        What a module keeps of its first call, such as a product of weights, differs then.

        Args:
            before: attributes before any call.

        Returns:
            The buffers and attributes that change and the output with them, all attributes that
            are assigned, and "module" if the output changes without any.
        """
        net, values = self.module.net, self.values
        state = [name for name in values if name not in self.module.chosen(values)]
        prediction = self.predict(_copies(values), copied(self.data))
        restore_attributes(net, before)
        elsewhere = _copies(self.module.values(ELSEWHERE * self.phi, ELSEWHERE * self.theta))
        with contextlib.suppress(Exception):  # not all numbers need be valid
            self.predict(elsewhere, _scaled(self.data))
        later = _copies(values) | {name: elsewhere[name] for name in state}  # as it left them
        again = self.predict(later, copied(self.data))
        written = tuple(changed_attributes(net, before))
        if _same(prediction, again):
            return (), written, ""
        changed = [name for name in state if not _same(values[name], later[name])]
        return (*changed, *written), written, "" if changed or written else "module"

    def of_losses(self, found: ModuleCall) -> ModuleCall:
        """Return what calls of the losses show: random numbers, writes to data, shapes."""
        own, values, loss = copied(self.data), _copies(self.values), self.losses[-1]
        with same_random_numbers():
            self._loss(loss, values, own)
        x_y = zip("xy", written_parts(self.data, own), strict=True)
        found = found._replace(writes=tuple(name for name, hit in x_y if hit))
        if generator := foreign_generator(self._prediction, _same):
            return found._replace(varies="module", generator=generator)
        with same_random_numbers():
            first = self._all_losses()
        with same_random_numbers():
            again = self._all_losses()
        generator = foreign_generator(self._all_losses, _same)
        if generator or not _same(first, again):
            return found._replace(varies="loss", generator=generator)
        chosen, pair = self.module.chosen(values), copied(self.data)
        shapes = broadcast_shapes(
            lambda p, y: loss(chosen, self.phi, p, y),
            self.predict(values, pair),
            as_pair(pair)[1],
        )
        return found._replace(broadcast=shapes)

    def _prediction(self) -> Any:
        return self.module.at(_copies(self.values), self.phi, as_pair(copied(self.data))[0])

    def _all_losses(self) -> list[Tensor]:
        return [self._loss(loss, _copies(self.values), copied(self.data)) for loss in self.losses]

    def _loss(self, loss: UserLoss, values: Values, data: Data) -> Tensor:
        x, y = as_pair(data)
        prediction = self.module.at(values, self.phi, x)
        return loss(self.module.chosen(values), self.phi, prediction, y)


def _copies(values: Values) -> Values:
    return {name: value.clone() for name, value in values.items()}


def _scaled(data: Data) -> Data:
    """Return data with other floating-point numbers."""
    return tree_map(
        lambda leaf: (
            ELSEWHERE * leaf if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf
        ),
        data,
    )


def _same(one: Any, other: Any) -> bool:
    """Return whether the tensors of two outputs are the same numbers."""
    pairs = [tree_leaves(one), tree_leaves(other)]
    return len(pairs[0]) == len(pairs[1]) and all(
        torch.equal(_comparable(a), _comparable(b))
        for a, b in zip(*pairs, strict=True)
        if isinstance(a, Tensor) and isinstance(b, Tensor)
    )


def _comparable(value: Tensor) -> Tensor:
    value = value.detach()
    return torch.nan_to_num(value if value.layout == torch.strided else value.to_dense())
