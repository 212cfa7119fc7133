"""Settings at which each probe takes a second or so, for studies that ask all of them."""

from __future__ import annotations

from typing import Any

TINY: dict[str, dict[str, Any]] = {
    "variance": {"tasks": 64, "redrawn_tasks": 16, "shot_multiples": 4},
    "verify": {"tasks": 2},
    "spectrum": {"tasks": 4, "steps": 20, "meta": 4},
    "agreement": {"tasks": 4, "at": [1, 2], "minimum_steps": 20, "budgets": [2], "rounds": 1},
    "explosion": {"tasks": 8, "steps": 5, "mitigated": 2},
    "constants": {"tasks": 16, "redrawn_tasks": 4, "hessians": 4, "run": 2},
    "cost": {"tasks": 16, "steps": [1], "sizes": [1, 4], "rounds": 1},
}


def given(root: str, settings: dict[str, Any]) -> list[str]:
    """Write settings as the shell takes them."""
    words = []
    for name, value in settings.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        words += ["--set", f"{root}.{name}={text}"]
    return words
