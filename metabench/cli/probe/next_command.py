"""The command that the terminal suggests next."""

from __future__ import annotations

from typing import Any

from metabench.cli.suggested_command import suggest


def next_command(probe: str, choices: dict[str, Any]) -> str:
    """Return the next command to try: after variance FOMAML, then digits; else diagnose.

    Args:
        probe: the probe that was run.
        choices: the options given to it.
    """
    algo = {"algo": choices["algo"]}
    if probe != "variance":
        return suggest("diagnose", {**algo, "assignments": settings_of(choices, "")}, ["tasks"])
    if choices["algo"] == "maml":
        return suggest(
            "variance", {"algo": "fomaml", "assignments": _of_any_algorithm(choices["assignments"])}
        )
    if ":" in choices["algo"]:
        return suggest("contract", {"member": choices["algo"]})
    if choices["family"] != "digits" and choices["problem"] is None:
        kept = [given for given in settings_of(choices, "probe") if not given.startswith("family.")]
        other = {**algo, "family": "digits", "assignments": tuple(kept)}
        return suggest("variance", other, ["theta"])  # of another family
    return f"{suggest('list', {'name': choices['algo']})}   (fields for --set algo.FIELD=VALUE)"


def settings_of(choices: dict[str, Any], probe: str, *more: str) -> tuple[str, ...]:
    """Return the assignments that another command takes.

    Args:
        choices: the options given to this command.
        probe: the group of settings of the other command's probe here; they become `probe`; "" for
            a command without a probe.
        more: groups of settings that the other command has besides algo, family and compute.
    """
    kept = []
    for given in choices["assignments"]:
        group, _, rest = given.partition(".")
        if group in ("algo", "family", "compute", *more):
            kept.append(given)
        elif probe and group == probe:
            kept.append(f"probe.{rest}")
    return tuple(kept)


def _of_any_algorithm(assignments: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out what other algorithms don't have."""
    return tuple(given for given in assignments if not given.startswith("algo.rematerialize"))
