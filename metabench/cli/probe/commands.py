"""A command for every probe; its help, options and settings are read from the probe's source."""

from __future__ import annotations

from typing import Any

import click

from metabench.cli import exit_codes, options
from metabench.cli.measuring_start import start
from metabench.settings import member_source, registry
from metabench.settings.errors import InvalidInput
from metabench.settings.member_source import Field


class ProbeCommand(click.Command):
    """Command whose help lists the probe's settings that have no option."""

    settings: tuple[Field, ...] = ()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the settings with units and defaults."""
        super().format_options(ctx, formatter)
        if self.settings:
            with formatter.section("Settings (--set probe.X=)"):
                formatter.write_dl([(field.name, _option_help(field)) for field in self.settings])


class Targets(click.Group):
    """Group whose commands are probes named by file or module: `my.py:Hello`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return no names: the probes are in the user's files."""
        return []

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Make the command of the named probe."""
        known = registry.members("probes")
        parent = ctx.parent.command if ctx.parent else None
        taken = parent.commands if isinstance(parent, click.Group) else {}
        if cmd_name in known and cmd_name in taken:
            raise InvalidInput(refusal(cmd_name))
        if ":" not in cmd_name and cmd_name not in known:
            registry.load("probes", cmd_name)  # raises, naming the nearest probe
        return command(cmd_name, known.get(cmd_name, cmd_name))


def command(name: str, target: str) -> ProbeCommand:
    """Make the command of a probe; `target`, "module:Class", is read and not imported."""
    decorate = click.command(
        name,
        cls=ProbeCommand,
        help="\n\n".join(filter(None, member_source.describe(target))),
        epilog=exit_codes.OF_PROBES,
    )
    made = decorate(options.measuring(_running(name)))
    taken = {flag for option in made.params for flag in option.opts}
    words = member_source.class_words(target, "options")
    fields = {f.name: f for f in member_source.field_lines(target) if f.name != "tasks"}
    offered = [fields[w] for w in words if w in fields and _flag(fields[w]) not in taken]
    made.params += [
        click.Option([_flag(f), f"probe_{f.name}"], metavar="VALUE", help=_option_help(f))
        for f in offered
    ]
    for option in made.params:
        if option.name == "tasks" and isinstance(option, click.Option):
            option.help = _tasks_help(target)
    made.settings = tuple(f for f in fields.values() if f not in offered)
    return made


def refusal(name: str) -> str:
    """Return the sentence for a probe whose name is another command's: how to run it."""
    target = registry.members("probes")[name]
    return (
        f"The probe {name!r} of {target} has the name of another command; run it as "
        f"`metabench probe {target}`, or list it under another name."
    )


@click.group(
    cls=Targets,
    epilog=exit_codes.OF_PROBES,
    subcommand_metavar="FILE.py:NAME [OPTIONS]",
    no_args_is_help=True,
)
def probe() -> None:
    """Run a user-defined probe: my.py:Hello, or my_pkg.mod:Hello.

    Its options and settings are shown by: metabench probe my.py:Hello --help.
    """


def _running(name: str) -> Any:
    def run(**given: Any) -> None:
        start(name, given)
        from metabench.cli.probe.run import run

        own = {key: given.pop(key) for key in list(given) if key.startswith("probe_")}
        named = [f"{key.replace('_', '.', 1)}={own[key]}" for key in own if own[key] is not None]
        run(name, **{**given, "assignments": (*named, *given["assignments"])})

    return run


def _tasks_help(target: str) -> str:
    """Return the help of --tasks, whose default is the probe's own or the family's."""
    defaults = {f.name: f.default for f in member_source.field_lines(target)}
    own = member_source.class_flag(target, "has_default_tasks") and defaults.get("tasks")
    return f"Number of tasks to draw.  [default: {own or 'that of the family'}]"


def _flag(field: Field) -> str:
    return f"--{field.name.replace('_', '-')}"


def _option_help(field: Field) -> str:
    """Return a field's meaning, unit and default, formatted as an option's help."""
    about = field.meaning[:1].upper() + field.meaning[1:]
    default = f"default: {field.default}" if field.default else ""
    unit = "" if field.unit == "1" else field.unit
    notes = "; ".join(filter(None, (unit, default)))
    return f"{about}  [{notes}]" if notes else about


COMMANDS = (probe,)
