"""Does every command that the terminal suggests work as it is printed?"""

from __future__ import annotations

import html
import json
import os
import re
import shlex
from pathlib import Path

import click
import pytest
from shell import metabench

from metabench.cli import suggested_command
from metabench.cli.main import main
from metabench.measurement.from_words import build

STUDY = """
seed = [0, 1]
[probe]
name = "{probe}"
[algo]
name = "maml"
[family]
name = "quadratic"
dim = 2
"""
PROBE = """
from dataclasses import dataclass

from metabench import Probe


@dataclass(frozen=True)
class Fails(Probe):
    def measure(self, subject, seed, progress=None):
        raise ValueError("as planted")

    def find(self, table):
        return []

    def draw(self, table, axes):
        pass
"""
STORE = ["--store", "my results"]  # neither the default nor a word
SMALL = ["--family", "quadratic", "--set", "family.dim=2", "--set", "algo.steps=2", "--quiet"]


@pytest.fixture
def studies():
    """Two studies in files that need quotes: one that can be measured, one whose cells fail."""
    Path("my probe.py").write_text(PROBE)
    Path("fine study.toml").write_text(STUDY.format(probe="verify"))
    Path("bad study.toml").write_text(STUDY.format(probe="my probe.py:Fails"))


def hints(text):
    """Every command in a text, as words; what follows it in brackets is no part of it."""
    found = re.findall(r"metabench [a-z]+ [^\n]*", text)
    return [shlex.split(re.split(r"   |\.$| measures them| lists them", line)[0])[1:]
            for line in found]  # fmt: skip


def run(*words):
    """The hints of a command, whatever its exit code."""
    result = metabench(*words)
    assert result.exit_code in (0, 2, 3), result.output
    return result, hints(result.output)


def works(words, expected=0):
    result = metabench(*words)
    assert result.exit_code == expected, (words, result.output)
    return result


def test_what_is_suggested_about_a_store_names_that_store(studies):
    _, after_plan = run("plan", "fine study.toml", *STORE)
    shown, after_show = run("show", "fine study.toml", *STORE)
    assert [h[0] for h in (*after_plan, *after_show)] == ["grid", "grid"]
    assert shown.exit_code == 2

    measured = works([*after_plan[0], "--executor", "inline", "--quiet"])
    _, after_status = run("status", "fine study.toml", *STORE)

    for words in (*hints(measured.output), *after_status):
        assert words[-2:] == STORE
        works(words)
    cells = json.loads(works(["plan", "fine study.toml", *STORE, "--json"]).stdout)["cells"]
    _, after_removal = run("rm", "fine study.toml", cells[0]["digest"], *STORE)
    assert after_removal == [["grid", "fine study.toml", *STORE]]
    assert not Path("metabench-runs").exists()


def test_cells_that_failed_are_measured_again_by_the_commands_printed(studies):
    result, after = run("grid", "bad study.toml", *STORE, "--executor", "inline", "--quiet")
    assert result.exit_code == 3
    assert [words[0] for words in after] == ["cell", "grid", "show"]
    one, retry, show = after

    assert "as planted" in metabench(*one).output
    assert "--retry" in retry
    assert "failed 2" in works(retry, expected=3).stdout
    works(show)


def test_a_cell_that_failed_is_measured_again_by_the_command_on_the_page(studies):
    run("grid", "bad study.toml", *STORE, "--executor", "inline", "--quiet")

    works(["report", "bad study.toml", *STORE, "--figures", "0"])

    page = html.unescape(Path("page.html").read_text())
    line = re.search(r"metabench cell [0-9a-f]{12}[^<]*", page)
    assert "as planted" in works(shlex.split(line[0])[1:], 3).output


@pytest.mark.parametrize("words", [
    ["variance", *SMALL, "--tasks", "64", "--seed", "3"],
    ["verify", *SMALL, "--seed", "3", "--set", "probe.thorough=false"],
    ["train", *SMALL, "--steps", "2", "--save", "my theta.safetensors", "--seed", "3"],
])  # fmt: skip
def test_what_is_suggested_after_a_measurement_keeps_its_settings(words):
    after = run(*words)[1][-1]

    if after[0] in ("diagnose", "train"):
        few = {"diagnose": ["--probe", "verify", "--try", "0"], "train": ["--steps", "1"]}
        after += few[after[0]]
    if after[0] == "variance" and "--tasks" not in after:
        after += ["--tasks", "64"]
    assert after[after.index("--seed") + 1] == "3"
    assert "algo.steps=2" in after
    works(after)


def test_another_family_is_suggested_with_the_settings_that_it_has_too():
    words = ["variance", "--algo", "fomaml", *SMALL, "--tasks", "64", "--dtype", "float64"]
    (after,) = run(*words)[1]
    parsed = main.get_command(click.Context(main), after[0]).make_context(after[0], after[1:])

    assert parsed.params["family"] == "digits"
    assert parsed.params["assignments"] == ("algo.steps=2",)
    assert parsed.params["dtype"] == "float64"
    known = ("algo", "family", "tasks", "seed", "device", "dtype", "assignments")
    build("variance", **{name: parsed.params[name] for name in known})


def test_names_that_begin_with_a_dash_or_need_quotes_are_given_as_they_are():
    @click.command()
    @click.pass_context
    def odd(context):
        pass

    with (
        click.Context(main, info_name="metabench") as root,
        click.Context(main.commands["plan"], parent=root, info_name="plan"),
    ):
        line = suggested_command.suggest("grid", {"study": Path("-a b.toml"), "store": "it's"})

    assert shlex.split(line) == ["metabench", "grid", "--store", "it's", "--", "-a b.toml"]


@pytest.mark.parametrize("command", ["status", "compact", "show", "rm"])
def test_a_mistyped_store_is_refused_and_not_made(studies, command):
    digest = ["0123456789ab"] if command == "rm" else []

    result = metabench(command, "fine study.toml", *digest, "--store", "mistyped")

    assert result.exit_code == 2, result.output
    assert "mistyped" in result.output
    assert not Path("mistyped").exists()


def test_status_may_read_every_record_whether_it_has_changed_or_not(studies):
    works(["grid", "fine study.toml", "--executor", "inline", "--quiet"])
    record = min(Path("metabench-runs").glob("*/cells/*/*.json"))
    before, whole = record.stat(), record.read_text()
    record.write_text(whole.replace('"seconds": ', '"seconds": 1', 1)[: len(whole)])
    os.utime(record, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a failing disk would

    assert metabench("status", "fine study.toml").exit_code == 0
    result = metabench("status", "fine study.toml", "--check")

    assert result.exit_code == 3
    assert "check  2 records read in full, 1 damaged" in result.stdout
    assert "its checksum differs" in result.stderr or "is not a record" in result.stderr
