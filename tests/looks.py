"""Measurements of a subject by `spectrum`, and the one row of a table with given keys."""

from __future__ import annotations

import torch

from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization
from metabench.families.sinusoid import Sinusoid
from metabench.probes.spectrum import Spectrum
from metabench.records.rows import from_table, to_table

SMALL = Sinusoid(hidden=(6, 5))  # 53 parameters


def of(family, algorithm, dtype=torch.float64, **compute) -> Subject:
    theta = family.theta(0).to(dtype)
    return Subject(family.problem(), family.sample, algorithm, theta, Vectorization(**compute))


def looked(subject: Subject, **settings):
    probe = Spectrum(**{"tasks": 25, "layers": 0, **settings})
    table = to_table(probe.measure(subject, seed=0))
    return table, {finding.name: finding for finding in probe.find(table)}


def one(table, quantity, of="", at=None, layer=""):
    (row,) = [r for r in from_table(table, quantity, of, layer) if at is None or r.at == at]
    return row
