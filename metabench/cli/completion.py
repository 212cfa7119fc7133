"""Completion of members, settings and past runs, for the shells that click completes in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click
from click.shell_completion import CompletionItem

from metabench.settings import member_source, registry
from metabench.settings.synonyms import KIND_GROUPS

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
KINDS_OF_FIELDS = {"inner_optimizer": "inner_optimizers", "solver": "solvers"}
OF_TRAINING = ("outer", "trial")  # that `diagnose` and `train` take besides


def members(*kinds: str) -> Completer:
    """Return a completer of the listed members of these kinds, with their summaries."""

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = {name: at for kind in kinds for name, at in registry.members(kind).items()}
        return [
            CompletionItem(name, help=member_source.describe(target).summary)
            for name, target in sorted(found.items())
            if name.startswith(incomplete)
        ]

    return complete


def runs(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete names of folders in `metabench-runs`, and of files.

    Args:
        context: of the command.
        parameter: that is completed.
        incomplete: what was typed of it.
    """
    from metabench.records.run_folders import RUNS

    names = sorted(path.parent.name for path in RUNS.glob("*/record.json"))
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def settings(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete KEY= of `--set` for the chosen algorithm, family and probe, and members after it.

    Args:
        context: of the command, with the options typed so far.
        parameter: that is completed.
        incomplete: what was typed of it.
    """
    key, equals, begun = incomplete.partition("=")
    if equals:
        kind = KINDS_OF_FIELDS.get(key.rpartition(".")[2], "")
        names = sorted(registry.members(kind)) if kind else []
        return [CompletionItem(f"{key}={name}") for name in names if name.startswith(begun)]
    return [
        CompletionItem(f"{name}=", help=about)
        for name, about in _keys(context)
        if name.startswith(incomplete)
    ]


def _keys(context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield each key with what it is; fields of an inner optimizer or solver stand below theirs."""
    for group, target in _targets(context).items():
        for field in member_source.field_lines(target):
            yield f"{group}.{field.name}", field.meaning
            if field.name == "inner_optimizer":
                for below in member_source.field_lines(registry.members("inner_optimizers")["sgd"]):
                    yield f"{group}.{field.name}.{below.name}", below.meaning


def _targets(context: click.Context) -> dict[str, str]:
    """Return the class behind each group of settings that the command takes."""
    probes = registry.members("probes")
    chosen = {"algo": "maml", "family": "sinusoid"}
    chosen |= {part: name for part in chosen if (name := context.params.get(part))}
    found = {
        KIND_GROUPS[kind]: registry.members(kind)[chosen[KIND_GROUPS[kind]]]
        for kind in ("algorithms", "families")
        if chosen[KIND_GROUPS[kind]] in registry.members(kind)
    }
    found["compute"] = registry.GROUPS["compute"]
    if context.info_name in probes:
        return {**found, "probe": probes[context.info_name]}
    return {**found, **{name: registry.GROUPS[name] for name in OF_TRAINING}, **probes}
