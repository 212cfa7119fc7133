"""Do the help and the documents list the exit codes that the commands have?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from shell import metabench

from metabench.cli import exit_codes

ROOT = Path(__file__).parents[2]
SIGNALS = (exit_codes.INTERRUPTED, exit_codes.TERMINATED)
OF_GRIDS = (*range(5), *SIGNALS)


def codes_in(text):
    """The numbers that begin an entry of each list of exit codes."""
    (listed, *others) = re.findall(r"Exit\s+codes:\s(.*?)\.(?:\s|$)", text, re.S)
    assert not others
    return tuple(int(code) for code in re.findall(r"(?:^|[,;] ?)\s*(\d+)\s", listed))


def test_every_code_of_the_commands_is_one_of_the_list():
    codes = {value for name, value in vars(exit_codes).items() if isinstance(value, int)}

    assert {0, *codes} == set(codes_in(exit_codes.OF_ALL))


@pytest.mark.parametrize(
    ("command", "codes"),
    [
        ((), OF_GRIDS),
        (("variance",), (0, 1, 2, 4, *SIGNALS)),
        (("diagnose",), (0, 1, 2, 4, *SIGNALS)),
        (("list",), (0, 2, 4, *SIGNALS)),
        (("train",), OF_GRIDS),
        (("report",), OF_GRIDS),
        (("grid",), OF_GRIDS),
        (("compare",), OF_GRIDS),
    ],
)
def test_the_help_of_a_command_lists_its_codes(command, codes):
    assert codes_in(metabench(*command, "--help").output) == codes


@pytest.mark.parametrize(
    ("page", "codes"),
    [("README.md", OF_GRIDS), ("docs/grids.md", OF_GRIDS), ("docs/train.md", OF_GRIDS)],
)
def test_a_document_lists_the_codes_of_its_commands(page, codes):
    assert codes_in((ROOT / page).read_text()) == codes
