"""Does the README do what it says?"""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from pages import without_hover

from metabench.cli.main import main
from metabench.grid.scheduling.progress_counts import Tally
from metabench.grid.study import study
from metabench.probes.verify.limits import LIMITS
from metabench.report.report import Reported
from metabench.settings import member_source, registry

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORD = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def own_files() -> tuple[str, str]:
    """The reader's my.py as the README begins it, and with the family below it."""
    first, second = (text for text in blocks(README, "python") if "result.save(" not in text)
    return first, first + second


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = (text for text in blocks(README, "python") if "result.save(" in text)
    monkeypatch.chdir(tmp_path)

    exec(compile(example, "README.md", "exec"), {})

    assert "Noise equals signal" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "page.html").read_text(encoding="utf-8")


NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


def test_the_output_shown_is_what_the_command_prints(tmp_path, monkeypatch):
    ((command, shown),) = re.findall(r"<!-- output of: (.*) -->\n```\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)

    output = CliRunner().invoke(main, shlex.split(command)[1:]).stdout
    printed = output.splitlines()

    assert len(printed) <= 30
    for line in shown.splitlines():
        found = printed.pop(0).rstrip()
        # padding depends on the length of the numbers
        assert NUMBER.sub("#", found).split() == NUMBER.sub("#", line).split()
        pairs = list(zip(NUMBER.findall(found), NUMBER.findall(line), strict=True))
        for one, other in pairs:
            # float32 sums differ between processors in the last digits; three are shown
            assert math.isclose(float(one), float(other), rel_tol=0.02), line


def test_the_file_of_ones_own_is_short_and_measured(tmp_path, monkeypatch):
    text, _ = own_files()
    assert len([line for line in text.splitlines() if line]) <= 15
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(text)

    for words in (["verify"], ["variance", "--tasks", "32"]):
        result = CliRunner().invoke(main, [*words, "--problem", "my.py:problem"])
        assert result.exit_code == 0, result.output
        assert "checks of the meta-gradient passed, in float64" in result.stdout


def test_the_family_of_ones_own_keeps_its_contract_and_has_redraws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(own_files()[1])

    held = CliRunner().invoke(main, ["contract", "my.py:Waves"])
    words = ["variance", "--problem", "my.py:Waves", "--set", "family.shots=20", "--json"]
    measured = CliRunner().invoke(main, [*words, "--tasks", "128"])

    assert held.stdout.startswith("my.py:Waves keeps the contract of families")
    found = json.loads(measured.stdout)
    assert found["spec"]["family"]["shots"] == 20
    sources = {row["of"]: row["status"] for row in found["rows"] if row["quantity"] == "component"}
    assert (sources["support"], sources["query"]) == ("ok", "ok")


def shell_commands() -> list[str]:
    lines = [line for block in blocks(README, "bash") for line in block.splitlines()]
    return [part.strip() for line in lines for part in line.split("&&") if "metabench " in part]


@pytest.mark.parametrize("command", shell_commands())
def test_every_command_of_the_readme_is_understood(command, tmp_path, monkeypatch):
    """Each is built as far as its measurement, which other tests run at a smaller size."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(own_files()[1])
    (tmp_path / "run.pt").touch()
    monkeypatch.setattr("metabench.cli.probe.run.run", lambda probe, **o: _build(probe, o))
    monkeypatch.setattr("metabench.cli.grid.run.drive", lambda study, *_: Tally(0, 0))
    monkeypatch.setattr("metabench.report.report.report", lambda page, **_: Reported([], 0, ()))
    (text,) = blocks(README, "toml")
    Path("study.toml").write_text(text, encoding="utf-8")
    words = shlex.split(command.partition(">")[0])[1:]

    result = CliRunner().invoke(main, words)

    assert result.exit_code == 0, result.output


def test_the_study_of_the_documentation_gives_the_cells_it_says(tmp_path):
    (text,) = blocks((ROOT / "docs" / "grids.md").read_text(encoding="utf-8"), "toml")
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")

    cells = study.read(tmp_path / "study.toml").cells

    # 5 seeds x 2 pairs of shots and queries x (2 algorithms x 2 steps x 7 rates + 3 inner steps),
    # less fomaml's 7 rates at 5 steps on 2 seeds
    assert len(cells) == 5 * 2 * (2 * 2 * 7 + 3) - 2 * 2 * 7


def _build(probe: str, options: dict) -> None:
    from metabench.measurement.from_words import build

    for name in ("as_json", "html", "csv", "quiet", "verbose", "fail_on", "budget"):
        options.pop(name)
    options["theta"] = "".join(options["theta"])
    assert build(probe, **options).spec()["seed"] == 0


def test_ci_runs_the_test_command_of_the_readme():
    (command,) = [line for line in README.splitlines() if "&& pytest" in line]

    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_golden_record_is_what_its_command_prints(tmp_path, monkeypatch):
    (command,), (golden,) = blocks(RECORD, "bash"), blocks(RECORD, "json")
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(main, shlex.split(command)[1:])

    assert result.exit_code == 0, result.output
    _same(json.loads(result.stdout), json.loads(golden), "record")


def _same(found: object, expected: object, where: str) -> None:
    """Everything equal, numbers to 1e-6; times, versions and the machine may differ."""
    if where == "record.checksum":  # of times and versions too
        assert re.fullmatch(r"[0-9a-f]{64}", str(found))
    elif where.startswith("record.provenance"):
        assert type(found) is type(expected) or None in (found, expected), where
    elif isinstance(expected, dict):
        assert isinstance(found, dict)
        assert found.keys() == expected.keys(), where
        if "seconds" in (expected.get("quantity") or ""):
            assert found["value"] is None or found["value"] >= 0
            return
        if expected.get("quantity") == "check":  # its size is round-off
            assert found["value"] < 1e-4
            assert (found["of"], found["status"]) == (expected["of"], expected["status"])
            return
        for key, value in expected.items():
            _same(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert isinstance(found, list)
        assert len(found) == len(expected), where
        for i, value in enumerate(expected):
            _same(found[i], value, f"{where}[{i}]")
    elif isinstance(expected, float):
        assert isinstance(found, float)
        assert math.isclose(found, expected, rel_tol=1e-6), where
    else:
        assert found == expected, where


MEMBERS = [
    (kind, name, target)
    for kind in ("algorithms", "families", "probes")
    for name, target in registry.members(kind).items()
]


@pytest.mark.parametrize(("kind", "name", "target"), MEMBERS)
def test_every_member_of_the_list_stands_in_the_readme_with_its_reference(kind, name, target):
    lines = [line for line in README.splitlines() if line.startswith(f"| `{name}` |")]

    assert len(lines) == 1, f"{name} of metabench list {kind} needs a line of its own in README.md"
    address = member_source.describe(target).reference.rpartition(", ")[2]
    assert address in lines[0].replace("%28", "(").replace("%29", ")")


def test_no_other_algorithm_or_family_stands_in_the_readme():
    known = {name for _, name, _ in MEMBERS}
    named = set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))

    assert named <= known


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!http|#)([^)#]+)", README))))
def test_what_the_readme_points_to_is_there(path):
    assert (ROOT / path).exists()


def test_the_limits_that_the_documentation_of_verify_names_are_the_probes():
    text = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `([^`]+)` \|.*\| (\S+) \|$", text, re.MULTILINE))

    assert {name: float(limit) for name, limit in table.items()} == LIMITS


@pytest.mark.parametrize("page", ["train.md", "diagnose.md", "python.md"])
def test_the_python_of_the_documentation_runs(page, tmp_path, monkeypatch, capsys):
    whole = (ROOT / "docs" / page).read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    names: dict = {}
    for example in blocks(whole.partition("From Python")[2], "python"):
        exec(compile(example, page, "exec"), names)

    assert capsys.readouterr().out
    assert "<svg" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_pandas_lines_of_the_documentation_run(tmp_path, monkeypatch, capsys):
    """The table they open is one that `report --table` wrote."""
    (example,) = blocks((ROOT / "docs" / "report.md").read_text(encoding="utf-8"), "python")
    monkeypatch.chdir(tmp_path)
    source = ROOT / "reports" / "rates" / "table.parquet"
    words = ["report", str(source), "--figures", "0", "--table", "table.parquet"]
    assert CliRunner().invoke(main, words).exit_code == 0

    exec(compile(example, "report.md", "exec"), {})

    assert "maml" in capsys.readouterr().out


def test_the_page_of_a_report_is_what_its_command_makes(tmp_path, monkeypatch):
    """Sentence by sentence; figures may differ in the last digits between versions."""
    monkeypatch.chdir(ROOT)
    words = ["report", "reports/rates/table.parquet", "-o", str(tmp_path / "page.html")]
    assert CliRunner().invoke(main, words).exit_code == 0

    pages = ((ROOT / "reports" / "rates"), tmp_path)
    made, now = ((folder / "page.html").read_text(encoding="utf-8") for folder in pages)
    claims, claims_now = (
        re.findall(r'class="claim">(.*?)</p>', without_hover(text)) for text in (made, now)
    )
    assert len(claims) > 3
    assert claims == claims_now
