"""Is every member listed, described and sourced, and can strangers join without displacing us?"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import re
import sys
import typing
from pathlib import Path

import pytest
from click.testing import CliRunner

import metabench
from metabench.cli import main
from metabench.settings import fields, member_source, registry
from metabench.settings.errors import InvalidInput

MEMBERS = [(kind, name) for kind in registry.KINDS for name in registry.members(kind)]
HOME = Path(metabench.__file__).parent

PLUGIN = '''
"""A plugin."""

from dataclasses import dataclass

from metabench import MAML as Ours


@dataclass(frozen=True)
class MAML(Ours):
    """Half of MAML.

    (Nobody, 2031, https://example.org/half).
    """

    share: float = 0.5  # how much of it [1]
'''
BASES = {"algorithms": "Algorithm", "families": "Family", "probes": "Probe", "solvers": "Solver",
         "inner_optimizers": "InnerOptimizer", "surrogates": "Surrogate"}  # fmt: skip


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package that offers an algorithm of its own, and one under a name of ours."""
    (tmp_path / "halves.py").write_text(PLUGIN)
    info = tmp_path / "halves-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: halves\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[metabench.algorithms]\nhalf = halves:MAML\nmaml = halves:MAML\nlost = gone.away:Lost\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("halves", None)


def concrete_classes(kind: str) -> set[str]:
    """Read the classes that derive from a base class off the sources of a kind's folder."""
    found = set()
    folder = Path(str(importlib.import_module(registry.KINDS[kind][0]).__file__)).parent
    wrapping = {"own_problem.py"}  # makes a family of a user's problem
    for path in (each for each in folder.rglob("*.py") if each.name not in wrapping):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
                found |= {node.name} if BASES[kind] in bases else set()
    return found


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_member_that_is_written_is_listed(kind):
    listed = {target.partition(":")[2] for target in registry.members(kind).values()}

    assert concrete_classes(kind) == listed


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_a_name_leads_to_its_class_and_back(kind, name):
    cls = registry.load(kind, name)

    assert registry.name_of(kind, cls) == name
    assert inspect.isabstract(cls) is False
    assert dataclasses.is_dataclass(cls)


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_every_member_is_a_public_name_of_the_package(kind, name):
    cls = registry.load(kind, name)

    assert getattr(metabench, cls.__name__) is cls


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_every_member_is_described_with_its_reference(kind, name):
    about = member_source.describe(registry.members(kind)[name])

    assert about.summary.endswith(".")
    assert 20 < len(about.summary) <= 100
    assert re.fullmatch(r".+, (19|20)\d\d, https?://\S+", about.reference)


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_every_field_says_what_it_is_and_in_which_unit(kind, name):
    cls = registry.load(kind, name)
    types, comments = typing.get_type_hints(cls), registry.comments(cls)

    for field in dataclasses.fields(cls):
        comment = comments[field.name]
        wordless = types[field.name].__name__ in {*fields.NESTED, "str", "bool"}
        assert wordless or re.fullmatch(r"\S.+ \[[^\[\]]+\]", comment), field.name


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_listing_a_member_shows_every_field_with_its_default(kind, name):
    result = CliRunner().invoke(main.main, ["list", name], catch_exceptions=False)

    cls = registry.load(kind, name)
    types = typing.get_type_hints(cls)
    nested = {field: fields.NESTED.get(type_.__name__) for field, type_ in types.items()}
    for field in dataclasses.fields(cls):
        (line,) = re.findall(rf"^{field.name}  .*$", result.stdout, re.M)
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if dataclasses.is_dataclass(default):
            default = registry.name_of(nested[field.name], type(default))
        shown = (
            ",".join(map(str, default))
            if isinstance(default, tuple)
            else member_source.constant_text(default)
        )
        assert f"  {shown}  " in line
    assert result.exit_code == 0


@pytest.mark.parametrize("name", registry.GROUPS)
def test_listing_a_settings_group_shows_every_field_with_its_default_and_unit(name):
    result = CliRunner().invoke(main.main, ["list", name], catch_exceptions=False)

    cls = registry.load_target(registry.GROUPS[name])
    types, comments = typing.get_type_hints(cls), registry.comments(cls)
    for field in dataclasses.fields(cls):
        (line,) = re.findall(rf"^{field.name}  .*$", result.stdout, re.M)
        shown = "" if field.default == () else str(field.default)
        meaning, _, unit = comments[field.name].rstrip("]").partition(" [")
        assert f"  {shown}  " in line
        assert line.endswith(meaning)
        assert unit in line
        assert unit or types[field.name] in (str, bool, tuple[str, ...]), field.name
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("group", "kind"),
    [("algo", "algorithms"), ("family", "families"), ("probe", "probes"), ("solvers", "solvers")],
)
def test_listing_a_group_of_a_members_fields_names_the_members(group, kind):
    result = CliRunner().invoke(main.main, ["list", group], catch_exceptions=False)

    for name in registry.members(kind):
        assert re.search(rf"^  {name} ", result.stdout, re.M)
    assert result.exit_code == 0


