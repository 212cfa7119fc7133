"""The command `metabench`: the commands of the folders here, and one for each listed probe."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

import metabench
from metabench.cli import exit_codes, options
from metabench.cli.diagnose import commands as diagnose
from metabench.cli.grid import commands as grid
from metabench.cli.members import commands as members
from metabench.cli.probe import commands as probe
from metabench.cli.report import commands as report
from metabench.cli.train import commands as train
from metabench.settings import registry
from metabench.settings.errors import InvalidInput


class Commands(click.Group):
    """Group with a command for every probe; invalid input prints one sentence and exits with 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the fixed commands and of the probes."""
        return sorted({*super().list_commands(ctx), *registry.members("probes")})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a fixed command, or make a probe's; a probe never replaces a fixed command."""
        own = super().get_command(ctx, cmd_name)
        target = registry.members("probes").get(cmd_name)
        return own or (probe.command(cmd_name, target) if target else None)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write which probes have no command because of their name, then the exit codes."""
        for name in sorted(self.commands.keys() & registry.members("probes").keys()):
            formatter.write_paragraph()
            formatter.write_text(probe.refusal(name))
        super().format_epilog(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; invalid input exits with 2, a system error with 4."""
        ctx.meta[options.BEGUN] = time.monotonic()
        try:
            return super().invoke(ctx)
        except InvalidInput as error:
            raise click.UsageError(str(error)) from error
        except BrokenPipeError:  # `metabench ... | head`: click knows what to do
            raise
        except (OSError, MemoryError, RuntimeError) as error:
            # torch reports a failed allocation as a RuntimeError; any other is a bug of metabench
            if isinstance(error, RuntimeError) and "allocate" not in str(error):
                raise
            click.echo(f"Error: {error}. Files saved earlier are intact.", err=True)
            ctx.exit(exit_codes.SYSTEM_ERROR)


@click.group(
    cls=Commands,
    epilog=exit_codes.OF_ALL,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(metabench.__version__)
def main() -> None:
    """Why is my meta-gradient noisy, exploding, biased or slow, and what should I change?

    Start with `metabench variance --algo maml`.
    """


for _folder in (diagnose, grid, members, probe, report, train):
    for _command in _folder.COMMANDS:
        main.add_command(_command)


if __name__ == "__main__":
    sys.exit(main())
