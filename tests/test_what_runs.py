"""Are the meta-gradients of modules and losses that people bring right? A sample of the report."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from reports.what_runs import plan
from reports.what_runs.judged import failures, without_numbers
from reports.what_runs.rows import Row, Spec, measured

TORCH_ONLY = [case for case in plan.CASES if not case.needs]
TURNS = itertools.product(("maml", "mamlpp", "meta_sgd", "anil"), plan.BATCHINGS)


def sample() -> list[Spec]:
    """One row for each module, algorithms and batchings in turn, and four losses."""
    turns = itertools.cycle(TURNS)
    return [
        *(Spec("modules", case, *next(turns)) for case in TORCH_ONLY),
        *plan.of_losses()[::17],
    ]


def name(spec: Spec) -> str:
    return "-".join((spec.case.name, spec.loss, spec.algorithm, spec.batching)).replace(" ", "_")


@pytest.mark.parametrize("spec", sample(), ids=name)
def test_a_row_is_right_or_refused_in_words(spec):
    alone = measured(spec)
    rows = [alone]
    if alone.outcome == "sentence" and spec.batching == "vmap":
        rows.append(measured(Spec(spec.table, spec.case, spec.algorithm, "loop", spec.loss)))

    assert failures(rows) == []


def test_a_wrong_number_and_an_unlisted_sentence_fail():
    row = Row("modules", "mlp", "its own", "maml", "loop", "exact", 1e-15)
    wrong = row._replace(outcome="wrong", error=0.1)
    said = row._replace(outcome="sentence", autograd="right", said="Something else.")

    assert failures([row]) == []
    assert failures([wrong, said]) == [wrong, said]
    assert without_numbers([wrong, said]) == ["mlp"]