def test_the_list_names_every_member_with_its_reference():
    result = CliRunner().invoke(main.main, ["list"], catch_exceptions=False)

    for name, target in registry.GROUPS.items():
        about = member_source.describe(target)
        assert re.search(rf"^  {name} +{re.escape(about.summary)}$", result.stdout, re.M)
    for kind, name in MEMBERS:
        about = member_source.describe(registry.members(kind)[name])
        assert re.search(rf"^  {name} +{re.escape(about.summary)}$", result.stdout, re.M)
        assert about.reference in result.stdout


@pytest.mark.usefixtures("plugin")
def test_another_packages_member_is_found_by_name():
    made = fields.build("algorithms", "half", {"share": "0.25", "steps": "2"})

    assert (made.share, made.steps) == (0.25, 2)
    assert type(made).__module__ == "halves"
    assert registry.name_of("algorithms", type(made)) == "half"


@pytest.mark.usefixtures("plugin")
def test_another_packages_member_is_listed_with_its_fields():
    listed = CliRunner().invoke(main.main, ["list"], catch_exceptions=False).stdout
    one = CliRunner().invoke(main.main, ["list", "half"], catch_exceptions=False).stdout

    assert re.search(
        r"^  half +Half of MAML\.\n +Nobody, 2031, https://example.org/half$", listed, re.M
    )
    assert re.search(r"^share +float +0\.5 +1 +how much of it$", one, re.M)
    assert re.search(r"^steps +int +1 +steps ", one, re.M)


@pytest.mark.usefixtures("plugin")
def test_our_names_cannot_be_replaced():
    assert registry.members("algorithms")["maml"] == "metabench.algorithms.maml:MAML"


@pytest.mark.usefixtures("plugin")
def test_a_member_whose_package_is_gone_breaks_no_other():
    listed = CliRunner().invoke(main.main, ["list"], catch_exceptions=False)

    assert re.search(r"^  lost +\(not installed\)$", listed.stdout, re.M)
    with pytest.raises(
        InvalidInput, match=r"'gone\.away:Lost' can't be loaded: No module named 'gone'"
    ):
        registry.load("algorithms", "lost")


@pytest.mark.usefixtures("plugin")
def test_another_packages_member_is_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--algo", "half", "--family", "quadratic", "--tasks", "32", "--json"]

    result = CliRunner().invoke(main.main, ["variance", *options], catch_exceptions=False)

    assert json.loads(result.stdout)["spec"]["algo"]["name"] == "half"


