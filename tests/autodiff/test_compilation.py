"""Do traced and compiled functions give the same results?"""

from __future__ import annotations

import time
import warnings

import cases
import pytest
import torch

from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.autodiff import compilation
from metabench.estimation.vectorization import Vectorization


def meta_gradient(kind: str, steps: int = 2):
    problem, maml = cases.problem(kind), MAML(steps=steps, inner_optimizer=SGD(rate=0.1))
    return problem, lambda theta, task: maml(problem, theta, task)


@pytest.mark.parametrize("how", ["vmap", "loop"])
@pytest.mark.parametrize("kind", ["plain", "batch norm", "layer norm"])
def test_a_traced_meta_gradient_has_the_bits_of_the_eager_one(kind, how):
    problem, function = meta_gradient(kind)
    theta, many = cases.theta(problem), cases.tasks(5)

    traced = Vectorization(how, engine="trace").per_task(function)
    traced(cases.theta(problem, seed=1), cases.tasks(5, seed=1))  # what it is traced on

    expected = Vectorization(how, engine="eager").per_task(function)(theta, many)
    found = traced(theta, many)
    assert torch.equal(found.grad, expected.grad)
    assert torch.equal(found.notes["norms"], expected.notes["norms"])


def test_a_compiled_meta_gradient_is_the_eager_one_to_round_off():
    from torch._dynamo.utils import counters

    counters.clear()
    problem, function = meta_gradient("plain", steps=1)
    theta, many = cases.theta(problem), cases.tasks(3)

    with warnings.catch_warnings(record=True) as said:  # torch's own deprecations
        warnings.simplefilter("always")
        compiled = Vectorization("vmap", engine="compile").per_task(function)
        found = compiled(theta, many)

    assert not [w for w in said if "metabench could not" in str(w.message)]
    assert sum(counters["inductor"][f"fxgraph_cache_{found}"] for found in ("hit", "miss")) == 1
    expected = Vectorization("vmap", engine="eager").per_task(function)(theta, many)
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-12, atol=1e-14)


def test_what_was_compiled_once_comes_from_the_cache():
    """Tests share the cache; a random factor makes the first function new."""
    from torch._dynamo.utils import counters

    own, found = float(time.time_ns()), []

    for _ in range(2):  # what inductor keeps is on disk, for other processes too
        torch._dynamo.reset()
        counters.clear()
        compilation.accelerate(lambda x: (own * x.sin() @ x).cos().sum(), "compile")(
            torch.ones(7, 7)
        )
        found.append(
            (counters["inductor"]["fxgraph_cache_hit"], counters["inductor"]["fxgraph_cache_miss"])
        )

    assert found == [(0, 1), (1, 0)]


def test_results_of_a_traced_function_can_be_differentiated_and_modified():
    run = compilation.accelerate(lambda x: 2 * x, "trace")
    x = torch.ones(3)

    run(x)
    weight = torch.ones(3, requires_grad=True)
    (weight * run(x)).sum().backward()

    assert torch.equal(weight.grad, torch.full((3,), 2.0))
    assert torch.equal(run(x).add_(1), torch.full((3,), 3.0))


def test_arguments_that_are_one_tensor_when_traced_may_differ_later():
    """By identity alone, x - 2y at (a, a) would be a function of one argument."""
    a = torch.ones(3)

    run = compilation.accelerate(lambda x, y: x - 2 * y, "trace")

    run(a, a)
    assert torch.equal(run(torch.full((3,), 3.0), a), torch.ones(3))


def test_the_last_chunk_is_padded_rather_than_traced_separately():
    problem, function = meta_gradient("plain")
    theta, many, shapes = cases.theta(problem), cases.tasks(10), []

    def counted(at, task):
        shapes.append(1)  # vmap calls it once for every chunk that isn't replayed
        return function(at, task)

    found = Vectorization("vmap", 4, "trace").per_task(counted)(theta, many)

    assert len(shapes) == 2  # once to trace, once to compare
    expected = Vectorization("vmap", 10, "eager").per_task(function)(theta, many)
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-12, atol=1e-14)


def test_auto_traces_and_compiles_after_the_break_even_calls():
    """Eager calls run the Python function, traced ones do not."""
    seen = []

    def function(x):
        seen.append(len(x))
        return 2 * x

    run = compilation.accelerate(function, "auto", compilation.BreakEven(trace=4, compile=10_000))
    for _ in range(10):
        run(torch.ones(3))
    run(torch.ones(5))

    # four eager calls, one to trace and one to compare; another shape counts for itself
    assert seen == [3] * 6 + [5]


@pytest.mark.parametrize("word", ["trace", "compile"])
def test_a_function_that_cannot_be_traced_runs_eagerly_and_the_warning_names_the_cause(word):
    def branching(x):
        if x.sum() > 0:
            return x + 1
        return x - 1

    run = compilation.accelerate(branching, word)

    with pytest.warns(RuntimeWarning, match=rf"could not {word} .*reads a tensor.s value"):
        first = run(torch.ones(2))
    assert torch.equal(first, torch.full((2,), 2.0))
    assert torch.equal(run(-torch.ones(2)), torch.full((2,), -2.0))


def test_auto_goes_on_eagerly_without_a_word_where_nothing_can_be_traced():
    run = compilation.accelerate(
        lambda x: x if x.sum() > 0 else -x, "auto", compilation.BreakEven(trace=1, compile=2)
    )

    for _ in range(4):
        assert torch.equal(run(-torch.ones(2)), torch.ones(2))


def test_a_function_that_depends_on_more_than_its_arguments_is_not_frozen():
    calls = iter(range(100))

    run = compilation.accelerate(lambda x: x + next(calls), "trace")

    with pytest.warns(RuntimeWarning, match="more than its input"):
        first = run(torch.zeros(()))
    assert torch.equal(run(torch.zeros(())), first + 1)


@pytest.mark.parametrize("lost", [float("nan"), float("inf")])
def test_a_result_that_loses_a_number_is_not_the_same(lost):
    right = torch.tensor([1.0, 2.0])

    with pytest.raises(ArithmeticError, match="results differ"):
        compilation._check_same([right], [torch.tensor([1.0, lost])], exactly=False)
