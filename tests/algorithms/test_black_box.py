"""Can an estimator written with another library, or as a plain loop, be measured unchanged?"""

from __future__ import annotations

import copy
import importlib
import warnings

import numpy as np
import oracles
import pytest
import torch
from black_boxes import NET, PROBLEM, RATE, STEPS, batched, plain_loop, subject
from torch.nn.functional import mse_loss as mse

from metabench.algorithms.black_box import BlackBox
from metabench.algorithms.fomaml import FOMAML
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.algorithms.returned_estimate import loss_and_gradient
from metabench.probes.variance import Variance
from metabench.problems.parameter_layout import Layout
from metabench.problems.tasks import Address
from metabench.records.rows import from_table, to_table
from metabench.settings.errors import InvalidInput


def library(name: str):
    """Import another library with its warnings about torch ignored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError as error:
            pytest.skip(f"{name} isn't installed here: {error}")


def with_higher(theta, task):
    """The same, with higher (Grefenstette et al., 2019)."""
    higher = library("higher")
    net = copy.deepcopy(NET)
    net.load_state_dict(theta)
    inner = torch.optim.SGD(net.parameters(), lr=RATE)
    with higher.innerloop_ctx(net, inner) as (fast, optimizer):
        for _ in range(STEPS):
            optimizer.step(mse(fast(task.support[0]), task.support[1]))
        outer = mse(fast(task.query[0]), task.query[1])
        return outer, torch.autograd.grad(outer, list(fast.parameters(time=0)))


def with_torchopt(theta, task):
    """The same, with TorchOpt (Ren et al., 2022)."""
    torchopt = library("torchopt")
    net = copy.deepcopy(NET)
    net.load_state_dict(theta)
    leaves = list(net.parameters())
    optimizer = torchopt.MetaSGD(net, lr=RATE)
    for _ in range(STEPS):
        optimizer.step(mse(net(task.support[0]), task.support[1]))
    outer = mse(net(task.query[0]), task.query[1])
    return outer, torch.autograd.grad(outer, leaves)


@pytest.mark.parametrize("written", [plain_loop, with_higher, with_torchopt])
def test_other_libraries_and_a_plain_loop_give_our_meta_gradient(written):
    ours, theirs = subject(MAML(STEPS, SGD(RATE))), subject(BlackBox(written))
    address = Address.fresh(0, 3)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = theirs.meta_gradients(address, seed=0)

    expected = ours.meta_gradients(address, seed=0)
    assert oracles.relative(found.grad, expected.grad) < 1e-12
    torch.testing.assert_close(found.loss, expected.loss)
    assert found.phi.shape == (3, 0)


@pytest.mark.parametrize("written", [plain_loop, with_higher])
def test_the_variance_probe_measures_them_as_it_does_ours(written):
    probe = Variance(tasks=32, batch=4)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = to_table(probe.measure(subject(BlackBox(written)), seed=0))

    ours = to_table(probe.measure(subject(MAML(STEPS, SGD(RATE))), seed=0))
    for quantity in ("variance", "noise_scale", "slope"):
        for a, b in zip(from_table(theirs, quantity), from_table(ours, quantity), strict=True):
            assert a.value == pytest.approx(b.value, rel=1e-9)
    assert probe.find(theirs)


def test_a_batched_estimator_is_called_on_whole_batches():
    sizes = []

    def counting(theta, tasks):
        sizes.append(len(tasks.query[0]))
        return batched(theta, tasks)

    theirs, ours = subject(BlackBox(counting, batched=True)), subject(MAML(STEPS, SGD(RATE)))
    address = Address.fresh(0, 8)

    found = torch.cat(list(theirs.estimates(address, 0, 4)))

    expected = torch.cat(list(ours.estimates(address, 0, 4)))
    assert sizes == [4, 4]
    assert oracles.relative(found, expected) < 1e-12
    alone = theirs.meta_gradients(address, 0)
    assert oracles.relative(alone.grad, ours.meta_gradients(address, 0).grad) < 1e-12
    assert alone.loss.isnan().all()


@pytest.mark.parametrize(
    "form",
    [
        lambda loss, grads: (loss, grads),
        lambda loss, grads: (loss.item(), list(grads)),
        lambda loss, grads: (None, torch.cat([g.reshape(-1) for g in grads])),
        lambda loss, grads: dict(zip(PROBLEM.layouts.theta.names, grads, strict=True)),
        lambda loss, grads: torch.cat([g.reshape(-1) for g in grads]),
    ],
)
def test_a_gradient_may_be_a_vector_a_dictionary_or_a_list(form):
    estimator = BlackBox(lambda theta, task: form(*plain_loop(theta, task)))

    found = subject(estimator).meta_gradients(Address.fresh(0, 2), 0).grad

    expected = subject(MAML(STEPS, SGD(RATE))).meta_gradients(Address.fresh(0, 2), 0).grad
    assert oracles.relative(found, expected) < 1e-12


def test_theta_is_a_copy_that_the_estimator_may_overwrite():
    def overwriting(theta, task):
        found = plain_loop(theta, task)
        for value in theta.values():
            value.data.zero_()
        return found

    overwritten = subject(BlackBox(overwriting))

    first, second = (overwritten.meta_gradients(Address.fresh(0, 2), 0).grad for _ in range(2))

    assert torch.equal(first, second)


def test_the_subject_states_what_a_black_box_cannot_provide():
    words = subject(BlackBox(plain_loop)).withheld

    assert any("Hessians and adapted parameters are not available" in each for each in words)


@pytest.mark.parametrize(
    ("gives", "words"),
    [
        (lambda theta, task: torch.zeros(3), r"a gradient of shape \(3,\).*one vector of 38"),
        (lambda theta, task: None, "a gradient of type NoneType"),
        (lambda theta, task: (torch.zeros(2), torch.zeros(38)), r"a loss of shape \(2,\)"),
        (lambda theta, task: [torch.zeros(3)], "returned 1 gradients; theta has 4 parts: 0.w"),
        (lambda theta, task: {"0.weight": torch.zeros(6, 3)}, "0.bias: given nothing, expected"),
    ],
)
def test_an_invalid_gradient_is_rejected_with_a_message(gives, words):
    with pytest.raises(InvalidInput, match=words):
        subject(BlackBox(gives)).meta_gradients(Address.fresh(0, 1), 0)


PAIR = Layout.from_tensors({"weight": torch.zeros(3), "scale": torch.zeros(())})
THETA = torch.tensor([1.0, 2.0, 3.0, 4.0])
WEIGHT, SCALE = torch.tensor([0.1, 0.2, 0.3]), torch.tensor(0.4)


@pytest.mark.parametrize(
    ("returned", "loss", "grad"),
    [
        ((WEIGHT, SCALE), None, [0.1, 0.2, 0.3, 0.4]),  # as torch.autograd.grad returns it
        ((torch.tensor(5.0), torch.cat([WEIGHT, SCALE[None]])), 5.0, [0.1, 0.2, 0.3, 0.4]),
        ((torch.tensor(5.0), (WEIGHT, SCALE)), 5.0, [0.1, 0.2, 0.3, 0.4]),
        ((5.0, {"weight": WEIGHT, "scale": None}), 5.0, [0.1, 0.2, 0.3, 0.0]),
        ((WEIGHT, None), None, [0.1, 0.2, 0.3, 0.0]),
        ((None, SCALE), None, [0.0, 0.0, 0.0, 0.4]),
        ((None, [WEIGHT, None]), None, [0.1, 0.2, 0.3, 0.0]),
        ([None, SCALE], None, [0.0, 0.0, 0.0, 0.4]),
    ],
)
def test_a_pair_is_read_by_the_shapes_of_two_parts(returned, loss, grad):
    found_loss, found = loss_and_gradient(returned, PAIR, THETA)

    assert torch.equal(found, torch.tensor(grad))
    assert torch.equal(found_loss.isnan(), torch.tensor(loss is None))
    assert loss is None or float(found_loss) == pytest.approx(loss)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ((None, None), "a gradient of type NoneType"),
        ((5.0, (None, None)), "None as the gradient of every part.*create_graph=True"),
        ((5.0, (WEIGHT, torch.zeros(2))), r"scale: given \(2,\), expected \(\)"),
        ((5.0, (WEIGHT, 0.4)), r"scale: given type float, expected \(\)"),
        (("5", (WEIGHT, SCALE)), "a loss of type str"),
        ((WEIGHT, WEIGHT), r"a loss of shape \(3,\)"),
    ],
)
def test_what_is_no_estimate_of_two_parts_is_rejected_with_a_message(returned, words):
    with pytest.raises(InvalidInput, match=words):
        loss_and_gradient(returned, PAIR, THETA)


def test_a_first_order_loop_is_fomaml():
    """create_graph=False, which some repositories call MAML."""
    estimator = BlackBox(lambda theta, task: plain_loop(theta, task, create_graph=False))

    found = subject(estimator).meta_gradients(Address.fresh(0, 2), 0).grad

    # differentiating phi_K in theta without the graph leaves the identity: FOMAML exactly
    expected = subject(FOMAML(STEPS, SGD(RATE))).meta_gradients(Address.fresh(0, 2), 0).grad
    assert oracles.relative(found, expected) < 1e-12


PARTS = Layout(("a", "b", "c"), ((2,), (2, 2), ()))
GRADS = (torch.tensor([1.0, 2.0]), torch.tensor([[3.0, 4.0], [5.0, 6.0]]), torch.tensor(7.0))
FORMS = {
    "arrays": lambda: [each.numpy() for each in GRADS],
    "a dictionary of arrays": lambda: dict(zip("abc", [x.numpy() for x in GRADS], strict=True)),
    "one array": lambda: torch.arange(1.0, 8.0).numpy(),
    "numbers": lambda: [1.0, 2, 3.0, 4.0, 5.0, 6.0, 7.0],
    "nested lists": lambda: [each.tolist() for each in GRADS[:2]] + [GRADS[2]],
    "an iterator": lambda: iter(GRADS),
    "sparse": lambda: [GRADS[0].to_sparse(), GRADS[1].to_sparse(), GRADS[2]],
    "with a graph": lambda: [each.clone().requires_grad_() * 1 for each in GRADS],
}


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("loss", [2.0, 2, np.float32(2), np.array(2.0), torch.tensor(2.0)])
def test_every_form_of_a_gradient_and_a_loss_is_read(make, loss):
    value, grad = loss_and_gradient((loss, make()), PARTS, torch.zeros(7))

    assert torch.equal(value, torch.tensor(2.0, dtype=value.dtype))
    assert torch.equal(grad, torch.arange(1.0, 8.0))
    assert not grad.requires_grad


WRONG_NUMBERS = {
    "integers": (None, torch.ones(7, dtype=torch.long), r"gradient of dtype torch\.int64"),
    "complex": (None, torch.ones(7) * 1j, r"gradient of dtype torch\.complex64.*real part"),
    "a complex loss": (torch.tensor(1j), torch.ones(7), r"loss of dtype torch\.complex64"),
    "a count": (torch.tensor(3), torch.ones(7), r"loss of dtype torch\.int64.*counts"),
    "true": (True, torch.ones(7), r"loss of type bool.*\(loss, gradient\), in this order"),
    "no values": (None, torch.ones(7, device="meta"), "without values"),
}


@pytest.mark.parametrize(("loss", "grad", "words"), WRONG_NUMBERS.values(), ids=WRONG_NUMBERS)
def test_what_is_no_real_number_is_refused_and_never_cast(loss, grad, words):
    with pytest.raises(InvalidInput, match=words):
        loss_and_gradient((loss, grad), PARTS, torch.zeros(7))


NO_ESTIMATORS = {
    "a module": (torch.nn.Linear(2, 1), r"Linear is a module.*Problem\.from_module.*--algo maml"),
    "a class": (dict, "dict is a class, and a black box is a function"),
    "a number": (5, "5 is of type int, and a black box is a function"),
    "of one argument": (lambda theta: None, r"takes \(theta\), but a black box is"),
}


@pytest.mark.parametrize(("function", "words"), NO_ESTIMATORS.values(), ids=NO_ESTIMATORS)
def test_what_is_no_function_of_theta_and_a_task_is_refused_when_it_is_given(function, words):
    with pytest.raises(InvalidInput, match=words):
        BlackBox(function)
