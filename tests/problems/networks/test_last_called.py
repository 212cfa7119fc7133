"""Does ANIL adapt the module that is called last, wherever it is declared?"""

from __future__ import annotations

import oracles
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.nn.utils import parametrizations

import metabench as mb
from metabench.problems.tasks import Address


class HeadFirst(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.head, self.scale, self.body = head, nn.Parameter(torch.ones(3)), nn.Linear(2, 3)

    def forward(self, x):
        found = self.head(torch.tanh(self.body(x)) * self.scale)
        return found[0] if isinstance(found, tuple) else found


class Attention(nn.MultiheadAttention):
    def forward(self, x):
        return super().forward(x, x, x)


HEADS = {
    "linear": (lambda: nn.Linear(3, 1), ["head.weight", "head.bias"]),
    "without parameters after it": (
        lambda: nn.Sequential(nn.Linear(3, 1), nn.Flatten()),
        ["head.0.weight", "head.0.bias"],
    ),
    "parametrized": (
        lambda: parametrizations.weight_norm(nn.Linear(3, 1)),
        [
            "head.bias",
            "head.parametrizations.weight.original0",
            "head.parametrizations.weight.original1",
        ],
    ),
    "attention": (
        lambda: Attention(3, 1),
        ["head.in_proj_weight", "head.in_proj_bias", "head.out_proj.weight", "head.out_proj.bias"],
    ),
}


def draw(indices, seed):
    numbers = torch.Generator().manual_seed(3)
    x, y = (torch.randn(len(indices), 4, *n, generator=numbers) for n in ((2,), ()))
    return (x, y), (x + 1, y)


def loss(prediction, y):
    return mse_loss(prediction.sum(-1), y)


@pytest.mark.parametrize("kind", HEADS)
def test_the_module_called_last_is_found_where_it_is_declared_first(kind):
    make, names = HEADS[kind]
    problem = mb.Problem.from_module(HeadFirst(make()), loss)
    theta, support = problem.theta, tuple(part[0] for part in draw([0], 0)[0])

    problem.inner_loss(theta, theta, support)

    assert sorted(problem.last_called()) == sorted(names)
    assert mb.ANIL().inner(problem).layouts.phi.names == problem.last_called()


def test_shared_weights_are_found_under_their_one_name():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2), nn.Tanh())
    net[2].weight = net[0].weight
    problem = mb.Problem.from_module(net, loss)
    theta, support = problem.theta, tuple(part[0] for part in draw([0], 0)[0])

    problem.inner_loss(theta, theta, support)

    assert problem.last_called() == ("0.weight", "2.bias")


@pytest.mark.parametrize("batching", ["vmap", "loop"])
def test_anil_adapts_it(batching):
    def subject(problem, algorithm):
        compute = mb.Vectorization(batching)
        theta = problem.theta.double()
        return mb.Subject(problem, mb.Indexed(draw), algorithm, theta, compute)

    problem = mb.Problem.from_module(HeadFirst(nn.Linear(3, 1)), loss)
    found = subject(problem, mb.ANIL(2)).meta_gradients(Address.fresh(0, 2), 0).grad

    named = mb.Problem.from_module(HeadFirst(nn.Linear(3, 1)), loss, adapt=["head.*"], learn=["*"])
    maml = subject(named, mb.MAML(2)).at(
        named.flatten(problem.unflatten(problem.theta.double())).double()
    )
    expected = maml.meta_gradients(Address.fresh(0, 2), 0).grad
    for grad, other in zip(found, expected, strict=True):
        parts = problem.layouts.theta.unflatten(grad), named.layouts.theta.unflatten(other)
        for name, part in parts[0].items():
            assert oracles.relative(part, parts[1][name]) < 1e-12
