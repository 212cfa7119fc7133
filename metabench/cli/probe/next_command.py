"""The command that the terminal suggests next."""

from __future__ import annotations

import shlex
from typing import Any


def next_command(probe: str, choices: dict[str, Any]) -> str:
    """Return the next command to try: after variance FOMAML, then digits; else diagnose."""
    if probe != "variance":
        kept = [g for g in choices["assignments"] if not g.startswith("probe.")]
        given = {**choices, "tasks": None, "assignments": kept}
        return f"metabench diagnose --algo {choices['algo']}" + same(given)
    if choices["algo"] == "maml":
        return "metabench variance --algo fomaml" + same(choices)
    if choices["problem"] is not None and ":" in choices["algo"]:
        return f"metabench contract {choices['algo']} --problem {choices['problem']}"
    if choices["family"] != "digits" and choices["problem"] is None:
        return f"metabench variance --algo {choices['algo']} --family digits"
    return f"metabench list {choices['algo']}   (fields for --set algo.FIELD=VALUE)"


def same(choices: dict[str, Any]) -> str:
    """Return the command's other options, so that only the algorithm or the probe changes."""
    words = []
    if choices["problem"] is not None:
        words += ["--problem", choices["problem"]]
    elif choices["family"] != "sinusoid":
        words += ["--family", choices["family"]]
    for name, default in (("theta", ""), ("tasks", None), ("seed", 0), ("dtype", "float32")):
        if choices[name] != default:
            words += [f"--{name}", str(choices[name])]
    kept = (given for given in choices["assignments"] if not given.startswith("algo.rematerialize"))
    words += [word for given in kept for word in ("--set", given)]
    return f" {shlex.join(words)}" if words else ""
