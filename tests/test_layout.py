"""Do the tests lie as the package does, each file alone?"""

from __future__ import annotations

import ast
import collections
from pathlib import Path

import metabench

TESTS = Path(__file__).parent
FILES = sorted(TESTS.rglob("test_*.py"))


def test_every_folder_of_tests_is_a_folder_of_the_package():
    package = Path(metabench.__file__).parent
    folders = {path.parent.relative_to(TESTS) for path in FILES}

    assert {folder for folder in folders if not (package / folder).is_dir()} == set()


def test_no_two_files_of_tests_have_one_name():
    counted = collections.Counter(path.name for path in FILES)

    assert [name for name, count in counted.items() if count > 1] == []


def test_no_file_of_tests_imports_another():
    """What several need lies in a module beside this file."""
    taken = {
        (path.name, module)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }

    assert [pair for pair in taken if pair[1].startswith("test_")] == []
