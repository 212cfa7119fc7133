"""Which module of a network is called last: its head, wherever it is declared."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook


class LastCalled:
    """The parameters of the module that is called last, known after the first call.

    Modules without parameters in phi don't count. A module that uses its parts' parameters without
    calling them, such as multi-head attention, counts with all of them, and a parametrized one with
    those of its parametrizations.
    """

    def __init__(self, net: nn.Module, phi: Iterable[str]) -> None:
        """Know no call yet, of a network whose parameters `phi` adapt."""
        self._net, self._phi = net, tuple(phi)
        self._names: tuple[str, ...] = ()

    def __call__(self) -> tuple[str, ...]:
        """Return the names in the order of phi; none before the first call."""
        return self._names

    @contextmanager
    def recorded(self) -> Generator[None]:
        """Watch the first call of the network."""
        if self._names:
            yield
            return
        called: list[nn.Module] = []

        def note(module: nn.Module, args: Any) -> None:
            called.append(module)

        hook = register_module_forward_pre_hook(note)
        try:
            yield
        finally:
            hook.remove()
        self._names = self._last_of(called)

    def _last_of(self, called: list[nn.Module]) -> tuple[str, ...]:
        """Return the parameters in phi of the last of these modules that has any."""
        name_of = {id(value): name for name, value in self._net.named_parameters()}
        parts = {id(part): name for name, part in self._net.named_modules()}
        for module in reversed(called):
            if id(module) not in parts:
                continue
            whole = self._net.get_submodule(parts[id(module)].partition(".parametrizations.")[0])
            held = {name_of[id(value)] for value in whole.parameters()}
            if names := tuple(name for name in self._phi if name in held):
                return names
        return ()
