"""Are the meta-gradients of higher, TorchOpt and JAX ours, where these are installed?"""

from __future__ import annotations

import importlib
import sys
import warnings

import oracles
import pytest
import torch
from black_boxes import NET, PROBLEM, RATE, STEPS, subject
from torch.nn.functional import mse_loss as mse

import metabench as mb
from metabench.problems.tasks import Address


def adapted_loss(fast, optimizer, task):
    """The inner loop that higher and TorchOpt share."""
    for _ in range(STEPS):
        optimizer.step(mse(fast(task.support[0]), task.support[1]))
    return mse(fast(task.query[0]), task.query[1])


def with_higher():
    return mb.adapters.from_higher(adapted_loss, NET, torch.optim.SGD(NET.parameters(), lr=RATE))


def with_torchopt():
    return mb.adapters.from_torchopt(adapted_loss, NET, "MetaSGD", lr=RATE)


def with_jax():
    import jax
    import jax.numpy as jnp

    def loss(theta, data):
        hidden = jnp.tanh(data[0] @ theta["0.weight"].T + theta["0.bias"])
        return ((hidden @ theta["2.weight"].T + theta["2.bias"] - data[1]) ** 2).mean()

    def adapted(theta, support, query):
        phi = theta
        for _ in range(STEPS):
            grads = jax.grad(loss)(phi, support)
            phi = {name: phi[name] - RATE * grads[name] for name in phi}
        return loss(phi, query)

    return mb.adapters.from_jax(adapted)


@pytest.mark.parametrize("made", [with_higher, with_torchopt, with_jax])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_library_gives_our_meta_gradient_and_loss(made, dtype):
    address = Address.fresh(0, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            importlib.import_module(made.__name__.removeprefix("with_"))
        except ImportError as error:
            pytest.skip(f"{made.__name__}: {error}")
        theirs = subject(made()).at(PROBLEM.theta.to(dtype))
        found = theirs.meta_gradients(address, 0)

    ours = subject(mb.MAML(STEPS, mb.SGD(RATE))).at(PROBLEM.theta.to(dtype))
    expected = ours.meta_gradients(address, 0)
    assert found.grad.dtype == dtype
    assert oracles.relative(found.grad, expected.grad) < 100 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.loss, expected.loss)


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    box = mb.adapters.from_jax(lambda theta, support, query: 0.0)

    with pytest.raises(mb.InvalidInput, match=r"from_jax needs the package jax.*pip install"):
        subject(box).meta_gradients(Address.fresh(0, 1), 0)


def test_an_optimizer_that_torchopt_lacks_is_named():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("torchopt")
    box = mb.adapters.from_torchopt(adapted_loss, NET, "SGD", lr=RATE)

    with pytest.raises(mb.InvalidInput, match=r"'SGD' in torchopt.*MetaSGD"):
        subject(box).meta_gradients(Address.fresh(0, 1), 0)
