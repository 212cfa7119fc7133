"""Do losses of the parameters get the right gradient, and are gradients beside theta refused?"""

from __future__ import annotations

import functools

import oracles
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, mse_loss, nll_loss

import metabench as mb
from metabench.problems.networks.accuracy import accuracy_of
from metabench.problems.tasks import Task, cast

RATE, STEPS = 0.2, 3


def network() -> nn.Sequential:
    made = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        nn.init.normal_(parameter, generator=generator)
    return made


def one_task(classes: bool = False) -> Task:
    generator = torch.Generator().manual_seed(1)

    def draw() -> tuple[Tensor, Tensor]:
        x, y = (torch.randn(5, n, generator=generator, dtype=torch.float64) for n in (2, 3))
        return x, y.argmax(1) if classes else y

    return Task(draw(), draw())


def by_autograd(net, inner, outer, task, learned=()) -> dict[str, Tensor]:
    """The meta-gradient through a written unroll that adapts all but `learned`, by name."""
    theta = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    phi = {name: value for name, value in theta.items() if name not in learned}
    for _ in range(STEPS):
        held = {**theta, **phi}
        loss = inner(functional_call(net, held, task.support[:1]), task.support[1], held)
        grads = torch.autograd.grad(loss, list(phi.values()), create_graph=True)
        phi = {n: p - RATE * g for (n, p), g in zip(phi.items(), grads, strict=True)}
    held = {**theta, **phi}
    loss = outer(functional_call(net, held, task.query[:1]), task.query[1], held)
    return dict(zip(theta, torch.autograd.grad(loss, list(theta.values())), strict=True))


def decayed(p, y, parameters):
    return mse_loss(p, y) + 0.1 * sum(w.pow(2).sum() for w in parameters.values())


@pytest.mark.parametrize("outer", [decayed, mse_loss], ids=["both losses", "inner loss alone"])
@pytest.mark.parametrize("how", ["vmap", "loop"])
def test_weight_decay_of_what_adapts_is_in_the_meta_gradient(outer, how):
    net, task = network(), one_task()
    problem = mb.Problem.from_module(net, outer, inner_loss=decayed)
    per_task = mb.Vectorization(how).per_task(
        lambda at, one: mb.MAML(STEPS, mb.SGD(RATE))(problem, at, one).grad
    )

    (found,) = per_task(problem.theta, Task(*(tuple(v[None] for v in d) for d in task[:2])))

    last = decayed if outer is decayed else (lambda p, y, parameters: mse_loss(p, y))
    expected = problem.layouts.theta.flatten(by_autograd(net, decayed, last, task))
    assert oracles.relative(found, expected) < 1e-13


class WithCritic(nn.Module):
    """A network, and a small network that is its learned inner loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.critic = network(), nn.Linear(6, 1).double()
        self.decay = nn.Parameter(torch.tensor([-2.0], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def test_a_learned_loss_is_meta_learned():
    whole, task = WithCritic(), one_task()

    def inner(p, y, parameters):
        critic = {n[7:]: v for n, v in parameters.items() if n.startswith("critic.")}
        scores = functional_call(whole.critic, critic, (torch.cat([p, y], 1),))
        size = sum(v.pow(2).sum() for n, v in parameters.items() if n.startswith("net."))
        return scores.tanh().pow(2).mean() + parameters["decay"].exp().sum() * size

    problem = mb.Problem.from_module(
        whole, mse_loss, adapt=["net.*"], learn=["*"], inner_loss=inner
    )
    found = mb.MAML(STEPS, mb.SGD(RATE))(problem, problem.theta, task).grad

    learned = ("critic.weight", "critic.bias", "decay")
    expected = by_autograd(whole, inner, lambda p, y, _: mse_loss(p, y), task, learned)
    assert oracles.relative(found, problem.layouts.theta.flatten(expected)) < 1e-13
    assert all(expected[name].norm() > 1e-6 for name in learned)


NET, SCALE = network(), torch.ones(3, requires_grad=True)


class Weighted(nn.Module):
    """A loss with parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, p: Tensor, y: Tensor) -> Tensor:
        return self.scale * mse_loss(p, y)


