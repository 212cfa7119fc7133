"""Do settings survive the way from words to a dataclass, to JSON, to an address?"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pytest

from metabench.algorithms.inner_optimizers.adam import Adam
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.estimation.vectorization import Vectorization
from metabench.probes.variance import Variance
from metabench.settings import fields
from metabench.settings.errors import InvalidInput

ROOTS = ("algo", "family")


@dataclass(frozen=True)
class Switch:
    on: bool = False
    word: str = "a"
    many: tuple[float, ...] = ()


@dataclass(frozen=True)
class Needy:
    size: int


def test_the_order_of_assignments_does_not_matter():
    name, rate = "algo.inner_optimizer=adam", "algo.inner_optimizer.rate=0.1"

    assert fields.parse([name, rate], ROOTS) == fields.parse([rate, name], ROOTS)


def test_a_later_assignment_of_a_field_wins():
    found = fields.parse(["algo.steps=1", "algo.steps=2"], ROOTS)

    assert found == {"algo": {"steps": "2"}, "family": {}}


def test_a_value_may_hold_an_equals_sign_and_spaces_around_it():
    assert fields.parse(["algo.inner_optimizer = a=b"], ROOTS)["algo"] == {"inner_optimizer": "a=b"}


@pytest.mark.parametrize("assignment", ["", "algo", "algo=maml", "algo.=1", "=1", ".steps=1"])
def test_an_assignment_without_a_path_is_refused(assignment):
    with pytest.raises(InvalidInput):
        fields.parse([assignment], ROOTS)


def test_a_nested_member_keeps_its_type_when_only_a_field_is_given():
    made = fields.build("algorithms", "maml", {"inner_optimizer": {"rate": "0.5"}, "steps": "3"})

    assert made == MAML(steps=3, inner_optimizer=SGD(rate=0.5))


def test_a_nested_member_is_chosen_by_name_with_its_fields():
    made = fields.build("algorithms", "maml", {"inner_optimizer": {"name": "adam", "beta1": "0.5"}})

    assert made == MAML(inner_optimizer=Adam(beta1=0.5))


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ({"on": "True"}, Switch(on=True)),
        ({"on": "false"}, Switch(on=False)),
        ({"word": "3"}, Switch(word="3")),
        ({"many": "1, 2.5"}, Switch(many=(1.0, 2.5))),
        ({"many": ""}, Switch(many=())),
        ({"many": "inf"}, Switch(many=(math.inf,))),
    ],
)
def test_text_becomes_the_fields_type(text, made):
    assert fields.make(Switch, text, "switch") == made


@pytest.mark.parametrize("text", [{"on": "yes"}, {"many": "1,a"}, {"many": "nan"}])
def test_text_of_another_type_is_refused_with_the_fields_name(text):
    (name,) = text

    with pytest.raises(InvalidInput, match=f"^switch.{name} is "):
        fields.make(Switch, text, "switch")


@pytest.mark.parametrize("value", [True, 1.0, "1.0", None])
def test_what_is_no_whole_number_is_refused_as_one(value):
    with pytest.raises(InvalidInput, match="it must be a whole number"):
        fields.build("algorithms", "maml", {"steps": value})


def test_a_field_without_default_is_asked_for():
    with pytest.raises(InvalidInput, match=r"needy can't be made: .*'size'"):
        fields.make(Needy, {}, "needy")


@pytest.mark.parametrize(
    ("kind", "member"),
    [
        ("algorithms", MAML(steps=3, inner_optimizer=Adam(rate=0.5, clip_norm=2.0), batch=2)),
        ("probes", Variance(tasks=512, sizes=(1, 3, 5), batch=4)),
    ],
)
def test_a_member_survives_json(kind, member):
    plain = json.loads(json.dumps(fields.to_json(kind, member), allow_nan=False))

    name = plain.pop("name")
    assert fields.build(kind, name, plain) == member


def test_an_infinite_setting_survives_json_as_a_word():
    plain = fields.settings(SGD())

    assert plain["clip_norm"] == "inf"
    assert fields.make(SGD, plain, "sgd") == SGD()


def test_the_digest_depends_on_every_value_and_on_no_order():
    settings = fields.settings(Vectorization())

    assert fields.digest(dict(reversed(settings.items()))) == fields.digest(settings)
    assert fields.digest(fields.settings(Vectorization(chunk=257))) != fields.digest(settings)
    assert fields.digest(fields.settings(Vectorization(batching="loop"))) != fields.digest(settings)


def test_the_digest_is_the_same_on_every_machine():
    # sha256 of {"a":1,"b":[2.5,"x"]}, by the sha256sum command
    assert fields.digest({"b": [2.5, "x"], "a": 1}) == "5f097a2417b2"
