"""Markov chains: their law, the best predictions, and the decoder that learns them."""

import contextlib
import io
import itertools
import re
from pathlib import Path

import numpy as np
import oracles
import pytest
import torch
from scipy import integrate

import metabench as mb
from metabench.problems import decoder
from metabench.settings.errors import InvalidInput


def test_rows_have_the_moments_of_the_dirichlet_distribution():
    family = mb.Chains(symbols=4, concentration=0.7)
    rows = family.transitions(mb.Address.fresh(0, 3000), seed=1)

    squares = (rows - 1 / 4) ** 2
    expected = 1 / 4 * 3 / 4 / (4 * 0.7 + 1)  # variance of an entry
    error = squares.mean((1, 2)).std() / np.sqrt(len(rows))

    assert np.allclose(rows.sum(-1), 1)
    assert abs(squares.mean() - expected) < 4 * error


def test_sequences_move_as_their_chain_says():
    family = mb.Chains(symbols=3, length=400, shots=50, concentration=1.0)
    address = mb.Address.fresh(0, 2)
    x, y = family.sample(address, seed=0).support
    rows = family.transitions(address, seed=0)

    for task, i, j in itertools.product(range(2), range(3), range(3)):
        after = y[task][x[task] == i]
        sigma = np.sqrt(rows[task, i, j] / len(after)) + 1e-4
        assert abs(float((after == j).double().mean()) - rows[task, i, j]) < 5 * sigma
    first = torch.bincount(x[:, :, 0].flatten(), minlength=3) / 100
    assert bool((first - 1 / 3).abs().max() < 5 * np.sqrt(2 / 9 / 100))


def by_quadrature(alpha, zeros, ones):
    """P(next is 1 | counts) under a Beta(alpha, alpha) prior, both integrals numerically."""

    def weight(p, more):
        return p ** (alpha - 1 + ones + more) * (1 - p) ** (alpha - 1 + zeros)

    top, bottom = (integrate.quad(weight, 0, 1, args=(more,))[0] for more in (1, 0))
    return top / bottom


@pytest.mark.parametrize("known", ["support_and_prefix", "support", "prefix"])
def test_floors_are_the_losses_of_the_posterior_prediction(known):
    alpha = 1.5
    family = mb.Chains(symbols=2, length=3, shots=1, queries=1, concentration=alpha)
    address = mb.Address.fresh(5, 1)
    (row,) = family.transitions(address, seed=2)
    task = family.sample(address, seed=2)
    support = [*task.support[0][0, 0].tolist(), int(task.support[1][0, 0, -1])]
    query = [*task.query[0][0, 0].tolist(), int(task.query[1][0, 0, -1])]

    losses = []
    for t in range(3):
        seen = [] if known == "prefix" else list(itertools.pairwise(support))
        seen += [] if known == "support" else list(itertools.pairwise(query[: t + 1]))
        counts = [sum(step == (query[t], j) for step in seen) for j in range(2)]
        one = by_quadrature(alpha, *counts)
        p = row[query[t], 1]
        losses.append(-p * np.log(one) - (1 - p) * np.log(1 - one))

    assert float(getattr(family.floors(address, seed=2), known)) == pytest.approx(np.mean(losses))


def test_who_knows_more_predicts_better_and_ignorance_costs_log_v():
    family = mb.Chains(symbols=5)
    address = mb.Address.fresh(0, 400)

    floors = family.floors(address, seed=0)
    uniform = np.full((400, 4, 16, 5), -np.log(5))

    means = [float(each.mean()) for each in floors]
    assert means[0] < means[1] < min(means[2:])
    assert max(means) < np.log(5)
    assert np.allclose(family.expected_loss(uniform, address, seed=0), np.log(5))


@pytest.mark.parametrize(("size", "parameters"), [("tiny", 1e5), ("small", 1e6)])
def test_a_named_size_has_its_number_of_parameters(size, parameters):
    assert len(mb.Chains(size=size).theta(0)) == pytest.approx(parameters, rel=0.05)


def test_scores_depend_on_no_later_symbol():
    net = decoder.decoder("tiny", symbols=4, length=6)
    x = torch.tensor([[0, 1, 2, 3, 0, 1]])
    other = torch.tensor([[0, 1, 2, 0, 2, 2]])

    one, two = net(x), net(other)

    assert torch.equal(one[..., :3], two[..., :3])
    assert not torch.allclose(one[..., 3:], two[..., 3:])


def test_low_rank_updates_leave_the_network_as_it_was_and_are_all_that_is_learned():
    whole, updates = mb.Chains(), mb.Chains(adapt="lora", rank=2)
    x = torch.tensor([[0, 1, 2, 3]])
    names = updates.problem().layouts.theta.names

    plain = decoder.decoder("tiny", 8, 16, rank=0)
    low_rank = decoder.decoder("tiny", 8, 16, rank=2)
    with torch.no_grad():  # the same weights, by position
        for mine, theirs in zip(
            [p for name, p in low_rank.named_parameters() if not name.endswith((".down", ".up"))],
            plain.parameters(),
            strict=True,
        ):
            mine.copy_(theirs)

    assert torch.equal(low_rank(x), plain(x))
    assert all(name.endswith((".down", ".up")) for name in names)
    assert len(updates.theta(0)) < len(whole.theta(0)) / 10


@pytest.mark.parametrize("adapt", ["all", "lora", "norms"])
def test_the_meta_gradient_is_autograd_through_the_unroll(adapt):
    family = mb.Chains(adapt=adapt, symbols=3, length=4, shots=2, queries=2)
    problem, theta = family.problem(), family.theta(0) + 0.01
    algorithm = mb.MAML(steps=2, inner_optimizer=mb.SGD(0.3))
    address = mb.Address.fresh(0, 2)
    subject = mb.Subject(problem, family.sample, algorithm, theta)
    task = mb.Task(*([leaf[1] for leaf in part] for part in family.sample(address, 0)[:2]))

    found = subject.meta_gradients(address, seed=0).grad[1]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        expected = oracles.unrolled(algorithm, problem, theta, task)

    assert oracles.relative(found, expected) < 1e-10


@pytest.mark.parametrize(
    "wrong", [{"size": "huge"}, {"adapt": "head"}, {"symbols": 1}, {"concentration": 0.0}]
)
def test_impossible_settings_are_refused_by_name(wrong):
    (name,) = wrong

    with pytest.raises(InvalidInput, match=name):
        mb.Chains(**wrong)


def test_the_page_of_the_family_prints_what_it_says():
    page = (Path(__file__).parents[2] / "docs" / "chains.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    says = re.search(r"prints\n\n```\n(.*?)```", page, re.DOTALL)[1]

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})

    assert printed.getvalue() == says
