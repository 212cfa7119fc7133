"""Are modules that change between calls refused, and shapes that broadcast named?"""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn.functional import mse_loss

import metabench as mb
from metabench.cli.main import main
from metabench.problems.networks.functional_module import FunctionalModule
from metabench.problems.networks.module_call import examine_call
from metabench.problems.networks.user_loss import user_loss
from metabench.problems.parameter_layout import Layouts
from metabench.problems.tasks import Address


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.ones(()))
        self.linear, self.hidden, self.seen = nn.Linear(3, 1), None, []


class InPlace(Base):
    def forward(self, x):
        self.calls += 1
        return self.linear(x) / self.calls.clone()


class Replaced(Base):
    def forward(self, x):
        self.calls = self.calls + 1
        return self.linear(x) / self.calls


class Attribute(Base):
    def forward(self, x):
        before = 0.0 if self.hidden is None else self.hidden
        self.hidden = torch.tanh(self.linear(x)) + before
        return self.hidden


class Growing(Base):
    def forward(self, x):
        self.seen.append(1)
        return self.linear(x) * len(self.seen)


class Harmless(Base):
    """Keeps what others read, as attention weights are kept for a plot, and a count."""

    def forward(self, x):
        self.calls += 1
        self.hidden = self.linear(x)
        self.seen.append(self.hidden.detach())
        return self.hidden


class CachedWeights(Base):
    """Keeps a product of its first call's weights, which are not adapted then."""

    def forward(self, x):
        if self.hidden is None:
            self.hidden = 2 * self.linear.weight
        return x @ self.hidden.T + self.linear.bias


class FirstBatch(Base):
    """Is initialized by the statistics of its first input."""

    def forward(self, x):
        if self.hidden is None:
            self.hidden = x.detach().mean(0)
        return self.linear(x - self.hidden)


def draw(indices, seed, y_shape=(4, 1)):
    numbers = torch.Generator().manual_seed(7)
    x, y = (torch.randn(len(indices), *shape, generator=numbers) for shape in ((4, 3), y_shape))
    return (x, y), (x + 1, y)


def subject(net, loss=mse_loss, **shape):
    problem = mb.Problem.from_module(net, loss)
    sample = mb.Indexed(lambda indices, seed: draw(indices, seed, **shape))
    return mb.Subject(problem, sample, mb.MAML(2), problem.theta, mb.Vectorization("loop"))


def checked(found):
    return mb.find(
        probe := mb.Verify(tasks=2, thorough=False),
        mb.to_table(probe.measure(found, 0, lambda *_: None)),
    )


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (InPlace, "calls"),
        (Replaced, "calls"),
        (Attribute, "hidden"),
        (Growing, "seen"),
        (CachedWeights, "hidden"),
        (FirstBatch, "hidden"),
    ],
)
def test_a_module_that_changes_between_calls_is_refused_by_name(module, name):
    words = f"changes {name} between calls, so its output changes"

    with pytest.raises(mb.InvalidInput, match=words):
        subject(module()).meta_gradients(Address.fresh(0, 2), 0)
    with pytest.raises(mb.InvalidInput, match=words):
        checked(subject(module()))


class Teacher(Base):
    """Averages its weights in a frozen copy, as a momentum teacher does."""

    def __init__(self):
        super().__init__()
        self.teacher = nn.Linear(3, 1).requires_grad_(False)

    def forward(self, x):
        with torch.no_grad():
            self.teacher.weight.lerp_(self.linear.weight, 0.1)
        return self.linear(x) + self.teacher(x)


class Clamped(Base):
    def forward(self, x):
        self.linear.weight.data.clamp_(-0.1, 0.1)
        return self.linear(x)


class Switching(Base):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        self.norm.eval()
        return self.linear(self.norm(x))


class Python(Base):
    def forward(self, x):
        return self.linear(x) * (2 if random.random() < 0.5 else 1)


class Numpy(Base):
    def forward(self, x):
        return self.linear(x) * float(np.random.rand())  # ruff: ignore[numpy-legacy-random]


class Own(Base):
    numbers = np.random.default_rng(0)

    def forward(self, x):
        return self.linear(x) * float(self.numbers.random())


class Seeded(Base):
    def forward(self, x):
        random.seed(0)
        return self.linear(x) * random.random()


VARYING = {
    Teacher: "changes teacher.weight between calls",
    Clamped: "changes linear.weight in place, which are adapted or learned.*clamp",
    Switching: r"switches norm between training and evaluation.*\.eval\(\)",
    Python: r"^The module draws random numbers \(Python's random\).*in the sampler",
    Numpy: r"^The module draws random numbers \(NumPy's random numbers\).*in the sampler",
    Own: "^The module gives another value when it is called again.*in the sampler",
}


@pytest.mark.parametrize(("module", "words"), VARYING.items())
def test_a_module_that_is_no_function_of_its_parameters_is_refused_by_its_cause(module, words):
    state = random.getstate()

    with pytest.raises(mb.InvalidInput, match=words):
        subject(module()).meta_gradients(Address.fresh(0, 2), 0)
    with pytest.raises(mb.InvalidInput, match=words):
        checked(subject(module()))

    assert random.getstate() == state


def test_a_loss_that_draws_random_numbers_is_refused():
    def noisy(prediction, y):
        return mse_loss(prediction, y) * (1 + random.random())

    with pytest.raises(mb.InvalidInput, match=r"^The loss draws random numbers \(Python's random"):
        checked(subject(nn.Linear(3, 1), noisy))


