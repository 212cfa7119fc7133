"""Does help stand in groups of whole sentences, do shells complete, and is no network no misuse?"""

from __future__ import annotations

import dataclasses
import re

import click
import pytest
import shell
from click.shell_completion import ShellComplete

from metabench.cli.main import GROUPS, main
from metabench.cli.probe import run
from metabench.probes import members as probes
from metabench.settings import registry
from metabench.settings.errors import InvalidInput, NetworkFailure


def test_every_command_stands_in_one_group_with_a_whole_sentence():
    shown = shell.metabench("--help").stdout
    listed = [name for names in GROUPS.values() for name in names]

    assert sorted(listed) == sorted(main.commands)
    for title in GROUPS:
        assert f"\n{title}:\n" in shown
    commands = shown.partition("Ask:")[2].partition("Exit codes")[0]
    entries = re.findall(r"^  (\w+) +(\S.*(?:\n {4,}\S.*)*)", commands, re.M)
    assert {name for name, _ in entries} == {*listed, *probes.MEMBERS}
    for name, sentence in entries:
        assert re.search(r"[.?]$|my_pkg\.mod:Hello\.$", sentence), name
        assert "..." not in sentence


def completions(words: list[str], incomplete: str) -> list[str]:
    shell_complete = ShellComplete(main, {}, "metabench", "_METABENCH_COMPLETE")
    return [item.value for item in shell_complete.get_completions(words, incomplete)]


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        (["variance", "--algo"], "fo", {"fomaml"}),
        (["variance", "--family"], "s", {"sinusoid"}),
        (["diagnose", "--probe"], "ver", {"verify"}),
        (["variance", "--set"], "algo.st", {"algo.steps="}),
        (["variance", "--algo", "imaml", "--set"], "algo.proximal", {"algo.proximal_strength="}),
        (["variance", "--family", "digits", "--set"], "family.w", {"family.ways="}),
        (["variance", "--set"], "probe.shot", {"probe.shot_multiples="}),
        (["variance", "--set"], "algo.inner_optimizer=a", {"algo.inner_optimizer=adam"}),
        (["diagnose", "--set"], "outer.ba", {"outer.batch="}),
        (["list"], "momen", {"momentum"}),
    ],
)
def test_members_and_keys_are_completed(words, incomplete, expected):
    assert set(completions(words, incomplete)) == expected


def test_every_key_that_is_offered_can_be_set():
    keys = completions(["variance", "--algo", "imaml", "--set"], "")

    chosen = {"algo": ("algorithms", "imaml"), "family": ("families", "sinusoid")}
    chosen["probe"] = ("probes", "variance")
    fields = {
        f"{group}.{field.name}"
        for group, member in chosen.items()
        for field in dataclasses.fields(registry.load(*member))
    }
    assert fields <= {key.removesuffix("=") for key in keys}


def test_past_runs_are_completed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("variance-maml-sinusoid-K1-012345", "verify-maml-sinusoid-K1-012345"):
        (tmp_path / "metabench-runs" / name).mkdir(parents=True)
        (tmp_path / "metabench-runs" / name / "record.json").touch()

    assert completions(["show"], "var") == ["variance-maml-sinusoid-K1-012345"]
    assert completions(["compare", "x"], "ver") == ["verify-maml-sinusoid-K1-012345"]


@pytest.mark.parametrize(("error", "code"), [(NetworkFailure, 4), (InvalidInput, 2)])
def test_a_network_that_fails_is_the_machines_fault(error, code, monkeypatch):
    def fails(*_, **__):
        raise error("https://example.org/a.zip could not be downloaded (timeout).")

    monkeypatch.setattr(run, "build", fails)

    result = shell.metabench("variance")

    assert result.exit_code == code
    assert "Error: https://example.org/a.zip could not be downloaded" in result.stderr
    assert isinstance(main, click.Group)
