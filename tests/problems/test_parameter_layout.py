"""Names at the door, flat vectors inside."""

from __future__ import annotations

import pytest
import torch

from metabench.problems.parameter_layout import Layout
from metabench.settings.errors import InvalidInput


def test_flatten_undoes_unflatten_with_leading_axes():
    layout = Layout(("a", "b", "c"), ((2, 3), (), (4,)))
    vector = torch.arange(2 * 11.0).view(2, 11)

    named = layout.unflatten(vector)

    assert [tuple(value.shape) for value in named.values()] == [(2, 2, 3), (2,), (2, 4)]
    for row in range(2):
        one = {name: value[row] for name, value in named.items()}
        assert torch.equal(layout.flatten(one), vector[row])


def test_segments_cover_the_vector_in_order():
    layout = Layout(("a", "b"), ((2, 3), (4,)))

    segments = dict(layout.segments())

    assert segments == {"a": slice(0, 6), "b": slice(6, 10)}
    assert layout.size == 10


def test_flatten_takes_names_in_any_order_and_names_what_differs():
    layout = Layout(("a", "b"), ((2,), (3,)))
    named = {"b": torch.ones(3), "a": torch.zeros(2)}

    assert layout.flatten(named).tolist() == [0, 0, 1, 1, 1]

    with pytest.raises(InvalidInput, match=r"b: given \(4,\), expected \(3,\)"):
        layout.flatten({**named, "b": torch.ones(4)})
    with pytest.raises(InvalidInput, match=r"b: given nothing.*c: given \(1,\), expected nothing"):
        layout.flatten({"a": torch.zeros(2), "c": torch.zeros(1)})


def test_a_missing_name_is_answered_with_the_nearest_of_its_shape():
    layout = Layout(("0.weight", "0.bias"), ((2, 3), (2,)))
    given = {"0.weight": torch.zeros(2, 3), "0.biass": torch.zeros(2), "0.bia": torch.zeros(3)}

    with pytest.raises(InvalidInput, match=r"Near: 0\.biass for 0\.bias\. Save"):
        layout.flatten(given)
