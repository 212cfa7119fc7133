"""The step of torch's optimizer for a single tensor, without its per-step overhead."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer


def low_overhead_step(optimizer: Optimizer) -> Callable[[], Any]:
    """Return a function that does what `optimizer.step` does to its one tensor, with less overhead.

    torch's profiler hooks, its search for gradients and its checks cost many times the arithmetic
    of a small theta; the kernels are the same. State and settings stay where torch keeps them, and
    torch's own step creates the state. Only on a CPU: on other devices torch manages streams.
    """
    whole: Callable[[], Any] = torch.no_grad()(functools.partial(step_without_hooks, optimizer))
    if isinstance(optimizer, Adam):
        quick: Callable[..., Any] = _adam
    elif isinstance(optimizer, SGD):
        quick = _sgd
    else:
        return whole
    if optimizer.param_groups[0]["params"][0].device.type != "cpu":
        return whole
    (group,) = optimizer.param_groups
    (theta,) = group["params"]
    at = theta.detach()  # the same memory, outside autograd
    stateless = isinstance(optimizer, SGD) and not group["momentum"]

    def step() -> None:
        state = optimizer.state.get(theta)
        if state or stateless:
            quick(at, theta.grad, state or {}, optimizer.param_groups[0])
        else:
            whole()

    return step


def step_without_hooks(optimizer: Optimizer) -> None:
    """Call `optimizer.step` without its hooks and without switching autograd's mode."""
    inspect.unwrap(type(optimizer).step)(optimizer)


def _adam(at: Tensor, gradient: Tensor, state: Any, group: Any) -> None:
    beta1, beta2 = group["betas"]
    kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
    state["step"].add_(1)
    kernel(
        [at], [gradient], [state["exp_avg"]], [state["exp_avg_sq"]], [], [state["step"]],
        lr=group["lr"], beta1=beta1, beta2=beta2, weight_decay=group["weight_decay"],
        eps=group["eps"], amsgrad=False, maximize=False,
    )  # fmt: skip


def _sgd(at: Tensor, gradient: Tensor, state: Any, group: Any) -> None:
    torch._fused_sgd_(
        [at], [gradient], [state["momentum_buffer"]] if state else [],
        weight_decay=group["weight_decay"], momentum=group["momentum"], lr=group["lr"],
        dampening=group["dampening"], nesterov=False, maximize=False, is_first_step=False,
    )  # fmt: skip
