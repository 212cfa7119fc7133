"""Do modules and losses that take gradients themselves get a right meta-gradient?"""

from __future__ import annotations

import functools

import oracles
import pytest
import torch
from nets import Net, called, draws, error, mlp, subject
from torch import nn
from torch.func import grad, jvp, vmap
from torch.nn.functional import mse_loss

import metabench as mb


def energy(self, x, start=lambda x: x.clone().requires_grad_()):
    x = start(x)
    return self.net(x) + torch.autograd.grad(self.net(x).sum(), x, create_graph=True)[0][:, :2]


def backward(self, x):
    x = x.detach().requires_grad_()
    self.net(x).sum().backward(create_graph=True, inputs=[x])
    return self.net(x) + x.grad[:, :2]


FORWARDS = {
    "of a copy": energy,
    "of the input itself": functools.partial(energy, start=lambda x: x.requires_grad_()),
    "of a detached copy": functools.partial(energy, start=lambda x: x.detach().requires_grad_()),
    "backward": backward,
    "torch.func.grad": lambda self, x: (
        self.net(x) + vmap(grad(lambda one: self.net(one).sum()))(x)[:, :2]
    ),
    "torch.func.jvp": lambda self, x: sum(jvp(self.net, (x,), (torch.ones_like(x),))),
}


@pytest.mark.filterwarnings("ignore:Using backward", "ignore:.*torch.jit")
@pytest.mark.parametrize("how", ["auto", "loop"])
@pytest.mark.parametrize("forward", FORWARDS.values(), ids=FORWARDS)
def test_a_gradient_taken_in_forward_is_differentiated(forward, how):
    torch.manual_seed(0)
    net = Net(lambda self, x: forward(self, x), net=mlp())
    # with an input of its own at every step, else its gradient would also run through phi
    apart = Net(lambda self, x: forward(self, x.clone()), net=net.net)
    of = subject(net, how=how)

    found = error(apart, of)

    assert found < 1e-12
    assert all(row.status == "ok" for row in checks(of))


def checks(of):
    rows = mb.measure_checked(mb.Verify(tasks=2, thorough=False), of)
    return [row for row in rows if row.quantity == "check"]


def test_a_loss_takes_the_gradient_of_the_prediction_in_its_input():
    def with_input(self, x):
        x = x.requires_grad_()
        return self.net(x), x

    def residual(output, y):
        u, x = output
        slope = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
        return mse_loss(u, y) + (slope**2).mean()

    torch.manual_seed(0)
    net = Net(with_input, net=mlp())
    apart = Net(lambda self, x: with_input(self, x.clone()), net=net.net)

    found = error(apart, subject(net, residual), residual)

    assert found < 1e-12


@pytest.mark.parametrize("how", ["vmap", "loop"])
def test_a_loss_takes_gradients_in_the_parameters_that_it_is_given(how):
    def penalized(prediction, y, parameters):
        value = mse_loss(prediction, y)
        slopes = torch.autograd.grad(value, list(parameters.values()), create_graph=True)
        return value + 0.1 * sum(slope.pow(2).sum() for slope in slopes)

    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    of = subject(net, penalized, how)
    found = of.meta_gradients(mb.Address.fresh(0, 2), 0).grad[0]

    task = of.draw(mb.Address.fresh(0, 2), 0)
    theta, phi = ([x.detach().double().requires_grad_() for x in net.parameters()],) * 2
    for data in (task.support, task.support, task.query):
        x, y = (part[0] for part in data)
        value = penalized(x @ phi[0].T + phi[1], y, dict(enumerate(phi)))
        slopes = torch.autograd.grad(value, phi, create_graph=True)
        phi = [at - 0.1 * slope for at, slope in zip(phi, slopes, strict=True)]
    truth = torch.cat([x.reshape(-1) for x in torch.autograd.grad(value, theta)])
    assert oracles.relative(found, truth) < 1e-12


def test_the_way_round_is_named_where_there_is_no_path_and_for_vmap():
    def lost(prediction, y):
        x = draws(4, 3).requires_grad_()
        return torch.autograd.grad(prediction.sum(), x, create_graph=True)[0].sum()

    net = mlp()

    with pytest.raises(mb.InvalidInput, match=r"finds no path .*requires_grad_\(\).*return u, x"):
        subject(net, lost).meta_gradients(mb.Address.fresh(0, 2), 0)
    with pytest.raises(mb.InvalidInput, match=r"\(vmap\); torch\.func\.grad .*batching=loop"):
        subject(Net(energy, net=mlp()), how="vmap").meta_gradients(mb.Address.fresh(0, 2), 0)


def test_a_tensor_that_a_call_makes_is_a_constant_of_it():
    torch.manual_seed(0)
    net = mlp()

    def scaled(prediction, y):
        return mse_loss(prediction, y) * torch.full((), 2.0, requires_grad=True)

    assert error(net, subject(net, scaled), scaled) < 1e-12
    assert called(torch.tanh)(torch.zeros(1)) == 0
