"""Which rows there are: modules x algorithms x batchings, losses, and further algorithms."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from reports.what_runs import (
    attention,
    convolutional,
    losses,
    odd,
    ordinary,
    pretrained,
    recurrent,
    sequences,
)
from reports.what_runs.case import Case, regression
from reports.what_runs.rows import Spec

BATCHINGS = ("vmap", "loop")
CASES: tuple[Case, ...] = (
    *ordinary.CASES,
    *recurrent.CASES,
    *convolutional.CASES,
    *attention.CASES,
    *sequences.CASES,
    *odd.CASES,
    *pretrained.CASES,
)
FURTHER = ("mlp", "gru", "conv_group_norm")  # whose Hessians are small
WITH_LOSSES = (
    Case("mlp", lambda: ordinary.mlp(3, losses.OUTPUTS), regression(3), "2.*"),
    Case(
        "gru",
        lambda: recurrent.LastState(nn.GRU, losses.OUTPUTS),
        recurrent.SEQUENCE,
        "out.*",
    ),
)


def of_modules(algorithms: tuple[str, ...] = ("maml", "mamlpp", "meta_sgd", "anil")) -> list[Spec]:
    """List every module with every algorithm, in both batchings."""
    return [
        Spec("modules", case, algorithm, batching)
        for case in CASES
        for algorithm in algorithms
        for batching in BATCHINGS
    ]


def of_losses() -> list[Spec]:
    """List every loss on two modules with maml, in both batchings."""
    return [
        Spec("losses", _with_loss(case, given), "maml", batching, given.name)
        for given in losses.CASES
        for case in WITH_LOSSES
        for batching in BATCHINGS
    ]


def of_algorithms() -> list[Spec]:
    """List three further algorithms on three modules, in both batchings."""
    return [
        Spec("algorithms", case, algorithm, batching)
        for algorithm in ("imaml", "bmaml", "alpha_maml")
        for case in CASES
        if case.name in FURTHER
        for batching in BATCHINGS
    ]


def _with_loss(case: Case, given: losses.Case) -> Case:
    return replace(
        case,
        loss=given.loss,
        double_loss=given.double,
        plain_loss=given.plain,
        unit=given.unit,
        draw=lambda generator: (case.draw(generator)[0], given.targets(generator)),
    )