def test_a_file_that_changes_is_another_module(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("class Mine:\n    number = 1\n")
    first = registry.load("families", f"{path}:Mine")
    same = registry.load("families", f"{path}:Mine")
    path.write_text("class Mine:\n    number = 2\n")
    other = registry.load("families", f"{path}:Mine")

    assert first is same
    assert (first.number, other.number) == (1, 2)


TINY = {
    "algorithms": ("Twice", "MAML", "def __call__(self, problem, theta, task):\n"
                   "        return super().__call__(problem, theta, task)"),
    "families": ("Bowls", "Quadratic", "dim: int = 3  # parameters [parameters]"),
    "probes": ("Loud", "Variance", "tasks: int = 64  # fresh tasks [tasks]"),
    "solvers": ("Slow", "CG", "steps: int = 20  # products [products]"),
    "inner_optimizers": ("Plain", "SGD", "rate: float = 0.1  # inner rate [1/curvature]"),
}  # fmt: skip


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """An installed package with a member of every kind, each derived from one of ours."""
    lines = ["from dataclasses import dataclass", "import metabench as mb"]
    points = []
    for kind, (name, base, body) in TINY.items():
        text = f'"""Like {base}, but a stranger\'s.\n\n    (Nobody, 2031, https://example.org)."""'
        lines.append(f"@dataclass(frozen=True)\nclass {name}(mb.{base}):\n    {text}\n    {body}")
        points.append(f"[metabench.{kind}]\n{name.lower()} = tiny_plugin:{name}")
    lines.append("@dataclass(frozen=True)\nclass Broken(mb.MAML):\n    def __call__(self, *given):")
    lines.append("        found = super().__call__(*given)")
    lines.append("        return found._replace(grad=found.grad[:-1])")
    lines.append("class Sized(mb.Quadratic):\n    def __init__(self, size):\n        pass")
    (tmp_path / "tiny_plugin.py").write_text("\n".join(lines))
    info = tmp_path / "tiny_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny_plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(points))
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("tiny_plugin", None)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("by", ["name", "module"])
def test_a_strangers_member_of_every_kind_keeps_its_contract(kind, by):
    name = TINY[kind][0]
    target = name.lower() if by == "name" else f"tiny_plugin:{name}"

    result = CliRunner().invoke(main.main, ["contract", target], catch_exceptions=False)

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{target} keeps the contract of {kind}: ")


@pytest.mark.usefixtures("tiny")
def test_strangers_are_measured_together(tmp_path, monkeypatch):
    """An algorithm, a family, a solver and a step of another package, by name in one command."""
    monkeypatch.chdir(tmp_path)
    options = [
        "--family",
        "bowls",
        "--tasks",
        "32",
        "--json",
        "--set",
        "algo.inner_optimizer=plain",
    ]

    twice = CliRunner().invoke(main.main, ["variance", "--algo", "twice", *options])
    implicit = CliRunner().invoke(
        main.main, ["variance", "--algo", "imaml", *options, "--set", "algo.solver=slow"]
    )

    found = json.loads(twice.stdout)["spec"]
    assert (found["algo"]["name"], found["family"]["name"]) == ("twice", "bowls")
    assert found["algo"]["inner_optimizer"]["name"] == "plain"
    assert json.loads(implicit.stdout)["spec"]["algo"]["solver"]["name"] == "slow"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            "tiny_plugin:Broken",
            "tiny_plugin:Broken breaks the contract of algorithms: grad has shape (3,), not (4,).",
        ),
        ("tiny_plugin:Sized", "tiny_plugin:Sized can't be made without arguments"),
        (
            "tiny_plugin:mb",
            "tiny_plugin:mb is of a kind that has no contract; it must derive",
        ),
        ("tiny_plugin:Lost", "tiny_plugin has no 'Lost'"),
        ("bowl", "There is no member 'bowl'; did you mean 'bowls'"),
    ],
)
def test_a_broken_contract_is_said_in_a_sentence(target, words):
    result = CliRunner().invoke(main.main, ["contract", target])

    assert result.exit_code == 2
    assert words in result.stderr


WHOLE = [
    (kind, name) for kind, name in MEMBERS if not getattr(registry.load(kind, name), "needs", "")
]


# Every part of what these measure, at few tasks and steps: a contract asks for forms, not sizes.
FEW = {
    "agreement": {"tasks": 4, "at": (1, 3), "budgets": (1, 2), "truncate": 2, "minimum_steps": 20},
    "cost": {"tasks": 64, "steps": (1, 2), "sizes": (1, 4), "rounds": 1},
    "explosion": {"steps": 10, "tasks": 16, "directions": 1, "mitigated": 4},
}


@pytest.mark.parametrize(("kind", "name"), WHOLE)  # the rest: test_image_families.py
def test_our_members_keep_the_contract_they_ask_of_strangers(kind, name, monkeypatch):
    from metabench.testing.check_member import check_member

    if name in FEW:
        cls = registry.load(kind, name)
        made = cls(**FEW[name])
        monkeypatch.setattr("metabench.testing.check_member._made", lambda target: (kind, made))

    assert check_member(name).startswith(f"{name} keeps the contract of {kind}")
