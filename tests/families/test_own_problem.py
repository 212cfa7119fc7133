"""Can a module, a sampler and weights of a user be measured, and are they what was meant?"""

from __future__ import annotations

import itertools

import cases
import numpy as np
import oracles
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from metabench.algorithms.imaml import IMAML
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization
from metabench.families.own_problem import ProblemFamily
from metabench.linalg.solvers.dense import Dense
from metabench.problems.networks.module_checks import check_one_kind
from metabench.problems.problem import Problem
from metabench.problems.samplers import Indexed, Stream
from metabench.problems.tasks import Address, Task
from metabench.settings.errors import InvalidInput

HALF_MAML = MAML(steps=3, inner_optimizer=SGD(rate=0.1))


def net(*middle: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), *middle, nn.Tanh(), nn.Linear(6, 2)).double()


def by_hand(module, loss, task, adapted, learned, steps=3, rate=0.1):
    """The meta-gradient by name, with torch.autograd through a plain loop."""
    values = {n: v.detach().clone().requires_grad_() for n, v in module.named_parameters()}
    phi = {name: values[name] for name in adapted}

    def task_loss(phi, data):
        return loss(functional_call(module, {**values, **phi}, (data[0],)), data[1])

    for _ in range(steps):
        slopes = torch.autograd.grad(
            task_loss(phi, task.support), list(phi.values()), create_graph=True
        )
        phi = {n: v - rate * g for (n, v), g in zip(phi.items(), slopes, strict=True)}
    outer = task_loss(phi, task.query)
    grads = torch.autograd.grad(outer, [values[name] for name in learned])
    return torch.cat([g.reshape(-1) for g in grads])


PARTS = {
    "all": (None, None),
    "a head": (["2.*"], None),
    "a head, all learned": (["2.*"], ["*"]),
    "a head, the body learned": (["2.*"], ["0.*"]),
    "one bias": ("0.bias", None),
}


@pytest.mark.parametrize(("adapt", "learn"), PARTS.values(), ids=PARTS.keys())
def test_any_part_adapts_and_any_part_is_learned(adapt, learn):
    module, task = net(), cases.one(cases.tasks(1), 0)

    problem = Problem.from_module(module, functional.mse_loss, adapt, learn)

    phi, theta = problem.layouts.phi.names, problem.layouts.theta.names
    expected = by_hand(module, functional.mse_loss, task, phi, theta)
    found = HALF_MAML(problem, problem.theta, task).grad
    assert oracles.relative(found, expected) < 1e-12
    if adapt is not None:
        assert len(phi) < 4


def test_what_needs_no_gradient_is_frozen():
    module = net()
    module[0].requires_grad_(False)

    problem = Problem.from_module(module, functional.mse_loss)

    assert problem.layouts.theta.names == ("2.weight", "2.bias")
    assert set(problem.fixed) == {"0.weight", "0.bias"}


