"""Does a stranger's probe run as a command, from a package or a file, and displace no other?"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from metabench.cli.main import main
from metabench.settings import member_source, registry

ROOT = Path(__file__).parent.parent.parent
HELLO = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "own_probes.md").read_text("utf-8"), re.DOTALL
)[0]
POINTS = """
[metabench.probes]
hello = greeting.probes:Hello
train = greeting.probes:Hello
lost = gone.away:Lost
"""


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    """The probe of the documentation, in a file beside the user."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(HELLO)


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package that offers the same probe, also under the name of a command.

    Its `__init__` can't be imported, so that a command which does so for its help fails.
    """
    package = tmp_path / "greeting"
    package.mkdir()
    (package / "__init__.py").write_text("import sys\nassert 'torch' in sys.modules\n")
    (package / "probes.py").write_text("from .hello import Hello\n")
    (package / "hello.py").write_text(HELLO)
    info = tmp_path / "greeting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "greeting"]:
        del sys.modules[name]


def metabench(*words):
    return CliRunner().invoke(main, words, catch_exceptions=False)


@pytest.mark.usefixtures("own_file")
def test_a_probe_in_a_file_is_measured_with_every_measuring_option():
    options = ["--family", "quadratic", "--algo", "fomaml", "--tasks", "8", "--seed", "3"]

    record = json.loads(metabench("probe", "my.py:Hello", *options, "--json").stdout)

    spec, rows = record["spec"], [row for row in record["rows"] if row["quantity"] == "length"]
    assert (spec["algo"]["name"], spec["family"]["name"]) == ("fomaml", "quadratic")
    assert (spec["seed"], spec["probe"]["tasks"], len(rows)) == (3, 8, 8)
    assert {finding["name"] for finding in record["findings"]} >= {"long", "verified"}


@pytest.mark.usefixtures("own_file")
def test_a_probe_in_a_file_prints_its_table_its_findings_and_its_page():
    said = metabench("probe", "my.py:Hello", "--family", "quadratic", "--tasks", "4").stdout

    assert re.search(r"^task +length$", said, re.M)
    assert "of 4 meta-gradients are longer than 1" in said
    (page,) = re.findall(r"^page +(metabench-runs/hello-.+)$", said, re.M)
    assert "How long is one task&#39;s meta-gradient?" in Path(page).read_text(encoding="utf-8")


@pytest.mark.usefixtures("own_file")
def test_marked_fields_are_options_and_the_rest_are_settings():
    words = ["probe", "my.py:Hello", "--family", "quadratic", "--tasks", "4", "--json"]

    spec = json.loads(metabench(*words, "--limit", "5", "--set", "probe.power=3").stdout)["spec"]

    assert (spec["probe"]["limit"], spec["probe"]["power"]) == (5.0, 3)


@pytest.mark.usefixtures("own_file")
def test_the_help_of_a_probe_in_a_file_has_its_options_and_settings():
    said = " ".join(metabench("probe", "my.py:Hello", "--help").stdout.split())

    options, settings = said.split("Settings (--set probe.X=):")
    assert "--limit VALUE A norm that is called long [gradient norm; default: 1.0]" in options
    assert "power Of the norm [default: 2]" in settings
    assert "limit" not in settings
    assert settings.endswith("130 interrupted by Ctrl-C, 143 by SIGTERM.")


@pytest.mark.usefixtures("plugin")
def test_a_package_s_probe_is_a_command_beside_ours():
    record = json.loads(
        metabench("hello", "--family", "quadratic", "--tasks", "4", "--json").stdout
    )

    assert record["spec"]["probe"] == {
        "name": registry.name_of("probes", registry.load("probes", "hello")),
        "version": 1, "tasks": 4, "limit": 1.0, "power": 2,
    }  # fmt: skip


@pytest.mark.usefixtures("plugin")
def test_help_reads_a_package_s_probe_without_importing_it():
    listed, own = metabench("--help").stdout, metabench("hello", "--help").stdout

    assert re.search(r"^  hello +How long is one task.s meta-gradient\?$", listed, re.M)
    assert re.search(r"^  lost +\(not installed\)$", listed, re.M)
    assert re.search(r"^  power +Of the norm  \[default: 2\]$", own, re.M)
    assert "greeting" not in sys.modules


@pytest.mark.usefixtures("plugin")
def test_a_probe_named_like_a_command_is_refused_by_name():
    sentence = (
        "The probe 'train' of greeting.probes:Hello has the name of another command; run it as "
        "`metabench probe greeting.probes:Hello`, or list it under another name."
    )

    refused = metabench("probe", "train")

    assert sentence in " ".join(metabench("--help").stdout.split())
    assert refused.exit_code == 2
    assert sentence in refused.stderr


@pytest.mark.usefixtures("plugin")
def test_a_probe_never_displaces_a_command():
    assert "Train theta" in metabench("train", "--help").stdout


@pytest.mark.usefixtures("plugin")
def test_a_package_s_probe_runs_by_where_it_stands():
    words = ["--family", "quadratic", "--tasks", "4", "--json"]

    result = metabench("probe", "greeting.probes:Hello", *words)

    assert result.exit_code == 0, result.output


@pytest.mark.usefixtures("own_file")
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("other.py:Hello", "There is no file 'other.py'"),
        ("my.py:Goodbye", "'my.py:Goodbye' can't be loaded"),
        ("my.py:dataclass", "'my.py:dataclass' is no probe; it must be a class derived from"),
        ("verif", "There is no probe 'verif'; did you mean 'verify'?"),
        ("gone.away:Lost", "'gone.away:Lost' can't be loaded: No module named 'gone'"),
    ],
)
def test_a_probe_that_is_not_there_is_said_in_a_sentence(target, words):
    result = metabench("probe", target)

    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize("name", registry.members("probes"))
def test_the_help_of_every_probe_shows_every_field_with_its_unit_and_default(name):
    """What is read off the source is what the class has."""
    cls = registry.load("probes", name)
    said = " ".join(metabench(name, "--help").stdout.split())

    read = {f.name: f for f in member_source.field_lines(registry.members("probes")[name])}
    comments = registry.comments(cls)
    assert list(read) == [field.name for field in dataclasses.fields(cls)]
    for field in dataclasses.fields(cls):
        found, default = read[field.name], field.default
        shown = (
            ",".join(map(str, default))
            if isinstance(default, tuple)
            else member_source.constant_text(default)
        )
        unit = f" [{found.unit}]" if found.unit else ""
        assert (found.default, found.meaning + unit) == (shown, comments[field.name])
        assert f"{field.name} " in said or field.name in (*cls.options, "tasks")
        if field.name != "budget":  # --budget is the command's time, whatever the field is
            assert (f"--{field.name} " in said) == (field.name in (*cls.options, "tasks"))


@pytest.mark.usefixtures("own_file")
def test_the_probe_of_the_documentation_keeps_its_contract():
    assert metabench("contract", "my.py:Hello").stdout.startswith(
        "my.py:Hello keeps the contract of probes"
    )


def test_a_listed_name_runs_as_a_probe_of_ones_own_too():
    assert metabench("probe", "verify", "--help").exit_code == 0


BARE = """
from dataclasses import dataclass
import metabench as mb