def test_numbers_of_a_generator_that_each_call_seeds_are_no_fault():
    assert subject(Seeded()).meta_gradients(Address.fresh(0, 2), 0).grad.any()


class Auxiliary(Base):
    """Leaves a part of the loss on itself, as a variational or a mixture model may."""

    def forward(self, x):
        self.hidden = self.linear(x)
        return self.hidden


def penalty(net):
    return lambda output, y: mse_loss(output, y) + net.hidden.square().mean()


def size_of(net):
    return lambda output, y: mse_loss(output, y) * net.linear.in_features


def test_a_loss_that_reads_what_forward_left_on_the_module_is_refused_by_name():
    net = Auxiliary()
    net.hidden = torch.zeros(())

    with pytest.raises(mb.InvalidInput, match="The loss reads hidden of the module"):
        subject(net, penalty(net)).meta_gradients(Address.fresh(0, 2), 0)


def test_a_loss_may_read_what_forward_does_not_assign():
    net = Auxiliary()

    assert subject(net, size_of(net)).meta_gradients(Address.fresh(0, 2), 0).grad.any()


def test_state_that_the_output_does_not_depend_on_is_no_fault():
    found = subject(Harmless())

    grads = found.meta_gradients(Address.fresh(0, 2), 0).grad

    plain = subject(nn.Sequential(nn.Linear(3, 1))).at(found.theta)
    assert torch.equal(grads, plain.meta_gradients(Address.fresh(0, 2), 0).grad)


def test_an_examination_leaves_the_module_as_it_was():
    problem = mb.Problem.from_module(Attribute(), mse_loss)
    phi, support = problem.theta, draw([0], 0)[0]
    data = tuple(part[0] for part in support)

    before = problem.outer_loss(phi, phi, data)
    seen = [problem.examine(phi, phi, data).changed for _ in range(2)]

    assert seen == [("hidden",), ("hidden",)]
    assert not torch.equal(problem.outer_loss(phi, phi, data), before)  # that is its own state


def test_what_a_list_a_dictionary_and_a_buffer_held_is_put_back():
    class Filling(Base):
        def __init__(self):
            super().__init__()
            self.known = {"calls": 0}

        def forward(self, x):
            self.calls += 1
            self.seen.append(1)
            self.known["calls"] += 1
            self.new = x
            return self.linear(x) * self.known["calls"]

    net = Filling()
    layout = mb.Layout.from_tensors(dict(net.named_parameters()))
    module = FunctionalModule(net, Layouts(layout, layout), dict(net.named_buffers()), direct=False)
    phi, known, x = layout.flatten(dict(net.named_parameters())), net.known, torch.ones(4, 3)

    call = examine_call(module, (user_loss(lambda p, y: p.sum()),), phi, phi, (x, x))

    assert call.changed == ("calls", "seen", "known", "new")
    assert net.known is known == {"calls": 0}
    assert (net.seen, float(net.calls)) == ([], 1.0)
    assert not hasattr(net, "new")


@pytest.mark.parametrize(
    ("net", "y_shape", "shapes"),
    [
        (nn.Linear(3, 1), (4,), "prediction (4, 1), y (4,), together (4, 4)"),
        (nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), (4, 1), "prediction (4,), y (4, 1)"),
    ],
)
@pytest.mark.parametrize("loss", [mse_loss, lambda p, y: (p - y).abs().pow(3).mean()])
def test_a_prediction_that_is_compared_with_every_target_is_a_warning(net, y_shape, shapes, loss):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of mse_loss
        findings = checked(subject(net, loss, y_shape=y_shape))

    (said,) = [each for each in findings if each.name == "broadcast"]
    assert shapes in said.claim
    assert (said.level, said.state) == ("warning", "fault")


@pytest.mark.parametrize(
    ("loss", "y_shape"),
    [(mse_loss, (4, 1)), (lambda p, y: mse_loss(p.squeeze(-1), y), (4,)),
     (lambda p, y: mse_loss(p.reshape(-1), y.reshape(-1)), (4,)),
     (lambda p, y: mse_loss(p.sum(-1), y), (4,)), (lambda p, y: mse_loss(p[..., 0], y), (4,)),
     (lambda p, y: (p.std() - y.std()).square(), (4,))],
)  # fmt: skip
def test_shapes_that_a_loss_makes_equal_are_no_fault(loss, y_shape):
    findings = checked(subject(nn.Linear(3, 1), loss, y_shape=y_shape))

    assert [each.name for each in findings if each.name == "broadcast"] == []


def test_the_command_says_it_in_place_of_torchs_warning(tmp_path, monkeypatch):
    (tmp_path / "my.py").write_text(
        "import torch, metabench as mb\n"
        "def draw(indices, seed):\n"
        "    x, y = torch.randn(len(indices), 4, 3), torch.randn(len(indices), 4)\n"
        "    return (x, y), (x, y)\n"
        "problem = mb.Problem.from_module(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss,\n"
        "    tasks=mb.Indexed(draw))\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    options = ["--set", "probe.tasks=2", "--set", "probe.thorough=false"]

    # in this suite a warning is an error
    result = CliRunner().invoke(main, ["verify", "--problem", "my.py:problem", *options])

    assert result.exit_code == 0, result.output
    assert "compares every prediction with every target" in " ".join(result.output.split())
