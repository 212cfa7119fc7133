"""Is a wrong key answered with the right one, wherever keys are read?"""

from __future__ import annotations

import dataclasses
import re

import pytest
from shell import metabench

from metabench.diagnosis import plan as diagnosis
from metabench.grid.study import study
from metabench.measurement.clock import Clock
from metabench.measurement.from_words import build
from metabench.measurement.measurement import Measurement
from metabench.settings import registry, synonyms
from metabench.settings.errors import InvalidInput
from metabench.training import plan as training

RATE, STEPS = "algo.inner_optimizer.rate", "algo.steps"
FIELDS = [
    ("algo.lr=0.1", RATE),
    ("algo.alpha=0.1", RATE),
    ("algo.inner_lr=0.1", RATE),
    ("algo.inner_optimizer.lr=0.1", RATE),
    ("algo.K=5", STEPS),
    ("algo.inner_steps=5", STEPS),
    ("algo.step=5", STEPS),
    ("algo.trail=keep", "algo.rematerialize"),
    ("algo.shots=5", "family.shots"),
    ("family.k_shot=5", "family.shots"),
    ("steps=5", STEPS),
    ("lr=0.1", RATE),
    ("lift.how=loop", "compute.batching"),
    ("lift.chunk=8", "compute.chunk"),
    ("compute.chunk_size=8", "compute.chunk"),
    ("maml.steps=5", STEPS),
    ("alog.steps=5", STEPS),
]
STUDY = 'probe = "verify"\nalgo = "maml"\nfamily = "quadratic"\n'


def refused(make, *arguments, **settings):
    with pytest.raises(InvalidInput) as caught:
        make(*arguments, **settings)
    return str(caught.value)


@pytest.mark.parametrize(("given", "key"), FIELDS)
def test_another_name_of_a_setting_is_answered_with_its_key(given, key):
    assert f"did you mean {key!r}" in refused(build, "verify", assignments=[given])


@pytest.mark.parametrize("name", ["strength", "lambda", "lam"])
@pytest.mark.parametrize(("algo", "of"), [("imaml", "?"), ("maml", " of imaml?")])
def test_lambda_is_answered_with_its_key_and_the_algorithm_that_has_it(name, algo, of):
    message = refused(build, "verify", algo=algo, assignments=[f"algo.{name}=2"])

    assert f"did you mean 'algo.proximal_strength'{of}" in message


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("outer.lr=0.1", "outer.rate"),
        ("outer.meta_batch_size=4", "outer.batch"),
        ("batch=4", "outer.batch"),
        ("algo.meta_batch_size=4", "outer.batch"),
        ("outer.optim=sgd", "outer.optimizer"),
    ],
)
def test_settings_of_the_outer_loop_are_answered_where_there_is_one(given, key):
    made = (
        refused(diagnosis.plan_of, assignments=[given]),
        refused(training.plan_of, steps=1, assignments=[given]),
    )

    assert all(f"did you mean {key!r}" in message for message in made)


def test_the_batch_of_a_probe_stands_under_the_probes_own_key():
    alone = refused(build, "variance", assignments=["probe.meta_batch_size=4"])
    plan = diagnosis.plan_of(assignments=["variance.meta_batch_size=4"])
    beside = refused(plan.check, Clock(1))

    assert "did you mean 'probe.batch'?" in alone
    assert "did you mean 'variance.batch'?" in beside
    assert "did you mean 'probe.batch'?" in refused(build, "variance", assignments=["batch=4"])


def test_a_group_of_other_commands_is_answered_with_those_commands():
    outer = refused(build, "variance", assignments=["outer.rate=0.1"])
    probe = refused(diagnosis.plan_of, assignments=["probe.tasks=4"])

    assert "metabench train and metabench diagnose have it" in outer
    assert "here each probe is a group, as in variance.tasks=64" in probe


@pytest.mark.parametrize(
    ("lines", "place", "key"),
    [
        ("[lift]\nhow = 'loop'\n", "line 4, lift", "compute"),
        ("steps = 5\n", "line 4, steps", STEPS),
        ("[compute]\nhow = 'loop'\n", "line 5, compute.how", "compute.batching"),
        ("zip = [['algo.K', 'seed']]\nseed = [0, 1]\n", "line 4, zip", None),
        ("[[exclude]]\nalgo.K = 1\n", "line 4, exclude", STEPS),
    ],
)
def test_a_study_file_is_answered_with_the_line_and_the_key(tmp_path, lines, place, key):
    file = tmp_path / "study.toml"
    file.write_text(STUDY + lines)

    message = refused(study.read, file)

    assert place in message
    assert key is None or f"did you mean {key!r}" in message


def test_settings_in_python_are_answered_with_the_key():
    settings = {"probe": {"name": "verify"}, "algo": {"name": "maml"}, "family": {"name": "ridge"},
                "seed": 0, "dtype": "float32", "device": "cpu", "theta": ""}  # fmt: skip

    field = refused(Measurement.from_settings, {**settings, "algo": {"name": "maml", "lr": 0.1}})
    group = refused(Measurement.from_settings, {**settings, "lift": {"how": "loop"}})

    assert f"did you mean {RATE!r}" in field
    assert "There is no key 'lift' of a measurement; did you mean 'compute'?" in group


def test_the_command_line_exits_with_2_and_names_the_key():
    result = metabench("variance", "--set", "algo.lr=0.1")

    assert result.exit_code == 2
    assert f"There is no field 'lr' of maml; did you mean {RATE!r}?" in result.stderr


def test_every_key_of_the_table_is_one():
    targets = {
        **{group: [target] for group, target in registry.GROUPS.items()},
        **{group: list(registry.members(kind).values())
           for kind, group in synonyms.KIND_GROUPS.items()},
    }  # fmt: skip
    fields = {
        group: {f.name for target in found
                for f in dataclasses.fields(registry.load_target(target))}
        for group, found in targets.items()
    }  # fmt: skip

    for keys, names in synonyms.NAMES.items():
        assert re.fullmatch(r"[a-z_0-9]+( [a-z_0-9]+)*", names)
        for key in keys:
            group, _, rest = key.partition(".")
            assert group.startswith("--") or rest.partition(".")[0] in fields[group], key