class Bare(mb.Probe):
    def measure(self, subject, seed, progress=None):
        return [mb.Row("x", at=1, value=2.0)]

    def find(self, table):
        return []

class Pairs(Bare):
    def measure(self, subject, seed, progress=None):
        return [("x", 1)]

class Broken(Bare):
    def measure(self, subject, seed, progress=None):
        return [][3]
"""


def test_a_probe_needs_no_more_than_measure_and_find(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare.py").write_text(BARE)

    found = CliRunner().invoke(main, ["probe", "bare.py:Bare", "--family", "quadratic"])

    assert found.exit_code == 0, found.output
    assert "x" in found.stdout


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("bare.py:Pairs", "Pairs.measure returned a list with a tuple; it must return a list of"),
        (
            "bare.py:Broken",
            "Broken.measure raised IndexError: list index out of range. (bare.py, l",
        ),
        ("bare.py", "bare.py is a file without a name in it; give bare.py:NAME"),
    ],
)
def test_a_user_probe_that_fails_is_explained_without_a_traceback(
    target, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare.py").write_text(BARE)

    found = CliRunner().invoke(main, ["probe", target, "--family", "quadratic"])

    assert found.exit_code == 2
    assert words in found.stderr
    assert "Traceback" not in found.output


def test_two_numbers_of_tasks_that_differ_are_refused():
    given = ["variance", "--family", "quadratic", "--tasks", "64", "--set", "probe.tasks=32"]

    found = CliRunner().invoke(main, given)

    assert found.exit_code == 2
    assert "--tasks 64 and --set probe.tasks=32 differ; give one" in found.stderr
