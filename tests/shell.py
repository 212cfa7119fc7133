"""Commands called in this process, and what they printed."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from metabench.cli.main import main


def metabench(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)


def measured(*args):
    """The record of a run that must succeed, refusing what strict JSON refuses."""
    result = metabench(*args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout, parse_constant=lambda word: pytest.fail(word))


def without_seconds(rows):
    return [row for row in rows if "seconds" not in row["quantity"]]


def numbers(rows):
    return [row for row in without_seconds(rows) if row["quantity"] != "check"]
