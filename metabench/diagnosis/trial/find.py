"""Findings and table of the trials: which changes help, hurt, or neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.wording import interval, number
from metabench.records.number_format import percent
from metabench.records.rows import Finding, Row, from_table
from metabench.report.text_tables import TextTable

if TYPE_CHECKING:
    import pandas as pd

    from metabench.diagnosis.trial import Trial

HELPS, HURTS, OPEN, FAILED = "helps", "hurts", "can't be told", "diverged"
EFFECTS = ("effect", "effect_at_once")


def find(probe: Trial, table: pd.DataFrame) -> list[Finding]:
    """Return the finding on which changes lower the validation loss."""
    effects = from_table(table, "effect", of=None)
    steps = {r.of: r for r in from_table(table, "outer_steps", of=None)}
    loss = {r.of: r for r in from_table(table, "loss", of=None)}
    if not effects or "unchanged" not in steps:
        return []
    stopped = {r.of: r for r in from_table(table, "stopped", of=None)}
    if "unchanged" in stopped:
        return [_unusable(stopped, effects)]
    good = sorted((r for r in effects if verdict(r) == HELPS), key=lambda r: r.value or 0.0)
    equal = f"each at the compute of {steps['unchanged'].value or 0:.0f} outer steps"
    if good:
        return [_helping(good, len(effects), equal, loss["unchanged"])]
    claim = (
        f"None of {len(effects)} changes tried, {equal}, lowers the validation loss: every "
        "interval contains 0 or lies above it."
    )
    repair = "Keep the settings, or test longer training runs with --try 100."
    return [Finding("tried", "info", "undecided", claim, repair, tuple(effects))]


def _helping(good: list[Row], count: int, equal: str, unchanged: Row) -> Finding:
    """Return the finding that names the changes that help, the best first."""
    effects = "; ".join(f"{r.of} changes it by {number(r.value)} {interval(r)}" for r in good[:3])
    verb = "lowers" if len(good) == 1 else "lower"
    claim = (
        f"Of {count} changes tried, {equal}, {len(good)} {verb} the validation loss "
        f"({number(unchanged.value)} without a change): {effects}."
    )
    repair = f"Try {good[0].of} first; --try 100 shows whether the effect lasts."
    return Finding("tried", "info", "", claim, repair, tuple(good))


def _unusable(stopped: dict[str, Row], effects: list[Row]) -> Finding:
    share = stopped["unchanged"].value or 0.0
    kept = [r.of for r in effects if r.of not in stopped]
    claim = (
        f"Without a change, {percent(share)} of the short training runs stop because the "
        "meta-gradient explodes or is not finite."
    )
    repair = (
        f"With {', '.join(kept)}, no training run stops."
        if kept
        else "None of the changes tried prevents it."
    )
    return Finding("tried", "info", "fault", claim, repair, tuple(stopped.values()))


def verdict(effect: Row) -> str:
    """Return whether an effect's interval shows that the change helps, hurts, or neither."""
    if effect.value is None or effect.low is None or effect.high is None:
        return FAILED
    return HELPS if effect.high < 0 else HURTS if effect.low > 0 else OPEN


def change_table(table: pd.DataFrame, because: dict[str, str]) -> TextTable:
    """Return the table of the trials, one line per change, with the cause that each answers."""
    steps = {r.of: r for r in from_table(table, "outer_steps", of=None)}
    at_once = {r.of: r for r in from_table(table, "effect_at_once", of=None)}
    lines = []
    for effect in from_table(table, "effect", of=None):
        once = at_once.get(effect.of)
        lines.append(
            (
                effect.of,
                because.get(effect.of, ""),
                f"{steps[effect.of].value:.0f}",
                f"{number(once.value)} {interval(once)}" if once and once.value else "",
                FAILED if effect.value is None else f"{number(effect.value)} {interval(effect)}",
                verdict(effect),
            )
        )
    header = (
        "change",
        "tried against",
        "outer steps",
        "loss change before training",
        "loss change after training",
        "effect",
    )
    return TextTable(header, tuple(lines))
