"""Are norms replaced only where that leaves the network as it is, and by the right derivatives?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import metabench as mb
from metabench.algorithms.adapt import adapt
from metabench.autodiff.per_task_products import per_task_hvp_of
from metabench.estimation.unfused_problem import unfused_problem
from metabench.problems.tasks import Task


class ChannelsFirst(nn.LayerNorm):
    """Layer norm over axis 1, as in ConvNeXt."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Written(nn.Module):
    """The same by plain operations, with the parameters under the same names."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.empty(channels)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        x = (x - mean) / (((x - mean) ** 2).mean(1, keepdim=True) + 1e-5).sqrt()
        return x * self.weight[:, None] + self.bias[:, None]


class Called(Written):
    """The same by a call of torch's function, in a module that is no norm of torch."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x.movedim(1, -1), (3,), self.weight, self.bias).movedim(
            -1, 1
        )


def network(norm: nn.Module) -> nn.Module:
    """Six inputs as three channels at two positions, then a norm of channels."""
    made = nn.Sequential(nn.Linear(2, 6), nn.Unflatten(1, (3, 2)), norm, nn.Flatten(), nn.Tanh())
    made.double()
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        nn.init.normal_(parameter, generator=generator)
    return made


def tasks(count: int) -> Task:
    generator = torch.Generator().manual_seed(1)

    def draw(width: int) -> Tensor:
        return torch.randn(count, 4, width, generator=generator, dtype=torch.float64)

    return Task((draw(2), draw(6)), (draw(2), draw(6)))


def draw(address: mb.Address, seed: int) -> Task:
    return tasks(len(address.task))


@pytest.mark.parametrize("norm", [ChannelsFirst, Called], ids=["a subclass", "a function"])
@pytest.mark.parametrize("how", ["vmap", "loop"])
def test_third_derivatives_through_the_users_own_norm_are_those_of_plain_operations(norm, how):
    problems = [
        mb.Problem.from_module(network(m(3)), nn.functional.mse_loss) for m in (norm, Written)
    ]
    optimizer, theta, many = mb.SGD(0.3), problems[0].theta, tasks(2)
    subject = mb.Subject(problems[0], draw, mb.MAML(2, optimizer), theta)
    vector = torch.linspace(-1, 1, len(theta), dtype=torch.float64).expand(2, -1)

    def objective(problem):
        return lambda at, task: problem.outer_loss(
            adapt(optimizer, 2, problem, at, task).last, at, task.query
        )

    plain = unfused_problem(subject, subject.algorithm)
    found = per_task_hvp_of(objective(plain), theta.expand(2, -1), many, how)(vector)

    for i, row in enumerate(found):
        one = Task(*(tuple(leaf[i] for leaf in data) for data in (many.support, many.query)))

        def unrolled(at, one=one):
            phi = at
            for _ in range(2):
                loss = problems[1].inner_loss(phi, at, one.support)
                phi = phi - 0.3 * torch.autograd.grad(loss, phi, create_graph=True)[0]
            return problems[1].outer_loss(phi, at, one.query)

        hessian = torch.autograd.functional.hessian(unrolled, theta)
        torch.testing.assert_close(row, hessian @ vector[0], rtol=1e-10, atol=1e-11)


def test_norms_without_scale_are_fused_too():
    problem = mb.Problem.from_module(
        network(nn.LayerNorm(2, elementwise_affine=False)), nn.functional.mse_loss
    )
    assert problem.fused == ("2 (LayerNorm)",)


def test_a_loss_that_changes_with_the_form_of_the_norms_is_refused():
    problem = mb.Problem.from_module(network(ChannelsFirst(3)), nn.functional.mse_loss)
    changed = problem._replace(
        unfused=lambda: problem._replace(outer_loss=lambda *given: problem.outer_loss(*given) + 1)
    )
    subject = mb.Subject(changed, draw, mb.MAML(), problem.theta)

    with pytest.raises(mb.InvalidInput, match="would be those of another network"):
        unfused_problem(subject, subject.algorithm)


class Shared(nn.Module):
    """One norm under two names, called twice, and a subclass."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.second = nn.BatchNorm1d(3)
        self.own = ChannelsFirst(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.own(self.second(torch.tanh(self.first(x))))


def test_safe_norms_replace_both_names_keep_hooks_and_leave_subclasses():
    net, x = Shared().double(), torch.randn(5, 3, dtype=torch.float64)
    net.first.register_forward_hook(lambda module, args, out: 2 * out)

    safe = mb.safe_norms(net)

    assert safe.first is safe.second
    assert type(safe.first).__name__ == "PlainNorm"
    assert type(safe.own) is ChannelsFirst
    torch.testing.assert_close(safe(x), net(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 7), (5, 3, 7)])
def test_instance_norm_may_lack_the_batch_axis(shape):
    norm, x = nn.InstanceNorm1d(3, affine=True).double(), torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(mb.safe_norms(norm)(x), norm(x), rtol=1e-12, atol=1e-12)


def test_per_step_statistics_are_those_of_every_call_and_leave_subclasses_alone():
    problem = mb.Problem.from_module(Shared().double(), nn.functional.mse_loss)
    x = torch.randn(5, 3, dtype=torch.float64)

    found = problem.statistics.layout.unflatten(
        problem.statistics.measure(problem.theta, problem.theta, (x, x), None)
    )

    normal = (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()
    calls = torch.stack([x, torch.tanh(normal)])
    torch.testing.assert_close(found["first.mean"], calls.mean(1).mean(0))
    torch.testing.assert_close(found["first.variance"], calls.var(1).mean(0))
    assert list(found) == ["first.mean", "first.variance"]


class OwnBatchNorm(nn.BatchNorm1d):
    """A batch norm with another forward."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_a_batch_norm_of_a_class_of_its_own_is_said_to_have_no_per_step_statistics():
    net = nn.Sequential(nn.Linear(2, 3), OwnBatchNorm(3), nn.BatchNorm1d(3))

    problem = mb.Problem.from_module(net, nn.functional.mse_loss)

    assert problem.statistics.layout.names == ("2.mean", "2.variance")
    assert problem.notes[-1].startswith("1: a batch norm of a custom class")
