"""The command `runs`: options and help."""

from __future__ import annotations

from typing import Any

import click

from metabench.cli import exit_codes, options


@click.command(epilog=exit_codes.OF_PROBES)
@options.json
def runs(**given: Any) -> None:
    """List past runs with date, verdict and command.

    `metabench show RUN` prints one again, `metabench compare RUN RUN` compares two; RUN is the name
    of a folder, or a part of it that no other has.
    """
    from metabench.cli.runs.list_runs import list_runs

    list_runs(**given)


COMMANDS = (runs,)