class Unregistered(nn.Module):
    """A module that calls layers of a list, which torch doesn't know as its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.layers = nn.Linear(2, 4).double(), [nn.Linear(4, 3).double()]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[0](self.first(x))


OUTSIDE = {
    "decay of the module": (NET, lambda p, y: mse_loss(p, y) + NET[0].weight.pow(2).sum(),
                            "NET.0.weight beside"),
    "a prediction of the module": (NET, lambda p, y: mse_loss(p, y) + NET(torch.ones(1, 2).double()
                                                                          ).sum(),
                                   "NET.0.weight, NET.0.bias, NET.2.weight and 1 more"),
    "a scale": (NET, lambda p, y: (SCALE * (p - y) ** 2).mean(), "SCALE"),
    "a loss with parameters": (NET, Weighted(), "scale"),
    "layers in a list": (Unregistered(), mse_loss, "layers.0.weight, layers.0.bias"),
}  # fmt: skip


@pytest.mark.parametrize(("net", "loss", "names"), OUTSIDE.values(), ids=OUTSIDE.keys())
def test_gradients_beside_phi_and_theta_are_refused_by_name(net, loss, names):
    problem = mb.Problem.from_module(net, loss)
    task = Task(*(tuple(v[None] for v in data) for data in one_task()[:2]))
    subject = mb.Subject(problem, lambda address, seed: task, mb.MAML(), problem.theta)

    with pytest.raises(mb.InvalidInput, match=f"The inner loss has gradients in {names}"):
        mb.measure_checked(mb.Verify(tasks=1, thorough=False), subject)
    with pytest.raises(mb.InvalidInput, match=names):
        subject.meta_gradients(mb.Address.fresh(0, 1), 0)


class Held(nn.Module):
    """Parameters and a module in containers that torch doesn't know."""

    def __init__(self, held) -> None:
        super().__init__()
        self.layer, self.held = nn.Linear(2, 3), held

    def forward(self, x: Tensor) -> Tensor:
        mix = self.held["a"] if isinstance(self.held, dict) else self.held[0]
        return mix(self.layer(x)) if isinstance(mix, nn.Module) else self.layer(x) @ mix


UNREGISTERED = {
    "a list": (lambda: Held([nn.Parameter(torch.eye(3))]), r"held\.0"),
    "a dictionary": (lambda: Held({"a": torch.eye(3, requires_grad=True)}), r"held\.a"),
    "a list of modules": (lambda: Held([nn.Linear(3, 3)]), r"held\.0\.weight, held\.0\.bias"),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("make", "name"), UNREGISTERED.values(), ids=UNREGISTERED)
def test_parameters_that_are_not_registered_are_named_in_any_dtype(make, name, dtype):
    problem = mb.Problem.from_module(make(), mse_loss)
    task = Task(*(tuple(v[None] for v in data) for data in one_task()[:2]))
    subject = mb.Subject(problem, lambda address, seed: task, mb.MAML(), problem.theta.to(dtype))

    with pytest.raises(mb.InvalidInput, match=f"{name}, which the module uses.*nn.ParameterList"):
        subject.meta_gradients(mb.Address.fresh(0, 1), 0)


MISUSED = {
    "None": (lambda p, y: None, r"returned a NoneType.*`return` is missing"),
    "a tuple": (lambda p, y: (mse_loss(p, y), p), r"returned a tuple.*\[0\]"),
    "a float": (lambda p, y: mse_loss(p, y).item(), r"returned a float.*Leave out \.item"),
    "a count": (lambda p, y: (p > y).sum(), r"The loss is torch\.int64.*A count"),
    "a complex number": (lambda p, y: mse_loss(p, y) * 1j, r"The loss is torch\.complex64"),
    "no gradient": (lambda p, y: mse_loss(p.detach(), y), r"outer loss has no gradient.*detach"),
    "labels out of range": (lambda p, y: cross_entropy(p, torch.full((len(y),), 7)),
                            r"label in y is 7.*0 to C - 1.*prediction \(5, \d\) float32, y"),
    "other shapes": (lambda p, y: (p[:, :1] @ y[:2]).sum(), r"RuntimeError.*There, prediction \("),
}  # fmt: skip


@pytest.mark.parametrize(("loss", "words"), MISUSED.values(), ids=MISUSED)
def test_what_a_loss_may_not_return_is_refused_with_the_repair(loss, words):
    problem = mb.Problem.from_module(network().float(), loss)
    task = Task(*(tuple(v[None] for v in data) for data in one_task()[:2]))
    subject = mb.Subject(problem, lambda address, seed: task, mb.MAML(), problem.theta)

    with pytest.raises(mb.InvalidInput, match=words):
        subject.meta_gradients(mb.Address.fresh(0, 1), 0)


def keyword_only(*, prediction, target):
    return mse_loss(prediction, target)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (nn.MSELoss, r"is the class MSELoss; give an instance of it, MSELoss\(\)"),
        ("mse", r"The loss is 'mse' \(str\); give a function"),
        (keyword_only, r"Wrap it: lambda prediction, y: loss\(prediction=prediction, target=y\)"),
    ],
)
def test_a_loss_that_cannot_be_called_is_refused_with_how_to_wrap_it(loss, words):
    with pytest.raises(mb.InvalidInput, match=words):
        mb.Problem.from_module(network(), loss)


