"""Calling a module with given parameters; all networks run through here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.func import functional_call

from metabench.problems.networks.like_a_vector import like
from metabench.problems.networks.plain_attention import plain_attention
from metabench.problems.networks.plain_tensors import PlainTensor, following
from metabench.problems.parameter_layout import Layouts
from metabench.settings.errors import InvalidInput

# What a checkpoint computes again, in the backward pass, it would compute with the module's own
# parameters, which are back in their place by then, and not with phi_k; nothing would raise.
NO_HOOKS = (
    "The module uses gradient checkpointing, or other hooks on saved tensors (save_on_cpu, "
    "saved_tensors_hooks), which would compute parts of the inner loop again with the module's "
    "own parameters instead of the adapted ones. Switch it off: call the layer in place of "
    "torch.utils.checkpoint.checkpoint(layer, ...), or model.gradient_checkpointing_disable() of "
    "a transformers model, or leave the saved tensors where they are. To save memory, let "
    "metabench recompute whole inner steps: --set algo.rematerialize=every_step."
)


class FunctionalModule(NamedTuple):
    """A module as a function of the vectors phi `(P,)` and theta `(Q,)`."""

    net: nn.Module
    layouts: Layouts
    fixed: Mapping[str, Tensor]  # the module's parameters outside phi, and its buffers
    direct: bool  # whether some of theta is not in phi and enters directly
    tied: bool = True  # whether one tensor may have two names in the module
    plain: tuple[PlainTensor, ...] = ()  # attributes that are tensors, neither of these

    def __call__(self, phi: Tensor, theta: Tensor, x: Any) -> Any:
        """Call the module on x."""
        return self.at(self.values(phi, theta), phi, x)

    def at(self, values: dict[str, Tensor], phi: Tensor, x: Any) -> Any:
        """Call the module on x with given values.

        Args:
            values: all parameters and buffers by name.
            phi: for device and dtype, `(P,)`.
            x: a tensor, a tuple of arguments or a dict of keywords.
        """
        if not self.plain:
            return forward(self.net, values, x, self.tied)
        with following(self.plain, phi):
            return forward(self.net, values, x, self.tied)

    def values(self, phi: Tensor, theta: Tensor) -> dict[str, Tensor]:
        """Return all parameters and buffers by name: from phi, else theta, else the module."""
        values = {name: like(value, phi) for name, value in self.fixed.items()}
        if self.direct:
            values |= self.layouts.theta.unflatten(theta)
        return values | self.layouts.phi.unflatten(phi)

    def chosen(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return those of the values that are adapted or learned.

        They are the tensors that the module computes with, so that a loss can take gradients in
        them.
        """
        learned = self.layouts.theta.names if self.direct else ()
        return {name: values[name] for name in dict.fromkeys((*learned, *self.layouts.phi.names))}


def has_tied_tensors(net: nn.Module) -> bool:
    """Whether a parameter or buffer of a module has two names."""
    held = [
        *net.named_parameters(remove_duplicate=False),
        *net.named_buffers(remove_duplicate=False),
    ]
    return len({id(value) for _, value in held}) < len(held)


def forward(net: nn.Module, values: dict[str, Tensor], x: Any, tied: bool = True) -> Any:
    """Call a module with given parameters and buffers.

    Args:
        net: the module.
        values: its parameters and buffers by name.
        x: its input; a tuple is passed as arguments, a dict as keywords.
        tied: whether one of them may have two names in the module; torch looks at every call.

    Raises:
        InvalidInput: if the module computes parts of its forward again in the backward pass.
    """
    args = tuple(x) if isinstance(x, tuple | list) else () if isinstance(x, dict) else (x,)
    keywords = x if isinstance(x, dict) else None
    with plain_attention(), disable_saved_tensors_hooks(NO_HOOKS):
        try:
            return functional_call(net, values, args, keywords, tie_weights=tied)
        except RuntimeError as error:
            if NO_HOOKS in str(error):
                raise InvalidInput(NO_HOOKS) from error
            raise
