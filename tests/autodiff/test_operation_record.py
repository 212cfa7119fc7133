"""Records of operations: the same bits at other arguments, and what can't be recorded."""

import pytest
import torch
from torch.func import grad, vmap

from metabench.autodiff.operation_counts import work_of
from metabench.autodiff.operation_record import record
from metabench.autodiff.replay import as_function, as_graph

aten = torch.ops.aten
CONSTANT = torch.zeros(3)


def second_order(theta, x):
    """A step of descent on a small network, and the gradient through it."""

    def loss(theta, x):
        return (torch.tanh(x @ theta.view(3, 3)).relu() ** 2).mean()

    def adapted(theta, x):
        return loss(theta - 0.1 * grad(loss)(theta, x), x)

    return vmap(grad(adapted), in_dims=(None, 0))(theta, x)


def by_autograd(theta, x):
    """The same of one task by torch.autograd, whose graph keeps results of operations."""
    theta = theta.detach().requires_grad_()
    value = (torch.tanh(x[0] @ theta.view(3, 3)) ** 2).mean()
    (gradient,) = torch.autograd.grad(value, theta, create_graph=True)
    return torch.autograd.grad(torch.sigmoid(gradient).sum(), theta)[0]


def pair(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(9, generator=generator), torch.randn(4, 5, 3, generator=generator)


@pytest.mark.parametrize("function", [second_order, by_autograd])
@pytest.mark.parametrize("make", [as_function, as_graph])
def test_a_replay_gives_the_same_bits_at_other_arguments(function, make):
    run = make(record(lambda *leaves: (function(*leaves),), pair(0)))

    (found,) = run(*pair(1))

    assert torch.equal(found, function(*pair(1)))


def test_equal_operations_run_once_and_unused_ones_not_at_all():
    def wasteful(x):
        x.exp()
        return (x.view(2, 3).expand(2, 3).sin() + x.sin().detach(),)

    written = record(wasteful, [torch.ones(2, 3)])

    functions = [operation.function for operation in written.operations]
    assert functions == [aten.sin.default, aten.add.Tensor]


def test_random_operations_are_drawn_again_and_never_merged():
    written = record(lambda x: (torch.rand_like(x) - torch.rand_like(x),), [torch.ones(50)])

    (found,) = as_function(written)(torch.ones(50))

    assert len(written.operations) == 3
    assert float(found.abs().max()) > 0


def test_results_of_several_tensors_and_constants_are_replayed():
    order = torch.tensor([2, 0, 1])

    def function(x):
        values, places = x.sort()
        one, two = x.split([1, 2])
        return values[order], places, two - one

    run = as_function(record(function, [torch.tensor([3.0, 1.0, 2.0])]))
    other = torch.tensor([5.0, 7.0, 6.0])

    assert all(map(torch.equal, run(other), function(other)))


def test_operations_in_place_are_left_as_they_are():
    def function(x):
        y = x.clone()
        z = y.view(-1)
        y.mul_(2)
        y[0] = 5.0
        return (z + y.sum(),)

    run = as_function(record(function, [torch.ones(3)]))
    x = torch.tensor([1.0, 2.0, 3.0])

    assert torch.equal(run(x)[0], function(x)[0])
    assert torch.equal(x, torch.tensor([1.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: (x * x.sum().item(),), "value into Python"),
        (lambda x: (x * 2 if x.sum() > 0 else x,), "value into Python"),
        (lambda x: (x.add_(1),), "writes to an input"),
        (lambda x: (CONSTANT.add_(x),), "writes to an input or a constant"),
        (lambda x: (x[:2].zero_(),), "writes to an input"),
    ],
)
def test_what_a_record_cannot_hold_is_refused(function, words):
    with pytest.raises(ValueError, match=words):
        record(function, [torch.ones(3)])


def test_intermediate_results_are_freed_after_their_last_use():
    """In a chain of ten results, two are needed at a time."""

    def chain(x):
        for _ in range(10):
            x = x.sin()
        return (x,)

    run = as_function(record(chain, [torch.ones(1000)]))

    assert work_of(run, torch.ones(1000)).bytes <= 2 * 4000
