"""The command line: the commands of every folder here, and one for each probe of the registry."""

from __future__ import annotations

import sys
from typing import Any

import click

import metabench
from metabench.cli import exit_codes
from metabench.cli.diagnose import commands as diagnose
from metabench.cli.grid import commands as grid
from metabench.cli.members import commands as members
from metabench.cli.probe import commands as probe
from metabench.cli.report import commands as report
from metabench.cli.train import commands as train
from metabench.settings import registry
from metabench.settings.errors import InvalidInput


class Commands(click.Group):
    """A group with a command for every probe; misuse is one sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List ours and the probes'."""
        return sorted({*super().list_commands(ctx), *registry.members("probes")})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Give a command of ours, or make the probe's: nobody's probe displaces a command."""
        own = super().get_command(ctx, cmd_name)
        target = registry.members("probes").get(cmd_name)
        return own or (probe.command(cmd_name, target) if target else None)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Name the probes that got no command, then say what exit codes mean."""
        for name in sorted(self.commands.keys() & registry.members("probes").keys()):
            formatter.write_paragraph()
            formatter.write_text(probe.refusal(name))
        super().format_epilog(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; misuse exits with 2, a broken environment with 4."""
        try:
            return super().invoke(ctx)
        except InvalidInput as error:
            raise click.UsageError(str(error)) from error
        except BrokenPipeError:  # `metabench ... | head`: click knows what to do
            raise
        except (OSError, MemoryError, RuntimeError) as error:
            # torch says that it can't allocate by a RuntimeError; any other is a fault of ours
            if isinstance(error, RuntimeError) and "allocate" not in str(error):
                raise
            click.echo(f"Error: {error}. Nothing that was saved before is lost.", err=True)
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