OUTPUTS = {
    "nothing": (lambda x: None, "^The module returned None: a `return` is missing"),
    "a tuple": (lambda x: (x, x), r"^The loss failed on what the module returned, of type tuple"),
}


@pytest.mark.parametrize(("forward", "words"), OUTPUTS.values(), ids=OUTPUTS)
def test_an_output_that_the_loss_cannot_take_is_named(forward, words):
    class Last(nn.Module):
        def forward(self, x: Tensor) -> object:
            return forward(x)

    problem = mb.Problem.from_module(nn.Sequential(nn.Linear(2, 2), Last()), mse_loss)
    task = Task(*(tuple(v[None] for v in data) for data in one_task()[:2]))
    subject = mb.Subject(problem, lambda address, seed: task, mb.MAML(), problem.theta)

    with pytest.raises(mb.InvalidInput, match=words):
        subject.meta_gradients(mb.Address.fresh(0, 1), 0)


WEIGHTS = torch.tensor([1.0, 2.0, 0.5])
WEIGHTED = [nn.CrossEntropyLoss(weight=WEIGHTS), functools.partial(cross_entropy, weight=WEIGHTS)]


@pytest.mark.parametrize("loss", WEIGHTED, ids=["module", "partial"])
def test_the_tensors_of_a_loss_follow_the_dtype_of_theta(loss):
    net, task = network(), one_task(classes=True)
    problem = mb.Problem.from_module(net.float(), loss)

    found = mb.MAML(STEPS, mb.SGD(RATE))(problem, problem.theta.double(), task).grad

    def exact(p, y, _):
        return cross_entropy(p, y, weight=WEIGHTS.double())

    expected = by_autograd(net.double(), exact, exact, task)
    assert oracles.relative(found, problem.layouts.theta.flatten(expected)) < 1e-13
    assert cast(task, problem.theta).support[0].dtype == torch.float32


SCORES = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.5], [1.0, 0.0, 3.0], [0.0, 0.0, 1.0]])
LABELS = torch.tensor([0, 0, 2, 1])  # right, wrong, right, wrong
PADDED = torch.tensor([0, -100, 2, -100])
SOFT = torch.tensor([[0.6, 0.2, 0.2], [0.8, 0.1, 0.1], [0.0, 0.0, 1.0], [0.3, 0.4, 0.3]])
BCE = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])


class Own(nn.CrossEntropyLoss):
    def forward(self, p: Tensor, y: Tensor) -> Tensor:
        return super().forward(p[:, ::2], y)


ACCURACIES = {
    "labels": (cross_entropy, LABELS, 0.5),
    "padding": (cross_entropy, PADDED, 1.0),
    "padding of a module": (nn.CrossEntropyLoss(ignore_index=0), LABELS, 0.5),
    "padding of a partial": (functools.partial(cross_entropy, ignore_index=1), LABELS, 2 / 3),
    "smoothing": (nn.CrossEntropyLoss(label_smoothing=0.2), LABELS, 0.5),
    "weights": (nn.CrossEntropyLoss(weight=WEIGHTS), LABELS, 0.5),
    "soft targets": (cross_entropy, SOFT, 0.5),
    "log-probabilities": (nll_loss, LABELS, 0.5),
    "several labels": (nn.BCEWithLogitsLoss(), BCE, 0.5),
    "one label": (nn.BCEWithLogitsLoss(), BCE[:, 0], 0.5),
    "the loss of a lambda": (lambda p, y: cross_entropy(p, y), LABELS, None),
    "a subclass with another forward": (Own(), LABELS, None),
    "regression": (mse_loss, SOFT, None),
}


@pytest.mark.parametrize(("loss", "y", "expected"), ACCURACIES.values(), ids=ACCURACIES.keys())
def test_accuracy_counts_what_the_loss_counts_and_is_given_only_where_it_is_known(
    loss, y, expected
):
    problem = mb.Problem.from_module(nn.Linear(3, 3), loss) if expected is None else None
    right = accuracy_of(loss)

    if problem is not None:
        assert right is problem.accuracy is None
        return
    scores = SCORES[:, 1] if y.shape == (4,) and y.is_floating_point() else SCORES
    scores = scores - 0.7 if "BCE" in type(loss).__name__ else scores
    found = right(scores, y)
    assert float(found) == pytest.approx(expected)
    assert torch.equal(torch.vmap(right)(scores[None], y[None]), found[None])


def test_the_accuracy_of_a_padded_sequence_leaves_padding_out():
    problem = mb.Problem.from_module(nn.Linear(4, 4), cross_entropy)
    identity = problem.layouts.theta.flatten({"weight": torch.eye(4), "bias": torch.zeros(4)})

    found = problem.accuracy(identity, identity, (SCORES.T[None], PADDED[None]))

    assert found == 1
