"""Small modules, a subject of each, and its error against autograd through the unroll."""

from __future__ import annotations

import oracles
import torch
from torch import nn
from torch.nn import functional
from torch.utils._pytree import tree_map

import metabench as mb
from metabench.problems.tasks import cast

MAML = mb.MAML(steps=2, inner_optimizer=mb.SGD(rate=0.1))


def draws(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


TASKS = mb.Task((draws(2, 4, 3), draws(2, 4, 2)), (draws(2, 5, 3), draws(2, 5, 2)))


def subject(net, loss=functional.mse_loss, how="auto", algorithm=MAML, dtype=torch.float64):
    problem = mb.Problem.from_module(net, loss)
    theta = problem.theta.to(dtype)
    return mb.Subject(problem, lambda address, seed: TASKS, algorithm, theta, mb.Vectorization(how))


def error(net, of, loss=functional.mse_loss, reference=None):
    """Relative error of the meta-gradients against autograd through the unroll."""
    found = of.meta_gradients(mb.Address.fresh(0, 2), 0).grad.double()
    tasks = cast(TASKS, torch.zeros(1, dtype=torch.float64))
    parts = [tree_map(lambda leaf, i=i: leaf[i], tasks) for i in range(2)]
    truth = torch.stack([oracles.unrolled_module(reference or net, loss, part) for part in parts])
    return oracles.relative(found, truth)


class Net(nn.Module):
    """A module whose forward is a function of it and of x."""

    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)
        self.body = forward

    def forward(self, *args, **kwargs):
        return self.body(self, *args, **kwargs)


def mlp(*middle, first=None):
    return nn.Sequential(first or nn.Linear(3, 4), *(middle or (nn.Tanh(),)), nn.Linear(4, 2))


def called(function):
    return Net(lambda self, x: function(x))
