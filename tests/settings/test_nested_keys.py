"""Do paths of keys give the settings that they came from?"""

from __future__ import annotations

import itertools

from metabench.records.rows import flatten
from metabench.settings.nested_keys import nest, put

WHOLE = {
    "algo": {"name": "maml", "steps": 5, "inner_optimizer": {"name": "adam", "rate": 0.1}},
    "seed": 0,
}
FLAT = {tuple(key.split(".")): value for key, value in flatten(WHOLE)}


def test_flattened_settings_are_nested_again_in_any_order():
    for order in itertools.permutations(FLAT):
        assert nest({path: FLAT[path] for path in order}) == WHOLE


def test_a_member_without_settings_of_its_own_stays_a_name():
    assert nest({("inner_optimizer",): "sgd"}) == {"inner_optimizer": "sgd"}


def test_the_last_name_of_a_member_stands():
    settings = {}

    for path, value in [
        (("inner_optimizer", "rate"), 1),
        (("inner_optimizer",), "adam"),
        (("inner_optimizer",), "sgd"),
    ]:
        put(settings, path, value)

    assert settings == {"inner_optimizer": {"name": "sgd", "rate": 1}}


def test_a_value_that_is_itself_settings_is_put_whole():
    assert nest({("algo", "inner_optimizer"): {"name": "sgd"}}) == {
        "algo": {"inner_optimizer": {"name": "sgd"}}
    }
