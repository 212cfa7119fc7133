"""Are derivatives the same inside torch.func's transforms and outside?"""

from __future__ import annotations

import cases
import oracles
import torch
from torch.func import vmap

from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.autodiff import derivatives


def penalized(phi, theta, data):
    """A loss that depends on phi and theta."""
    return (phi.sin() * theta**2 * data).sum()


def inside_vmap(function, *args):
    """Call it within a vmap over one."""
    return vmap(function)(*(x[None] for x in args))[0]


def test_phi_that_is_the_same_tensor_as_theta_has_a_separate_gradient():
    x, data = torch.randn(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)

    alone = derivatives.gradient(penalized, x, x, data)
    value, in_phi, in_theta = derivatives.value_and_gradients(penalized, x, x, data)

    torch.testing.assert_close(alone, x.cos() * x**2)
    torch.testing.assert_close(in_phi, x.cos() * x**2)
    torch.testing.assert_close(in_theta, 2 * x.sin() * x)
    assert not value.requires_grad
    assert not alone.requires_grad


def test_products_are_those_of_the_dense_second_derivatives():
    phi, theta, v = torch.randn(3, 4, dtype=torch.float64)
    data = torch.ones(4, dtype=torch.float64)

    def products(p, t, w):
        return torch.cat(derivatives.gradient_with_products(penalized, p, t, data)[1](w))

    expected = torch.cat([-phi.sin() * theta**2 * v, 2 * phi.cos() * theta * v])
    torch.testing.assert_close(products(phi, theta, v), expected)
    torch.testing.assert_close(inside_vmap(products, phi, theta, v), expected)


def test_a_loss_that_is_linear_or_constant_in_phi_has_zeros():
    phi, theta = torch.ones(2, 3, dtype=torch.float64)

    gradient, times = derivatives.gradient_with_products(lambda p, t, d: p.sum(), phi, theta, ())
    none = derivatives.gradient(lambda p, t, d: t.sum(), phi, theta, ())

    assert torch.equal(gradient, torch.ones_like(phi))
    assert [x.abs().sum() for x in times(phi)] == [0, 0]
    assert torch.equal(none, torch.zeros_like(phi))


def test_derivatives_of_a_meta_gradient_are_not_cut_off():
    """A pullback of a pullback, as the Hessian of the meta-loss takes."""
    problem, maml = cases.problem(), MAML(steps=2, inner_optimizer=SGD(rate=0.1))
    theta, task = cases.theta(problem), cases.one(cases.tasks(1), 0)
    v = torch.randn_like(theta)
    v, h = v / v.norm(), 1e-5

    _, vjp = derivatives.vjp_of(lambda at: maml(problem, at, task).grad, theta)
    (found,) = vjp(v)

    ahead, behind = (maml(problem, theta + sign * h * v, task).grad for sign in (1, -1))
    assert oracles.relative(found, (ahead - behind) / (2 * h)) < 1e-7
    assert not found.requires_grad
