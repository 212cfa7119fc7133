"""Is a sample in a file the sample in memory, and does a budget bound what is computed together?"""

from __future__ import annotations

import numpy as np
import pytest

from metabench.algorithms.maml import MAML
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization
from metabench.families.quadratic import Quadratic
from metabench.families.sinusoid import Sinusoid
from metabench.probes.base import Part
from metabench.probes.variance import Variance, collect
from metabench.problems.tasks import Address
from metabench.settings.errors import InvalidInput
from metabench.stats.moments import Moments


def subject(family, chunk=16, engine="auto") -> Subject:
    theta = family.theta(0).float()
    return Subject(
        family.problem(), family.sample, MAML(), theta, Vectorization("auto", chunk, engine)
    )


@pytest.mark.parametrize("size", [1, 4])
def test_what_does_not_fit_goes_through_a_file_unchanged(size, monkeypatch):
    monkeypatch.setattr(collect, "NUMBERS_PER_BLOCK", 64 * 100)  # several blocks of columns a layer
    of, address = subject(Sinusoid(hidden=(20, 20))), Address.fresh(0, 64)
    layout = of.problem.layouts.theta

    samples = [collect.gather(of, address, 0, size, m, lambda count: None) for m in (2**30, 2**10)]

    assert [type(s).__name__ for s in samples] == ["InMemory", "OnDisk"]
    held, filed = (
        collect.by_layer(layout, [s], Moments.from_samples, Moments.joined) for s in samples
    )
    for name, moments in held.items():
        for one, other in zip(moments, filed[name], strict=True):
            np.testing.assert_array_equal(one, other)


def test_layers_and_blocks_add_up_to_the_whole():
    of = subject(Sinusoid(hidden=(20, 20)))
    address = Address.fresh(0, 32)
    whole = Moments.from_samples(of.meta_gradients(address, 0).grad.double().numpy())
    sample = collect.gather(of, address, 0, 1, 2**30, lambda count: None)

    found = collect.by_layer(
        of.problem.layouts.theta, [sample], Moments.from_samples, Moments.joined
    )

    assert list(found) == ["", *of.problem.layouts.theta.names]
    assert found[""].variance == pytest.approx(whole.variance)
    parts = [moments.variance for name, moments in found.items() if name]
    assert sum(parts) == pytest.approx(whole.variance)


def test_fewer_tasks_are_computed_together_where_memory_is_short():
    of = subject(Quadratic(dim=1000), chunk=256)

    assert collect.limit_chunk(of, 2**30).compute.chunk == 256
    assert 1 <= collect.limit_chunk(of, 2**20).compute.chunk < 16
    assert collect.limit_chunk(of, 1).compute.chunk == 1


def test_a_reduced_chunk_is_said_and_changes_nothing_but_round_off():
    of = subject(Quadratic(dim=50, shots=2, queries=2))

    def values(memory):
        rows = Variance(tasks=32, redrawn_tasks=0, memory=memory).measure(of, 0)
        chunk = [r for r in rows if r.quantity == "chunk"]
        return chunk, {(r.quantity, r.at): r.value for r in rows if r.quantity == "variance"}

    (full, first), (reduced, second) = values("1GiB"), values("20KiB")

    assert full == []
    assert (reduced[0].value, reduced[0].status) == (1.0, "reduced")
    for key, value in first.items():
        assert second[key] == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("text", ["4GB", "", "0", "-1GiB", "much"])
def test_amounts_that_are_none_are_refused(text):
    with pytest.raises(InvalidInput, match="4GiB"):
        Variance(memory=text)


@pytest.mark.parametrize("memory", ["1GiB", "40KiB"])
def test_shares_that_hold_whole_chunks_merge_to_the_same_bits(memory):
    of = subject(Quadratic(dim=20), chunk=4, engine="eager")
    probe = Variance(tasks=64, redrawn_tasks=16, shot_multiples=0, memory=memory)

    merged = probe.merge(of, 0, [probe.measure_part(of, 0, Part(i, 3)) for i in range(3)])

    whole = probe.measure(of, 0)
    one, other = ([r for r in rows if "seconds" not in r.quantity] for rows in (whole, merged))
    assert one == other


def test_more_shares_than_batches_leave_some_empty_and_nothing_out():
    of = subject(Quadratic(dim=3))
    probe = Variance(tasks=32, redrawn_tasks=0)
    parts = [probe.measure_part(of, 0, Part(i, 40)) for i in range(40)]

    assert sum(len(shard["1"]) for shard in parts) == 32
    values = [
        [r.value or 0.0 for r in rows if "seconds" not in r.quantity]
        for rows in (probe.measure(of, 0), probe.merge(of, 0, parts))
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-3, abs=1e-6)
