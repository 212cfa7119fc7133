"""Is a wrong keyword in Python answered with the right field, as --set answers it?"""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, replace

import pytest

import metabench as mb


@pytest.mark.parametrize(
    ("make", "given", "meant"),
    [
        (mb.MAML, "lr", "'inner_optimizer.rate'"),
        (mb.MAML, "inner_steps", "'steps'"),
        (mb.MAML, "step", "'steps'"),
        (mb.FOMAML, "lam", "'proximal_strength' of imaml"),
        (mb.SGD, "lr", "'rate'"),
        (mb.Adam, "learning_rate", "'rate'"),
        (mb.CG, "step", "'steps'"),
        (mb.Sinusoid, "k_shot", "'shots'"),
        (mb.Variance, "n_tasks", "'tasks'"),
        (mb.OuterOptimizer, "lr", "'rate'"),
        (mb.Vectorization, "chunk_size", "'chunk'"),
    ],
)
def test_a_wrong_keyword_names_the_right_field(make, given, meant):
    with pytest.raises(mb.InvalidInput) as error:
        make(**{given: 1})

    assert str(error.value).startswith(f"There is no field '{given}' of {make.__name__}; did you")
    assert meant in str(error.value)


def test_a_class_with_its_own_constructor_keeps_its_keywords():
    class Ten(mb.MAML):
        def __init__(self, times):
            super().__init__(steps=10 * times)

    assert Ten(times=2).steps == 20


def test_a_field_that_a_subclass_adds_is_a_keyword():
    @dataclass(frozen=True)
    class Scaled(mb.MAML):
        scale: int = 1

    assert Scaled(steps=2, scale=3).scale == 3


def test_settings_are_copied_replaced_and_pickled_as_before():
    made = mb.MAML(3, inner_optimizer=mb.SGD(rate=0.1))

    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made
    assert replace(made, steps=5) == mb.MAML(5, inner_optimizer=mb.SGD(rate=0.1))
