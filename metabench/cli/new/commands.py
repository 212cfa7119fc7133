"""The command `new`: options and help."""

from __future__ import annotations

from pathlib import Path

import click

from metabench.cli import exit_codes
from metabench.cli.options import FILE


@click.command(epilog=exit_codes.OF_PROBES)
@click.argument("kind", type=click.Choice(("problem", "algorithm", "probe")))
@click.argument("file", type=FILE)
def new(kind: str, file: Path) -> None:
    """Write a working file of twenty lines to start your own problem, algorithm or probe from.

    It is never written over a file that is there.
    """
    from metabench.cli.new.starts import STARTS
    from metabench.records import run_folders
    from metabench.settings.errors import InvalidInput

    if file.suffix != ".py":
        raise InvalidInput(f"{file} must end in .py: {file}.py.")
    if file.exists():
        raise InvalidInput(f"{file} is there already; give another name.")
    run_folders.check_writable(file)
    start = STARTS[kind]
    run_folders.write(file, start.text)
    click.echo(f"wrote  {file}\nnext   {start.command.format(file=file)}")


COMMANDS = (new,)
