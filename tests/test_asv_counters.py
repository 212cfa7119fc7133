"""Do the counters that gate speed see what a clock on a busy machine does not?"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from metabench.autodiff import derivatives
from metabench.autodiff.operation_counts import work_of
from metabench.settings import registry

SUITES = Path(__file__).parent.parent / "benchmarks" / "asv"
WORSE = 1.1  # what benchmarks/gate.py flags


def suite(name: str = "meta_gradient"):
    spec = importlib.util.spec_from_file_location(name, SUITES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def counters(steps: int = 5) -> dict[str, int]:
    module = suite()
    run, theta, tasks = module.meta_gradient("maml sqrt", steps)
    gradients, products = module.derivatives(run, theta, tasks)
    return {
        **work_of(run, theta, tasks)._asdict(),
        "gradients": gradients,
        "products": products,
    }


@pytest.mark.parametrize(
    ("algorithm", "gradients", "products"),
    [("maml none", 5, 5), ("maml sqrt", 10, 5), ("fomaml", 5, 0)],
)
def test_derivatives_are_counted_as_the_algorithm_takes_them(algorithm, gradients, products):
    module = suite()

    assert module.derivatives(*module.meta_gradient(algorithm, 5)) == (gradients, products)


def test_a_slower_inner_step_is_flagged_and_the_same_commit_is_not(monkeypatch):
    """Every second inner gradient is taken twice: the work of the gradients grows by half."""
    before, again = counters(), counters()

    honest, calls = derivatives.gradient, iter(range(10**6))

    def slower(*args):
        if next(calls) % 2:
            honest(*args)
        return honest(*args)

    monkeypatch.setattr(derivatives, "gradient", slower)
    after = counters()

    assert again == before
    assert after["operations"] > WORSE * before["operations"]
    assert after["flops"] > WORSE * before["flops"]


def test_every_probe_has_its_counters():
    probes = suite("probes")
    assert {*probes.SETTINGS} == {*registry.members("probes")}

    suite_of_all = probes.Probes()
    suite_of_all.setup("verify")

    gradients = suite_of_all.track_gradients("verify")
    assert gradients > 0
    assert gradients == suite_of_all.track_gradients("verify")
    assert suite_of_all.track_products("verify") > 0
