"""Are the components unbiased, and are the delete-one values right?"""

from __future__ import annotations

import numpy as np
import pytest

from metabench.stats.variance_components import Design, Squares, components

SIZES = {"task": 1.0, "support": 2.0, "query": 0.5, "support x query": 1.5, "inner": 0.7}


def draws(design: Design, rng: np.random.Generator, Q: int = 3, label: float = 1.2) -> np.ndarray:
    """Gaussian effects of known size: a standard deviation for each source."""
    n, s, q, e, l = design  # ruff: ignore[ambiguous-variable-name]
    shapes = {
        "task": (n, 1, 1, 1, 1, Q),
        "support": (n, s, 1, 1, 1, Q),
        "query": (n, 1, q, 1, 1, Q),
        "support x query": (n, s, q, 1, 1, Q),
        "inner": (n, s, q, e, 1, Q),
    }
    x = 5 + sum(SIZES[name] * rng.standard_normal(shape) for name, shape in shapes.items())
    return x + label * rng.standard_normal((n, s, q, e, l, Q))


@pytest.mark.parametrize("design", [Design(6, 2, 3, 2, 2), Design(5, 3, 2, 2, 3)])
def test_components_are_unbiased(design):
    rng = np.random.default_rng(0)
    truth = {name: 3 * size**2 for name, size in SIZES.items()} | {"label": 3 * 1.2**2}

    found = [
        components(Squares.from_samples(draws(design, rng).reshape(-1, 3), design), design)
        for _ in range(3000)
    ]

    for source, expected in {**truth, "total": sum(truth.values())}.items():
        values = np.array([each[source].value for each in found])
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(len(values)), source


@pytest.mark.parametrize("design", [Design(7, 2, 2), Design(6, 2, 3, 2, 2), Design(6, 1, 2)])
def test_leaving_a_task_out_is_measuring_without_it(design):
    x = draws(design, np.random.default_rng(1))

    found = components(Squares.from_samples(x.reshape(-1, 3), design), design)

    fewer = design._replace(tasks=design.tasks - 1)
    for i in range(design.tasks):
        rest = np.delete(x, i, axis=0).reshape(-1, 3)
        for source, part in components(Squares.from_samples(rest, fewer), fewer).items():
            assert found[source].left_out[i] == pytest.approx(part.value, rel=1e-9, abs=1e-9)


def test_mean_products_of_matching_draws_are_what_components_are_made_of():
    """Against explicit loops over pairs of draws."""
    x = draws(Design(4, 2, 2), np.random.default_rng(2))[:, :, :, 0, 0]
    x = x - x.mean((0, 1, 2))

    def mean(keep):
        pairs = [
            (x[t, a, b] * x[t, c, d]).sum()
            for t, a, b, c, d in np.ndindex(4, 2, 2, 2, 2)
            if ((a == c), (b == d)) == keep
        ]
        return np.mean(pairs)

    found = components(Squares.from_samples(x.reshape(-1, 3), Design(4)), Design(4))

    both, neither = mean((True, True)), mean((False, False))
    same_support, same_query = mean((True, False)), mean((False, True))
    assert found["support"].value == pytest.approx(same_support - neither)
    assert found["query"].value == pytest.approx(same_query - neither)
    assert found["support x query"].value == pytest.approx(
        both - same_support - same_query + neither
    )


def test_a_large_mean_changes_nothing():
    design, rng = Design(9, 2, 2), np.random.default_rng(3)
    x = draws(design, rng).reshape(-1, 3)

    near = components(Squares.from_samples(x, design), design)
    far = components(Squares.from_samples(x + 1e7, design), design)

    for source, part in near.items():
        assert far[source].value == pytest.approx(part.value, rel=1e-5, abs=1e-6)


def test_parts_of_a_vector_add_up():
    design = Design(5, 2, 2)
    x = draws(design, np.random.default_rng(4), Q=7).reshape(-1, 7)

    parts = Squares.joined(
        [Squares.from_samples(x[:, :3], design), Squares.from_samples(x[:, 3:], design)]
    )

    for one, other in zip(parts, Squares.from_samples(x, design), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
