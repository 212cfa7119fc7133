"""The command `metabench`: the commands of the folders here, and one for each listed probe."""

from __future__ import annotations

import errno
import shlex
import sys
import time
import traceback
import warnings
from collections.abc import Mapping
from typing import Any, NoReturn

import click

import metabench
from metabench.cli import exit_codes, options, unexplained
from metabench.cli.diagnose import commands as diagnose
from metabench.cli.grid import commands as grid
from metabench.cli.members import commands as members
from metabench.cli.new import commands as new
from metabench.cli.probe import commands as probe
from metabench.cli.report import commands as report
from metabench.cli.runs import commands as runs
from metabench.cli.short_exit import exit_shortly
from metabench.cli.train import commands as train
from metabench.settings import interrupts, member_source, registry
from metabench.settings.errors import InvalidInput, NetworkFailure
from metabench.settings.user_errors import user_errors, user_line

ARGUMENTS = "metabench.arguments"  # key in a context's meta: the command line
# commands of `--help` by what they are for; the probes stand in the first group
GROUPS = {
    "Ask": ("diagnose", "runs", "show", "compare", "report"),
    "Train": ("train", "replay"),
    "Many cells": ("plan", "grid", "worker", "slurm", "status", "cell", "rm", "compact"),
    "Extend": ("list", "new", "contract", "probe"),
}
SHOW_CURSOR = "\x1b[?25h"
# errors of the path that was given, not of the system
OF_A_PATH = (
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL),
)


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in groups, each with one whole sentence."""
        probes = registry.members("probes")
        grouped = dict(GROUPS)
        grouped["Ask"] = (*grouped["Ask"], *(name for name in probes if name not in self.commands))
        for title, names in grouped.items():
            with formatter.section(title):
                formatter.write_dl([(name, self._sentence(ctx, name, probes)) for name in names])

    def _sentence(self, ctx: click.Context, name: str, probes: Mapping[str, str]) -> str:
        """Return what a command does: a probe's question, else the first sentence of its help."""
        if name in probes and name not in self.commands:
            target = probes[name]
            return member_source.class_text(target, "question") or (
                member_source.describe(target).summary
            )
        command = self.get_command(ctx, name)
        assert command is not None
        return (command.help or "").partition("\n\n")[0].replace("\n", " ")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write which probes have no command because of their name, then the exit codes."""
        for name in sorted(self.commands.keys() & registry.members("probes").keys()):
            formatter.write_paragraph()
            formatter.write_text(probe.refusal(name))
        super().format_epilog(ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse arguments that no file name or setting can be, and keep the others."""
        ctx.meta[ARGUMENTS] = list(args)
        args = _debug_first(args)
        for each in args:
            if "\0" in each:
                raise click.UsageError(f"The argument {each!r} contains the character NUL.")
            try:
                each.encode()
            except UnicodeEncodeError:
                raise click.UsageError(
                    f"The argument {each!r} isn't UTF-8; rename the file."
                ) from None
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; invalid input exits with 2, a system error with 4, a signal with 130."""
        ctx.meta[options.BEGUN] = time.monotonic()
        exit_shortly()
        try:
            with interrupts.raising(), warnings.catch_warnings(), user_errors():
                # of shapes that broadcast, which is a finding of the checks
                warnings.filterwarnings("ignore", "Using a (target|input) size", UserWarning)
                return super().invoke(ctx)
        except NetworkFailure as error:
            click.echo(f"Error: {error}{_more(ctx, error)}", err=True)
            ctx.exit(exit_codes.SYSTEM_ERROR)
        except InvalidInput as error:
            raise click.UsageError(f"{error}{_more(ctx, error)}") from error
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except BrokenPipeError:  # `metabench ... | head`: click knows what to do
            raise
        except KeyboardInterrupt as error:
            _end_interrupted(ctx, error)
        except (OSError, MemoryError, RuntimeError) as error:
            # torch reports a failed allocation as a RuntimeError
            if isinstance(error, RuntimeError) and "allocate" not in str(error):
                _explain(ctx, error)
            if isinstance(error, OSError) and error.errno in OF_A_PATH and error.filename:
                raise click.UsageError(
                    f"{error.filename} can't be used ({error.strerror}); give another path."
                ) from error
            click.echo(f"Error: {error}. Files saved earlier are intact.", err=True)
            ctx.exit(exit_codes.SYSTEM_ERROR)
        except Exception as error:
            _explain(ctx, error)


def _explain(ctx: click.Context, error: Exception) -> NoReturn:
    """Raise the sentence for an error of a user's member; any other is a bug of metabench."""
    said = unexplained.sentence(error, ctx.meta[ARGUMENTS])
    if said is None or ctx.params.get("debug"):
        raise error
    raise click.UsageError(said) from error


def _debug_first(args: list[str]) -> list[str]:
    """Move `--debug` before the command, wherever it stands among its options."""
    words = args[: args.index("--")] if "--" in args else args
    if "--debug" not in words:
        return args
    return ["--debug", *(word for word in words if word != "--debug"), *args[len(words) :]]


def _more(ctx: click.Context, error: InvalidInput) -> str:
    """Print the traceback of an error if asked to; else return how to, for errors of user code."""
    if ctx.params.get("debug"):
        click.echo("".join(traceback.format_exception(error)), err=True)
        return ""
    return " (--debug shows the traceback.)" if error.__cause__ and user_line(error) else ""


def _end_interrupted(ctx: click.Context, error: KeyboardInterrupt) -> None:
    """Say what is kept and how to go on, and exit with 130 or 143."""
    kept = " ".join(getattr(error, "__notes__", ["Nothing was written."]))
    command = shlex.join(["metabench", *ctx.meta[ARGUMENTS]])
    if sys.stderr.isatty():  # a bar may have been interrupted where it starts
        click.echo(SHOW_CURSOR, err=True, nl=False)
    click.echo(f"\nInterrupted. {kept} Go on with: {command}", err=True)
    terminated = isinstance(error, interrupts.Terminated)
    ctx.exit(exit_codes.TERMINATED if terminated else exit_codes.INTERRUPTED)


@click.group(
    cls=Commands,
    epilog=exit_codes.OF_ALL,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(metabench.__version__)
@click.option("--debug", is_flag=True, help="Print the traceback of an error, too.")
def main(debug: bool) -> None:
    """Why is my meta-gradient noisy, exploding, biased or slow, and what should I change?

    Start with `metabench variance --algo maml`.
    """


for _folder in (diagnose, grid, members, new, probe, report, runs, train):
    for _command in _folder.COMMANDS:
        main.add_command(_command)


if __name__ == "__main__":
    sys.exit(main())
