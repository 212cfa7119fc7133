"""Are the quicker layers the same functions, however often they are differentiated?"""

from __future__ import annotations

import copy
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.func import functional_call

import metabench as mb
from metabench.autodiff import per_task_products
from metabench.problems import architectures
from metabench.problems.networks import double_backward, fast_convolutions
from metabench.problems.networks.fast_convolutions import with_fast_convolutions

CHAINS = {
    "conv-4's block, twice": architectures.conv(2, 4, 3, 8),
    "without norms": architectures.conv(2, 4, 3, 8, norm=False),
    "strides, groups, no bias": nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.Tanh(),
        nn.Conv2d(4, 4, (2, 3), padding=(0, 2), dilation=(1, 2), groups=2),
        nn.Flatten(),
        nn.Linear(4 * 3 * 4, 3),
    ),
    "blocks of blocks": nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(4, 4, 3, padding="same"), nn.GroupNorm(2, 4), nn.AvgPool2d(4)),
        nn.Flatten(),
        nn.Linear(4, 3),
    ),
}


class Viewing(nn.Module):
    """What many write by hand: a chain of blocks, and a view that needs plain memory."""

    def __init__(self):
        super().__init__()
        self.blocks = architectures.conv(1, 4, 3, 8)[:-2]
        self.head = nn.Linear(4 * 4 * 4, 3)

    def forward(self, x):
        x = self.blocks(x)
        return self.head(x.view(len(x), -1))


@pytest.fixture(autouse=True)
def in_double_precision(monkeypatch):
    """The layers serve float32 alone; their formulas are held to float64's round-off."""
    plain = fast_convolutions._applies
    monkeypatch.setattr(fast_convolutions, "_applies", lambda x: plain(x.float()))


def data(examples=6, side=8):
    return torch.randn(examples, 1, side, side).double(), torch.arange(examples) % 3


def derivatives(net, theta, x, y, vectors, order):
    """Give the loss's gradient in parameters and images, its products with v, theirs with w."""
    layout = mb.Layout.from_tensors(dict(net.named_parameters()))
    at = theta.clone().requires_grad_(), x.clone().requires_grad_()
    values = layout.unflatten(at[0])
    found = [nn.functional.cross_entropy(functional_call(net, values, (at[1],)), y)]
    for one in vectors[:order]:
        slopes = torch.autograd.grad(found[-1], at, create_graph=True)
        found += [*slopes, sum((a * b).sum() for a, b in zip(slopes, one, strict=True))]
    return [value.detach() for value in found]


@pytest.mark.parametrize("name", [*CHAINS, "a view"])
def test_three_derivatives_are_those_of_plain_operations(name):
    net = copy.deepcopy(CHAINS.get(name) or Viewing()).double()
    theta = mb.Layout.from_tensors(dict(net.named_parameters())).flatten(
        dict(net.named_parameters())
    )
    theta = (theta + 0.3 * torch.randn_like(theta)).detach()
    x, y = data()
    vectors = [(torch.randn_like(theta), torch.randn_like(x)) for _ in range(3)]

    found = derivatives(with_fast_convolutions(net), theta, x, y, vectors, 3)

    # torch's own third derivatives are wrong through its fused batch norm
    expected = derivatives(mb.safe_norms(net), theta, x, y, vectors, 3)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("frozen", ["0.weight", "0.bias", "1.weight", "4.weight"])
def test_what_is_not_asked_for_changes_nothing(frozen):
    net = copy.deepcopy(CHAINS["conv-4's block, twice"]).double()
    x, y = data()
    parameters = [value for name, value in net.named_parameters() if name != frozen]
    net.get_parameter(frozen).requires_grad_(False)

    def product(net):
        values = [value for value in net.parameters() if value.requires_grad]
        loss = nn.functional.cross_entropy(net(x), y)
        slopes = torch.autograd.grad(loss, values, create_graph=True)
        return torch.autograd.grad(sum((g**2).sum() for g in slopes), values)

    found, expected = product(with_fast_convolutions(net)), product(net)
    assert len(found) == len(parameters)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_names_values_and_the_given_module_stay():
    net = CHAINS["conv-4's block, twice"]

    made = with_fast_convolutions(net)

    assert type(net[0]) is nn.Conv2d
    assert [*made.state_dict()] == [*net.state_dict()]
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), net.parameters(), strict=True))


def test_a_hook_sees_what_it_would_have_seen():
    net, seen = copy.deepcopy(CHAINS["without norms"]).double(), []
    net[1].register_forward_hook(lambda module, given, found: seen.append(found.shape))

    with_fast_convolutions(net)(data()[0])

    assert seen == [(6, 4, 8, 8)]


def test_other_layers_are_left_alone():
    class Own(nn.Conv2d):
        pass

    net = nn.Sequential(
        Own(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, padding_mode="circular")
    )

    assert [type(part) for part in with_fast_convolutions(net)] == [type(part) for part in net]
    assert type(with_fast_convolutions(net)) is nn.Sequential


def test_a_meta_gradient_by_a_loop_is_that_by_vmap(monkeypatch):
    monkeypatch.undo()  # float32, as it is used
    net = architectures.conv(2, 4, 3, 8)
    problem, maml = mb.Problem.from_module(net, nn.functional.cross_entropy), mb.MAML(3)
    tasks = mb.Task(*(tuple(torch.stack([leaf] * 2) for leaf in _single()) for _ in range(2)))
    theta = architectures.initial_parameters(net, 0).float()

    by = {
        how: mb.Vectorization(how, engine="eager").per_task(
            lambda at, task: maml(problem, at, task).grad
        )
        for how in ("loop", "vmap")
    }
    with patch.object(double_backward._NormalizationBack, "apply", side_effect=AssertionError):
        expected = by["vmap"](theta, tasks)

    torch.testing.assert_close(by["loop"](theta, tasks), expected, rtol=1e-4, atol=1e-6)


def _single():
    x, y = data()
    return x.float(), y


def test_a_fleet_of_hessians_by_a_loop_is_symmetric():
    net = copy.deepcopy(CHAINS["conv-4's block, twice"]).double()
    problem = mb.Problem.from_module(net, nn.functional.cross_entropy)
    phis = problem.theta.expand(2, -1)
    x, y = data()
    times = per_task_products.per_task_hvp(
        problem.inner_loss,
        phis,
        problem.theta,
        (x[None].repeat(2, 1, 1, 1, 1), y.repeat(2, 1)),
        "loop",
    )

    u, v = torch.randn_like(phis), torch.randn_like(phis)

    torch.testing.assert_close((u * times(v)).sum(1), (v * times(u)).sum(1), rtol=1e-9, atol=1e-12)
