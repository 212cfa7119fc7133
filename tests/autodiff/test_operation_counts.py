"""Are counts correct, and the choices based on them reproducible?"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import cases
import pytest
import torch

from metabench.algorithms.adapt import adapt, backpropagate
from metabench.algorithms.inner_optimizers.adam import Adam
from metabench.algorithms.maml import MAML
from metabench.autodiff.operation_counts import MOST_BYTES_AT_ONCE, Work, work_of
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import LOOP_FROM_BYTES, Vectorization
from metabench.families.sinusoid import Sinusoid
from metabench.settings.errors import InvalidInput

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_a_matrix_product_is_counted_by_hand():
    a, b = torch.ones(3, 5), torch.ones(5, 7)

    work = work_of(lambda: (a @ b).relu().sum())

    assert work.operations == 3
    assert work.flops == 2 * 3 * 5 * 7
    # the product and its relu live together; then the relu and the sum do
    assert work.bytes == 4 * (3 * 7 + 3 * 7)


def test_freed_memory_is_not_counted():
    a = torch.ones(1000)

    def chain():
        x = a
        for _ in range(20):
            x = x + 1
        return x

    assert work_of(chain).bytes == 2 * 4 * 1000


def test_counting_does_not_import_the_compiler():
    code = (
        "import sys, torch; from metabench.autodiff.operation_counts import work_of; "
        "work_of(lambda: torch.ones(2) + 1); print('torch._dynamo' in sys.modules)"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "False"


@pytest.mark.parametrize("step", cases.STEPS.values(), ids=cases.STEPS.keys())
@pytest.mark.parametrize("kind", ["plain", "batch norm", "layer norm"])
def test_every_rematerialization_gives_the_same_bits(kind, step):
    problem, task, theta = _one(kind)
    kept = MAML(steps=4, inner_optimizer=step, rematerialize="none")

    found = replace(kept, rematerialize="sqrt")(problem, theta, task)

    assert torch.equal(found.grad, kept(problem, theta, task).grad)


@pytest.mark.parametrize("truncate", [-1, 5])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_recomputing_segments_gives_the_same_bits(name, truncate):
    problem, task, theta = _one("batch norm")
    kept = MAML(
        steps=38, inner_optimizer=cases.STEPS[name], rematerialize="none"
    )  # 13 stretches, the last of two

    found = replace(kept, rematerialize="sqrt", truncate=truncate)(problem, theta, task)

    recomputed = replace(kept, truncate=truncate)
    if truncate == -1:
        assert torch.equal(found.grad, recomputed(problem, theta, task).grad)
    iterates = adapt(kept.inner_optimizer, 38, problem, theta, task)
    v = torch.func.grad(problem.outer_loss)(iterates.last, theta, task.query)
    kept_vjps = iterates.vjps[38 - truncate :] if truncate > 0 else iterates.vjps
    cut = iterates._replace(vjps=kept_vjps)
    assert torch.equal(found.notes["norms"], backpropagate(cut, theta, v).norms)


def _one(kind):
    problem = cases.problem(kind)
    return problem, cases.one(cases.tasks(1), 0), cases.theta(problem)


@pytest.mark.parametrize(
    ("step", "slots"), [(MAML().inner_optimizer, 0), (Adam(), 2)], ids=["sgd", "adam"]
)
def test_recomputed_memory_grows_by_the_inner_iterates_only(step, slots):
    """From K = 1 to 50 the peak grows by at most 1.2 x (1 + slots) P numbers a step; by less."""
    family = Sinusoid()
    problem, theta = family.problem(), family.theta(0)
    task = cases.one(Subject(problem, family.sample, MAML(), theta).draw(cases.fresh(1), 0), 0)

    def peak(steps, rematerialize):
        maml = MAML(steps=steps, inner_optimizer=step, rematerialize=rematerialize)
        return work_of(maml, problem, theta, task).bytes

    iterates = 49 * (1 + slots) * theta.numel() * theta.element_size()
    assert peak(50, "sqrt") - peak(1, "sqrt") <= 0.5 * iterates


def test_the_sinusoid_too_holds_less_than_a_quarter_of_a_plain_unroll():
    """Its ten shots have fewer activations than the network has parameters."""
    family = Sinusoid()
    problem, theta = family.problem(), family.theta(0)
    task = cases.one(Subject(problem, family.sample, MAML(), theta).draw(cases.fresh(1), 0), 0)

    def unrolled(theta):
        phi = theta
        for _ in range(50):
            phi = phi - 0.01 * torch.func.grad(problem.inner_loss)(phi, theta, task.support)
        return problem.outer_loss(phi, theta, task.query)

    ours = work_of(MAML(steps=50, rematerialize="sqrt"), problem, theta, task).bytes

    assert ours < work_of(torch.func.grad(unrolled), theta).bytes / 4


def test_batching_follows_the_counted_work():
    small, large = Work(100, 10, 1000), Work(100, 10, LOOP_FROM_BYTES + 1)

    assert Vectorization().resolved(small, CPU).batching == "vmap"
    assert Vectorization().resolved(large, CPU).batching == "loop"
    assert Vectorization().resolved(large, CUDA).batching == "vmap"
    assert Vectorization("vmap").resolved(large, CPU).batching == "vmap"


def test_chunk_and_rematerialization_fit_in_memory():
    half = Work(100, 10, MOST_BYTES_AT_ONCE // 300)
    compute = Vectorization("vmap", 512).resolved(half, CPU)
    assert compute.chunk == 256
    assert MAML().resolved(half, compute.together).rematerialize == "none"

    huge = Work(100, 10, MOST_BYTES_AT_ONCE // 20)
    compute = Vectorization("vmap", 512).resolved(huge, CPU)
    assert compute.chunk == 32
    assert MAML().resolved(huge, compute.together).rematerialize == "sqrt"
    assert MAML(rematerialize="none").resolved(huge, compute.together).rematerialize == "none"


def test_an_unknown_rematerialization_is_rejected():
    with pytest.raises(InvalidInput, match="auto, none, every_step, sqrt"):
        MAML(rematerialize="store")
