"""Are the differences that `compare` prints those of pairs, with Student's interval?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from metabench.grid.compare import compare
from metabench.records.store.tables import Tables


def store(values, seconds=1.0, outcome="ok"):
    """A store of one setting: a cell a seed, each with one number."""
    cells = pd.DataFrame(
        {
            "digest": [f"{seed:012x}" for seed in range(len(values))],
            "outcome": outcome,
            "seconds": seconds,
            "algo": "maml",
            "algo.version": 1,
            "seed": range(len(values)),
        }
    )
    rows = pd.DataFrame(
        {
            "cell": range(len(values)),
            "quantity": "slope",
            "at": np.nan,
            "of": "",
            "layer": "",
            "value": values,
            "status": "ok",
        }
    )
    return Tables(cells, rows)


def test_the_interval_is_that_of_paired_differences():
    first = np.array([1.0, 2.0, 3.0, 4.0])
    second = first + np.array([0.1, 0.2, 0.15, 0.0])

    (line,) = compare(store(first), store(second)).moved.to_dict("records")

    paired = stats.ttest_rel(second, first).confidence_interval(0.95)
    assert (line["cells"], line["difference"]) == (4, pytest.approx(0.1125))
    assert (line["low"], line["high"]) == pytest.approx((paired.low, paired.high))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_below_four_seeds_there_is_a_mean_and_no_interval(count):
    first, second = np.ones(count), np.linspace(1.1, 1.3, count)

    result = compare(store(first), store(second, seconds=9.0))

    (line,) = result.moved.to_dict("records")
    assert line["difference"] == pytest.approx(second.mean() - 1)
    assert np.isnan([line["low"], line["high"]]).all()
    assert result.seconds is None or np.isnan(result.seconds[1:]).all()


def test_round_off_is_no_move_and_no_regression():
    first = np.array([1.0, 2.0])

    result = compare(store(first), store(first * (1 + 1e-6)))

    assert not len(result.moved)
    assert not result.regressed


def test_a_number_that_is_gone_has_moved():
    result = compare(store([1.0, 2.0]), store([1.0, np.nan]))

    assert list(result.moved["cells"]) == [2]
    assert result.regressed


def test_time_is_a_regression_only_where_its_whole_interval_is_slower():
    noise = np.exp(np.random.default_rng(0).normal(0, 0.05, 20))
    values = np.ones(20)

    same, slow = (
        compare(store(values, 1.0), store(values, factor * noise)) for factor in (1.0, 1.5)
    )

    logs = np.log(1.5 * noise)
    expected = np.exp(stats.t.interval(0.95, 19, logs.mean(), stats.sem(logs)))
    assert slow.seconds[1:] == pytest.approx(tuple(expected))
    assert (same.regressed, slow.regressed) == (False, True)
    one_seed = compare(store(values[:1], 1.0), store(values[:1], 9.0))
    assert one_seed.seconds is None


def test_cells_pair_though_a_class_has_a_new_version():
    other = store([1.0])
    other.cells["algo.version"] = 2
    other.cells["digest"] = "another"

    assert compare(store([1.0]), other).pairs == 1


def test_a_compacted_store_pairs_with_its_records():
    records, compacted = store([1.0, 2.0]), store([1.0, 2.0])
    texts = {"algo": "category", "outcome": "category"}
    compacted = Tables(
        compacted.cells.astype(texts),
        compacted.rows.astype(dict.fromkeys(("quantity", "of", "layer", "status"), "category")),
    )

    for first, second in ((records, compacted), (compacted, compacted)):
        result = compare(first, second)
        assert (result.pairs, result.only, len(result.moved)) == (2, (0, 0), 0)
