"""The start of a command that measures: its first line, then the imports, which take seconds."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Mapping
from typing import Any

import click

from metabench.settings import registry

# torch imports torch._dynamo at the first derivative inside a vmap
HEAVY = ("torch", "torch._dynamo", "pandas", "metabench.measurement.measurement")


def start(command: str, given: Mapping[str, Any]) -> None:
    """Say what is measured, then import what measuring needs.

    Importing makes 4 * 10^5 objects, none of which is garbage: no search for cycles while they are
    made, nor among them later.

    Args:
        command: the word that the line begins with.
        given: the command's options.
    """
    algo, family = given["algo"], given["problem"] or given["family"]
    if not given["quiet"] and _is_named("algorithms", algo) and _is_named("families", family):
        click.echo(f"{command}: {algo} on {family}, seed {given['seed']}", err=True)
    if "torch" not in sys.modules:
        _import_without_search()


def _import_without_search() -> None:
    gc.disable()
    try:
        for name in HEAVY:
            importlib.import_module(name)
    finally:
        gc.enable()
    gc.freeze()


def _is_named(kind: str, name: str) -> bool:
    """Return whether a name may be a member's; of others, a sentence follows."""
    return ":" in name or name in registry.members(kind)
