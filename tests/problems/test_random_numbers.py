"""Is every random number where its address says, and is it random?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from metabench.problems import random_numbers
from metabench.problems.tasks import Address
from metabench.settings.errors import InvalidInput

# Known answers of the authors' own test suite (Random123, kat_vectors, philox4x32 10).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_published_answers(counter, key, answer):
    words = random_numbers.philox(tuple(np.array([word], np.uint64) for word in counter), key)

    assert "".join(f"{int(pair[0]):016x}" for pair in words) == answer.replace(" ", "")


def test_a_draw_depends_on_nothing_but_its_address():
    many = random_numbers.uniform(7, "task", Address.fresh(0, 1000), 9)

    alone = random_numbers.uniform(7, "task", Address.fresh(613, 1), 4)

    np.testing.assert_array_equal(alone[0], many[613, :4])


def test_seeds_axes_tasks_and_redraws_never_share_numbers():
    address = Address.fresh(0, 50)
    again = address._replace(support=address.support + 1)
    far = Address.fresh(2**33, 50)

    pieces = [
        random_numbers.uniform(seed, axis, address, 20)
        for seed in (0, 1, 2**40)
        for axis in random_numbers.AXES
    ]
    pieces += [
        random_numbers.uniform(0, "support", again, 20),
        random_numbers.uniform(0, "task", far, 20),
    ]

    numbers = np.concatenate([piece.ravel() for piece in pieces])
    # theta ignores the redraw, not the task; no two of the 20,000 draws of 53 bits may meet
    assert len(np.unique(numbers)) == numbers.size


def test_numbers_are_uniform_independent_and_inside_the_open_interval():
    numbers = random_numbers.uniform(3, "query", Address.fresh(0, 400), 500)

    assert 0 < numbers.min() < numbers.max() < 1
    assert scipy_stats.kstest(numbers.ravel(), "uniform").pvalue > 1e-3
    assert scipy_stats.kstest(random_numbers.normal(numbers).ravel(), "norm").pvalue > 1e-3
    # 200,000 pairs: a correlation beyond 0.01 is more than four standard errors away
    for lagged in (numbers[:, 1:], numbers[1:, :]):
        first = numbers[: lagged.shape[0], : lagged.shape[1]]
        assert abs(np.corrcoef(first.ravel(), lagged.ravel())[0, 1]) < 0.01


def test_orders_are_permutations_and_equally_likely():
    orders = random_numbers.order(random_numbers.uniform(1, "label", Address.fresh(0, 6000), 3))

    assert (np.sort(orders, axis=1) == np.arange(3)).all()
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert scipy_stats.chisquare(counts).pvalue > 1e-3
    assert len(counts) == 6


def test_a_seed_that_does_not_fit_is_refused():
    with pytest.raises(InvalidInput, match=r"0 \.\. 2\^60 - 1"):
        random_numbers.uniform(-1, "task", Address.fresh(0, 1), 1)