class LoRA(nn.Module):
    """A frozen linear map plus a product of two thin matrices."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_A = nn.Parameter(0.1 * torch.randn(rank, base.in_features).double())
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank).double())

    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T


def test_lora_matrices_adapt_and_the_rest_is_frozen():
    module, task = net(), cases.one(cases.tasks(1), 0)
    module[0] = LoRA(module[0], rank=1)

    problem = Problem.from_module(module, functional.mse_loss, adapt=["*.lora_?"])

    assert problem.layouts.phi.names == ("0.lora_A", "0.lora_B")
    names = problem.layouts.phi.names
    expected = by_hand(module, functional.mse_loss, task, names, names)
    assert oracles.relative(HALF_MAML(problem, problem.theta, task).grad, expected) < 1e-12


def test_a_learned_body_has_an_implicit_gradient_without_any_pull():
    problem = Problem.from_module(net(), functional.mse_loss, adapt=["2.*"], learn=["0.*"])
    task = cases.one(cases.tasks(1), 0)
    imaml = IMAML(steps=500, inner_optimizer=SGD(rate=0.5), proximal_strength=0.0, solver=Dense())

    found = imaml(problem, problem.theta, task)

    expected = oracles.implicit(problem, found.phi, problem.theta, task)
    assert oracles.relative(found.grad, expected) < 1e-9


def test_frozen_weights_follow_the_dtype_that_is_measured_in():
    problem = Problem.from_module(net().float(), functional.mse_loss, adapt=["2.*"])
    task = cases.one(cases.tasks(1), 0)

    assert problem.theta.dtype == torch.float32
    assert HALF_MAML(problem, problem.theta.double(), task).grad.dtype == torch.float64


def test_a_weight_with_two_names_is_one_parameter():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.into, self.again = (nn.Linear(4, 3, bias=False) for _ in range(2))
            self.again.weight = self.into.weight

        def forward(self, x):
            return self.into(x) * self.again(x + 1)

    x, y = torch.randn(2, 4), torch.randn(2, 3)
    problem = Problem.from_module(Tied(), functional.mse_loss)
    W = torch.randn(3, 4)

    loss = problem.inner_loss(W.ravel(), problem.theta, (x, y))

    assert problem.layouts.phi.names == ("into.weight",)
    torch.testing.assert_close(loss, functional.mse_loss((x @ W.T) * ((x + 1) @ W.T), y))


def test_the_module_itself_is_not_touched():
    module = net(nn.BatchNorm1d(6))
    before = {name: value.clone() for name, value in module.state_dict().items()}

    problem = Problem.from_module(module, functional.mse_loss)
    HALF_MAML(problem, problem.theta, cases.one(cases.tasks(1), 0))

    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert module[1].track_running_stats


def test_batch_norm_in_training_uses_the_batch_and_says_so():
    module, task = net(nn.BatchNorm1d(6)), cases.one(cases.tasks(1), 0)
    same = net(nn.BatchNorm1d(6, track_running_stats=False))

    problem, plain = (Problem.from_module(m, functional.mse_loss) for m in (module, same))

    assert torch.equal(
        HALF_MAML(problem, problem.theta, task).grad, HALF_MAML(plain, plain.theta, task).grad
    )
    assert problem.notes[0].startswith("1 (BatchNorm1d): the inner loop uses batch statistics")
    assert plain.notes == ()
    assert problem.fused == ("1 (BatchNorm1d)",)


def test_batch_norm_in_evaluation_uses_its_running_statistics():
    module = net(nn.BatchNorm1d(6))
    module[1].running_mean += 0.5
    module.eval()
    problem, task = Problem.from_module(module, functional.mse_loss), cases.one(cases.tasks(1), 0)

    found = problem.inner_loss(problem.theta, problem.theta, task.support)

    expected = functional.mse_loss(module(task.support[0]), task.support[1]).detach()
    torch.testing.assert_close(found, expected)
    assert problem.notes == ()


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3).double())

    def forward(self, a, b):
        return (a * self.scale + b).sum(-1)


@pytest.mark.parametrize("pack", [lambda x: (x, 2 * x), lambda x: {"a": x, "b": 2 * x}])
def test_a_module_may_take_several_arguments_or_keywords(pack):
    problem = Problem.from_module(Pair(), functional.mse_loss)
    x = cases.one(cases.tasks(1), 0).support[0]

    found = problem.inner_loss(problem.theta, problem.theta, (pack(x), x.sum(-1)))

    assert float(found) == pytest.approx(float((2 * x.sum(-1)).pow(2).mean()))


@pytest.mark.parametrize(
    "loss", [functional.mse_loss, functional.smooth_l1_loss, nn.MSELoss(), functional.huber_loss]
)
def test_torchs_own_losses_work_with_every_algorithm_under_vmap(loss):
    """jvp(grad(mse_loss)) raises, and nested vmaps of it fail: neither is taken."""
    problem, many = Problem.from_module(net(), loss), cases.tasks(3)
    algorithms = [cases.algorithm(name) for name in cases.ALGORITHMS]

    for algorithm in (*algorithms, IMAML(solver=Dense())):
        longer, theta = algorithm.extend(problem, problem.theta)
        both = [
            Vectorization(how).per_task(
                lambda at, task, a=algorithm, p=longer: a(p, at, task).grad
            )(theta, many)
            for how in ("vmap", "loop")
        ]
        assert oracles.relative(*both) < 1e-9


def draw(index: int, seed: int):
    generator = torch.Generator().manual_seed(1000 * seed + index)
    x = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    y = x[:, :2] ** 2
    return (x[:4], y[:4]), (x[4:], y[4:])


def sample(indices, seed):
    tasks = [draw(int(i), seed) for i in indices]
    return tuple(
        tuple(torch.stack([task[part][i] for task in tasks]) for i in (0, 1)) for part in (0, 1)
    )


class Tasks(Dataset):
    def __len__(self):
        return 50

    def __getitem__(self, i):
        return draw(i, seed=0)


SOURCES = {
    "a plain sampler": lambda: Indexed(sample),
    "arrays": lambda: Indexed(
        lambda i, seed: tuple(tuple(x.numpy() for x in part) for part in sample(i, seed))
    ),
    "a generator": lambda: Stream(draw(i, 0) for i in itertools.count()),
    "a list": lambda: Stream([draw(i, 0) for i in range(50)]),
    "a loader of batches": lambda: Stream(DataLoader(Tasks(), batch_size=4)),
    "a loader of tasks": lambda: Stream(DataLoader(Tasks(), batch_size=None)),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_tasks_come_from_anywhere_and_are_the_same_each_time(source):
    problem = Problem.from_module(net(), functional.mse_loss)
    subject = Subject(problem, source(), HALF_MAML, problem.theta)

    late = subject.meta_gradients(Address.fresh(6, 4), seed=0).grad
    early = subject.meta_gradients(Address.fresh(0, 7), seed=0).grad

    for i in range(7):
        task = Task(*draw(i, 0))
        assert oracles.relative(early[i], HALF_MAML(problem, problem.theta, task).grad) < 1e-12
    assert oracles.relative(late[0], early[6]) < 1e-13


def test_what_cannot_be_redrawn_is_withheld_in_words():
    problem = Problem.from_module(net(), functional.mse_loss)
    redraw = Address.fresh(0, 2)._replace(support=np.ones(2, np.int64))

    for source in (Indexed(sample), Stream([draw(0, 0)])):
        subject = Subject(problem, source, HALF_MAML, problem.theta)
        assert "can't be redrawn separately" in subject.withheld[0]
        with pytest.raises(
            InvalidInput, match=r"No redraws are possible: .*sample\(address, seed\)"
        ):
            subject.draw(redraw, 0)


def subject_of(source) -> Subject:
    problem = Problem.from_module(net(), functional.mse_loss)
    return Subject(problem, source, HALF_MAML, problem.theta)


def shape(index, size):
    x = torch.zeros(size, 3)
    return (x, x[:, :2]), (x, x[:, :2])


BAD_TASKS = {
    "fewer than asked": (
        Indexed(lambda i, seed: sample(i[:-1], seed)),
        r"3 tasks were requested.*shape \(2, 4, 3\)",
    ),
    "an empty support": (
        Stream([shape(i, 0) for i in range(3)]),
        "The support set of a task is empty",
    ),
    "ragged tasks": (
        Stream([shape(0, 4), shape(1, 5), shape(2, 4)]),
        r"Tasks differ in shape: task 1 has \(5, 3\).*task 0 has \(4, 3\).*Pad or trim",
    ),
    "a stream that ends": (Stream([draw(0, 0)]), "The stream ended after 1 task, but 3 are"),
    "no pair": (Stream([1, 2, 3]), r"must be a pair \(support, query\); given a int"),
    "three parts": (Stream([(1, 2, 3)] * 3), r"given a tuple of 3"),
}


@pytest.mark.parametrize(("source", "words"), BAD_TASKS.values(), ids=BAD_TASKS.keys())
def test_bad_tasks_are_refused_in_a_sentence(source, words):
    with pytest.raises(InvalidInput, match=words):
        subject_of(source).draw(Address.fresh(0, 3), 0)


def half(module: nn.Module) -> nn.Module:
    module[2].half()
    return module


BAD_MODULES = {
    "a loss of one argument": (
        lambda: Problem.from_module(net(), lambda p: p.mean()),
        r"\(prediction, y, parameters\); yours takes \(p\)",
    ),
    "dropout": (
        lambda: Problem.from_module(net(nn.Dropout(0.1)), functional.mse_loss),
        r"^1 \(Dropout\) would draw dropout masks.*net\.eval\(\)",
    ),
    "dropout inside attention": (
        lambda: Problem.from_module(nn.MultiheadAttention(4, 2, dropout=0.1), functional.mse_loss),
        r"\(MultiheadAttention\) would draw dropout masks",
    ),
    "no such parameter": (
        lambda: Problem.from_module(net(), functional.mse_loss, adapt=["2.wieght"]),
        r"no parameter '2\.wieght' for adapt; did you mean '2\.weight'",
    ),
    "nothing to adapt": (
        lambda: Problem.from_module(net().requires_grad_(False), functional.mse_loss),
        "No parameter is adapted, because all have requires_grad=False",
    ),
    "two dtypes": (
        lambda: Problem.from_module(half(net()), functional.mse_loss),
        r"have two dtypes: 0\.weight is torch\.float64, 2\.weight is torch\.float16",
    ),
}


@pytest.mark.parametrize(("make", "words"), BAD_MODULES.values(), ids=BAD_MODULES.keys())
def test_bad_modules_are_refused_in_a_sentence(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


def test_parameters_on_two_devices_are_refused():
    module = net()
    module[2].to("meta")  # a device that every machine has

    with pytest.raises(
        InvalidInput, match=r"have two devices: 0\.weight is cpu, 2\.weight is meta"
    ):
        check_one_kind(dict(module.named_parameters()))


def test_dropout_that_is_switched_off_is_no_matter():
    Problem.from_module(net(nn.Dropout(0.0)), functional.mse_loss)
    Problem.from_module(net(nn.Dropout(0.5)).eval(), functional.mse_loss)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda p, y: (p - y) ** 2, r"The loss has shape \(7, 2\).*\.mean\(\)"),
        (lambda p, y: 1.0, "The loss returned a float"),
    ],
)
def test_a_loss_that_is_no_scalar_tensor_is_refused(loss, words):
    problem = Problem.from_module(net(), loss)

    with pytest.raises(InvalidInput, match=words):
        HALF_MAML(problem, problem.theta, cases.one(cases.tasks(1), 0))


def test_data_that_are_no_pair_are_refused():
    problem, x = Problem.from_module(net(), functional.mse_loss), torch.zeros(4, 3).double()

    with pytest.raises(InvalidInput, match=r"must be a pair \(x, y\); given Tensor"):
        HALF_MAML(problem, problem.theta, Task(x, x))


def test_a_problem_without_a_theta_asks_for_one():
    problem = Problem.from_module(net(), functional.mse_loss)._replace(theta=None)

    with pytest.raises(InvalidInput, match="give --theta FILE"):
        ProblemFamily(problem, "mine").theta(0)
    with pytest.raises(InvalidInput, match="floating-point"):
        Subject(problem, Indexed(sample), HALF_MAML, torch.zeros(38, dtype=torch.int64))
