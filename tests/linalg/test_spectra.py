"""Are extremes, traces and densities those of the dense matrices, and is every doubt marked?"""

from __future__ import annotations

import oracles
import pytest
import torch

from metabench.linalg.spectra import Effort, block, dense, extreme_eigenvalues, spectra

P = 40
EIGENVALUES = torch.cat([torch.linspace(-1, 1, P - 2), torch.tensor([7.0, 9.0])]).double()
MATRICES = torch.stack([oracles.symmetric(EIGENVALUES, seed) for seed in range(3)])
SIGNS = torch.randint(0, 2, (4, 3, P), generator=torch.Generator().manual_seed(1)).double() * 2 - 1
LANCZOS = Effort(tolerance=1e-6, steps=P, nodes=8, exact=0)
DENSE = LANCZOS._replace(exact=P)


def product(vectors):
    return torch.einsum("tpq,tq->tp", MATRICES, vectors)


def test_the_dense_matrices_are_found_and_made_symmetric():
    lopsided = MATRICES + torch.randn(P, P, generator=torch.Generator().manual_seed(2)).double()

    found = dense(lambda v: torch.einsum("tpq,tq->tp", lopsided, v), SIGNS[0])

    torch.testing.assert_close(found, (lopsided + lopsided.mT) / 2)


@pytest.mark.parametrize("effort", [DENSE, LANCZOS])
def test_both_ways_give_the_extremes_and_the_trace(effort):
    found = spectra(product, SIGNS, effort)
    ends = extreme_eigenvalues(product, SIGNS[:2], effort)

    for each in (found.ends, ends):
        assert each.converged.all()
        assert each.finite.all()
        torch.testing.assert_close(each.largest, torch.full((3,), 9.0).double())
        torch.testing.assert_close(each.smallest, torch.full((3,), -1.0).double())
    assert (found.exact, found.values.shape[1]) == ((True, 1) if effort is DENSE else (False, 2))
    error = (found.trace - 16.0).abs()
    assert (error <= 4 * found.trace_error + 1e-9).all()
    torch.testing.assert_close(found.weights.sum(2), torch.ones(found.weights.shape[:2]).double())


def test_dense_spectra_have_no_error_and_equal_weights():
    found = spectra(product, SIGNS, DENSE)

    torch.testing.assert_close(found.values[:, 0], EIGENVALUES.sort().values.expand(3, P))
    torch.testing.assert_close(found.weights, torch.full((3, 1, P), 1 / P).double())
    assert not found.trace_error.any()
    assert not found.ends.slack.any()


def test_few_products_leave_a_slack_that_holds_an_eigenvalue_and_are_not_called_converged():
    found = extreme_eigenvalues(product, SIGNS[:2], LANCZOS._replace(steps=3, nodes=3))

    assert not found.converged.any()
    assert (found.slack > 0.01).all()
    for end in (found.smallest, found.largest):
        assert ((end[:, None] - EIGENVALUES).abs().min(1).values <= found.slack).all()


def test_as_many_products_as_parameters_leave_no_slack():
    whole = extreme_eigenvalues(product, SIGNS[:2], Effort(0.0, steps=P, nodes=P, exact=0))

    assert whole.converged.all()
    assert not whole.slack.any()


def test_an_operator_that_overflows_is_marked_and_harms_no_other_task():
    def broken(vectors):
        return product(vectors) * torch.tensor([[1.0], [torch.inf], [1.0]])

    found = extreme_eigenvalues(broken, SIGNS[:2], DENSE)

    assert found.finite.tolist() == [True, False, True]
    torch.testing.assert_close(found.largest[[0, 2]], torch.full((2,), 9.0).double())


def test_the_density_has_at_least_the_nodes_asked_for():
    """A tolerance that any product reaches leaves the nodes alone to say how many are taken."""
    loose = LANCZOS._replace(tolerance=10.0)

    for nodes in (12, 25):
        assert spectra(product, SIGNS, loose._replace(nodes=nodes)).values.shape[2] >= nodes


def test_a_block_is_the_diagonal_block_of_the_matrix():
    inner = slice(5, 11)

    found = dense(block(product, inner, P), SIGNS[0][:, inner])

    torch.testing.assert_close(found, MATRICES[:, inner, inner])
