"""Are traces unbiased, their standard errors right, and exact for low rank?"""

from __future__ import annotations

import cases
import oracles
import pytest
import torch

from metabench.linalg.trace import xtrace


def signs(m: int, n: int, P: int = 60, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, (m, n, P), generator=generator).double() * 2 - 1


@pytest.mark.parametrize("name", cases.SPECTRA)
def test_many_estimates_average_to_the_trace(name):
    matrix = oracles.symmetric(cases.SPECTRA[name], seed=1)

    found = xtrace(lambda v: v @ matrix, signs(6, 2000))

    error = float(found.value.std()) / 2000**0.5
    scale = float(matrix.abs().max())
    assert float((found.value.mean() - matrix.trace()).abs()) <= 4 * error + 1e-10 * scale


@pytest.mark.parametrize("name", ["spread", "indefinite", "rank deficient"])
def test_the_stated_error_is_the_spread(name):
    """Its mean square over the variance; 0.5 corresponds to a third too small, as documented."""
    matrix = oracles.symmetric(cases.SPECTRA[name], seed=1)

    found = xtrace(lambda v: v @ matrix, signs(6, 2000))

    assert 0.45 < float((found.error**2).mean() / found.value.var()) < 2


def test_the_trace_of_a_low_rank_matrix_is_exact():
    """With more vectors than the rank there is no remainder to estimate."""
    matrix = oracles.symmetric(cases.SPECTRA["rank deficient"], seed=3)

    found = xtrace(lambda v: v @ matrix, signs(14, 5))

    trace = matrix.trace().expand(5)
    torch.testing.assert_close(found.value, trace, rtol=1e-10, atol=0)
    assert float(found.error.max()) < 1e-10


def test_with_as_many_vectors_as_parameters_the_trace_is_exact():
    matrix = oracles.symmetric(cases.SPECTRA["indefinite"], seed=3)

    for m in (60, 61):
        found = xtrace(lambda v: v @ matrix, signs(m, 2))
        torch.testing.assert_close(found.value, matrix.trace().expand(2), rtol=0, atol=1e-10)
    assert xtrace(lambda v: 3 * v, signs(2, 4, P=1)).value.tolist() == [3.0] * 4


def test_the_trace_of_zero_is_zero():
    nothing = xtrace(torch.zeros_like, signs(4, 2))

    assert not nothing.value.any()
    assert not nothing.error.any()


def test_few_vectors_beat_as_many_products_of_plain_random_signs():
    """On a spectrum that decays, at equal products; there most of the trace is in a few."""
    eigenvalues = torch.exp(-torch.arange(60.0) / 3)
    matrix = oracles.symmetric(eigenvalues, seed=2)

    found = xtrace(lambda v: v @ matrix, signs(10, 400))
    plain = signs(20, 400, seed=1)
    hutchinson = ((plain @ matrix) * plain).sum(2).mean(0)

    assert float(found.value.std()) < 0.2 * float(hutchinson.std())
