"""Are modules copied that hold what can't be copied, and those refused by name that refuse it?"""

from __future__ import annotations

import queue
import threading

import pytest
import torch
from nets import Net, draws, error, mlp, subject
from torch import nn
from torch.nn.functional import mse_loss

import metabench as mb

HELD = {
    "a lock": threading.Lock,
    "an iterator": lambda: iter([1, 2]),
    "a view of a buffer": lambda: memoryview(b"held"),
    "a queue": queue.Queue,
    "a Python module": lambda: threading,
    "a generator": torch.Generator,
    "a tensor with a graph": lambda: draws(3).requires_grad_() * 2,
    "such a tensor in a list in a dictionary": lambda: {"a": [draws(3).requires_grad_() * 2]},
}


@pytest.mark.parametrize("make", HELD.values(), ids=HELD)
def test_what_cannot_be_copied_is_shared_and_the_meta_gradient_is_right(make):
    torch.manual_seed(0)
    plain, holding = mlp(), mlp()
    holding.load_state_dict(plain.state_dict())
    holding[0].held = make()

    of = subject(holding)

    assert error(plain, of) < 1e-12
    assert not any(torch.equal(of.theta, x) for x in holding.parameters())


def test_a_buffer_with_a_graph_keeps_its_numbers():
    torch.manual_seed(0)
    scale = draws(2).requires_grad_() * 2
    net = Net(lambda self, x: self.layer(x) * self.scale, layer=nn.Linear(3, 2))
    net.register_buffer("scale", scale)
    plain = Net(lambda self, x: self.layer(x) * self.scale, layer=net.layer, scale=scale.detach())

    assert error(plain, subject(net)) < 1e-12


class Refusing(nn.Linear):
    def __deepcopy__(self, memo):
        raise ValueError("no copies")


def within_itself():
    net = mlp()
    net[0].parent = net
    return net


def sparse():
    return Net(lambda self, x: x @ self.w, w=nn.Parameter(torch.eye(3).to_sparse()))


REFUSED = {
    "a part that refuses": (
        lambda: nn.Sequential(nn.Sequential(Refusing(3, 2))),
        r"^`0\.0` \(Refusing\) can't be copied \(ValueError: no copies\).*__deepcopy__",
    ),
    "within itself": (within_itself, r"^`0\.parent` is a module that holds it.*\[parent\]"),
    "sparse": (sparse, r"^`w`: a sparse parameter.*to_dense\(\)"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_a_module_that_cannot_be_used_is_refused_by_name(make, words):
    with pytest.raises(mb.InvalidInput, match=words):
        mb.Problem.from_module(make(), mse_loss)


def test_a_plain_tensor_of_a_module_follows_the_dtype_of_theta():
    torch.manual_seed(0)
    net = Net(lambda self, x: self.layer(x) @ self.mixing, layer=nn.Linear(3, 2))
    vars(net)["mixing"] = mixing = draws(2, 2)
    plain = Net(lambda self, x: self.layer(x) @ self.mixing, layer=net.layer, mixing=mixing)

    of = subject(net)

    assert error(plain, of) < 1e-12
    assert net.mixing is mixing
    assert mixing.dtype == torch.float32


def test_hooks_on_parameters_are_said_not_to_run():
    torch.manual_seed(0)
    net = mlp()
    net[0].weight.register_hook(lambda gradient: 0.5 * gradient)

    of = subject(net)

    assert error(net, of) < 1e-12
    assert "`0.weight`: hooks on parameters do not run" in of.problem.notes[0]
