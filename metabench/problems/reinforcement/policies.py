"""Policies as functions of one vector phi."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from metabench.problems.parameter_layout import Layout

Activation = Callable[[Tensor], Tensor]


def network_layout(sizes: tuple[int, ...], more: Layout | None = None) -> Layout:
    """Return the layout of a fully connected network, named as torch names it.

    Args:
        sizes: widths from input to output.
        more: further parameters, which follow the network's.
    """
    names: list[str] = []
    shapes: list[tuple[int, ...]] = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        names += [f"{i}.weight", f"{i}.bias"]
        shapes += [(outputs, inputs), (outputs,)]
    if more is not None:
        names, shapes = [*names, *more.names], [*shapes, *more.shapes]
    return Layout(tuple(names), tuple(shapes))


def network(layout: Layout, phi: Tensor, x: Tensor, activation: Activation) -> Tensor:
    """Apply a fully connected network to inputs `(..., inputs)`.

    Args:
        layout: of `network_layout`.
        phi: its parameters, `(P,)`.
        x: inputs.
        activation: between layers.
    """
    values = layout.unflatten(phi)
    depth = sum(name.endswith(".weight") for name in layout.names)
    for i in range(depth):
        x = x @ values[f"{i}.weight"].T + values[f"{i}.bias"]
        x = activation(x) if i < depth - 1 else x
    return x


def categorical(logits: Tensor, states: Tensor, actions: Tensor) -> Tensor:
    """Return the log-probabilities of actions in states, `(N, H)`.

    Args:
        logits: `(S, A)`.
        states: `(N, H)`.
        actions: `(N, H)`.
    """
    logs: Tensor = logits.log_softmax(-1)[states, actions]
    return logs


def gaussian(mean: Tensor, log_scale: Tensor, actions: Tensor) -> Tensor:
    """Return the log-density of actions `(..., D)` of independent normal distributions, `(...)`.

    Args:
        mean: `(..., D)`.
        log_scale: log standard deviations, `(D,)`.
        actions: `(..., D)`.
    """
    away = (actions - mean) / log_scale.exp()
    constant = 0.5 * math.log(2 * math.pi)
    total: Tensor = (-0.5 * away**2 - log_scale - constant).sum(-1)
    return total


def initial_network(layout: Layout, numbers: Tensor) -> Tensor:
    """Draw weights and biases uniform within 1/sqrt(fan in), `(P,)`; other parameters are zero.

    Args:
        layout: of `network_layout`.
        numbers: uniform in (0, 1), `(P,)`.
    """
    fan_in = 1
    pieces = []
    for (name, part), shape in zip(layout.segments(), layout.shapes, strict=True):
        fan_in = shape[-1] if name.endswith(".weight") else fan_in
        inside = name.endswith((".weight", ".bias"))
        bound = 1 / math.sqrt(fan_in) if inside else 0.0
        pieces.append((2 * numbers[part] - 1) * bound)
    return torch.cat(pieces)
