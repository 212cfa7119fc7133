"""Does a package that can't be imported stop the commands that look at every member?"""

from __future__ import annotations

import sys

import pytest
from shell import metabench

from metabench import MAML, Quadratic, Subject
from metabench.probes.cost.comparison_algorithms import comparison_algorithms
from metabench.settings import registry

FILES = {
    "broken_lacks": b"import no_such_module\nclass X:\n    '''Some.'''\n",
    "broken_older": b"from metabench.no_such_folder import y\nclass X:\n    '''Some.'''\n",
    "broken_syntax": b"def (:\n",
    "broken_letters": b"class X:\n    '''H\xe9.'''\n",
    "broken_raises": b"raise KeyError('boo')\nclass X:\n    '''Some.'''\n",
    "broken_lines": b"raise RuntimeError('no GPU'+chr(10)+'second')\nclass X:\n    '''Some.'''\n",
    "broken_exits": b"raise SystemExit('bye')\nclass X:\n    '''Some.'''\n",
    "broken_number": b"X = 5\n",
    "broken_empty": b"",
    "broken_kind": b"class X:\n    '''Some.'''\n",
}
REASONS = {
    "broken_lacks": "'broken_lacks:X' can't be loaded: No module named 'no_such_module'.",
    "broken_older": (
        "'broken_older:X' can't be loaded: No module named 'metabench.no_such_folder'."
    ),
    "broken_syntax": (
        "'broken_syntax:X' can't be loaded: SyntaxError on import: invalid syntax "
        "(broken_syntax.py, line 1)."
    ),
    "broken_letters": "'broken_letters:X' can't be loaded: SyntaxError on import: ",
    "broken_raises": "'broken_raises:X' can't be loaded: KeyError on import: 'boo'.",
    "broken_lines": "'broken_lines:X' can't be loaded: RuntimeError on import: no GPU.",
    "broken_exits": "'broken_exits:X' can't be loaded: SystemExit on import: bye.",
    "broken_number": "broken_number:X does not derive from metabench.Probe.",
    "broken_empty": "'broken_empty:X' can't be loaded: broken_empty has no 'X'.",
    "broken_kind": "broken_kind:X does not derive from metabench.Probe.",
    "broken_gone": "'broken_gone:X' can't be loaded: No module named 'broken_gone'.",
}
LISTED = {
    "broken_lacks": "(can't be imported: there is no module no_such_module)",
    "broken_older": "(can't be imported: there is no module metabench.no_such_folder)",
    "broken_syntax": "(can't be imported: broken_syntax.py is not valid Python)",
    "broken_letters": "(can't be imported: broken_letters.py is not valid Python)",
    "broken_gone": "(not installed)",
}


@pytest.fixture(autouse=True)
def plugins(tmp_path, monkeypatch):
    """An installed package of broken modules, each listed as a probe and as an algorithm."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_bytes(text)
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    lines = [f"{name} = {name}:X" for name in REASONS]
    kinds = ("[metabench.probes]", "[metabench.algorithms]")
    (info / "entry_points.txt").write_text("\n".join(f"{k}\n" + "\n".join(lines) for k in kinds))
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in FILES:
        sys.modules.pop(name, None)


def test_what_cannot_be_loaded_is_named_and_the_rest_is_loaded():
    classes, broken = registry.load_all("probes")

    assert classes.keys() == registry.members("probes").keys() - REASONS.keys()
    assert broken.keys() == REASONS.keys()
    for name, why in REASONS.items():
        assert broken[name].startswith(why)


def test_the_list_names_what_its_own_lines_show_to_be_broken():
    result = metabench("list")

    assert result.exit_code == 0
    lines = {line.split()[0]: line.strip() for line in result.stdout.splitlines() if line.strip()}
    for name, words in LISTED.items():
        assert lines[name] == f"{name} {words}"


@pytest.mark.parametrize("name", REASONS)
def test_the_list_of_a_broken_member_s_fields_says_why_in_a_sentence(name):
    result = metabench("list", name)

    assert result.exit_code == 2, result.output
    assert "Error: " in result.output


@pytest.mark.parametrize("name", REASONS)
def test_a_broken_probe_s_own_command_says_why_in_a_sentence(name):
    result = metabench(name, "--family", "quadratic")

    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_checkup_leaves_broken_probes_out_and_names_them():
    result = metabench("diagnose", "--family", "quadratic", "--budget", "1s", "--try", "0")

    assert result.exit_code == 0, result.output
    for name, why in REASONS.items():
        assert f"Note: {name} was left out: {why}" in result.stdout


def test_the_comparison_of_costs_leaves_broken_algorithms_out_and_names_them():
    bowl = Quadratic(dim=2)
    subject = Subject(bowl.problem(), bowl.sample, MAML(), bowl.theta(0))

    made, rows = comparison_algorithms(subject, 0)

    assert "fomaml" in made
    said = {row.of.partition(" ")[0]: row.of for row in rows}
    for name in REASONS.keys() - {"broken_kind", "broken_letters", "broken_number"}:
        assert REASONS[name].rstrip(".") in said[name]
