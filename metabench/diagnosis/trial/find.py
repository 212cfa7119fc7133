"""What the trials say: which changes are shown to help, which to hurt, and which neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.wording import interval, number
from metabench.records.rows import Finding, Row, from_table
from metabench.report.text_tables import TextTable

if TYPE_CHECKING:
    import pandas as pd

    from metabench.diagnosis.trial import Trial

HELPS, HURTS, OPEN, FAILED = "helps", "hurts", "can't be told", "diverged"
EFFECTS = ("effect", "effect_at_once")


def find(probe: Trial, table: pd.DataFrame) -> list[Finding]:
    """Say what of all that was tried is shown to help."""
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
        f"No change is shown to help over {len(effects)} changes tried, {equal}: every interval "
        "holds 0 or lies above it."
    )
    repair = "Nothing to change of what was tried; --try 100 looks further along the training."
    return [Finding("tried", "info", "undecided", claim, repair, tuple(effects))]


def _helping(good: list[Row], count: int, equal: str, unchanged: Row) -> Finding:
    """Name the changes that help, the best first."""
    said = "; ".join(f"{r.of} by {number(r.value)} {interval(r)}" for r in good[:3])
    claim = (
        f"Of {count} changes tried, {equal}, {len(good)} lower the held-out loss "
        f"({number(unchanged.value)} unchanged): {said}."
    )
    repair = f"Begin with {good[0].of}; --try 100 shows whether it lasts."
    return Finding("tried", "info", "", claim, repair, tuple(good))


def _unusable(stopped: dict[str, Row], effects: list[Row]) -> Finding:
    share = stopped["unchanged"].value or 0.0
    kept = [r.of for r in effects if r.of not in stopped]
    claim = (
        f"Unchanged, {share:.0%} of the short trainings stop: their meta-gradient can't be used."
    )
    repair = (
        f"None stops with {', '.join(kept)}." if kept else "None of the changes tried prevents it."
    )
    return Finding("tried", "info", "fault", claim, repair, tuple(stopped.values()))


def verdict(effect: Row) -> str:
    """Read an effect's interval."""
    if effect.value is None or effect.low is None or effect.high is None:
        return FAILED
    return HELPS if effect.high < 0 else HURTS if effect.low > 0 else OPEN


def change_table(table: pd.DataFrame, because: dict[str, str]) -> TextTable:
    """Lay the trials out, a change a line, with why each was tried."""
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
    header = ("change", "because of", "outer steps", "loss at once", "loss after them", "verdict")
    return TextTable(header, tuple(lines))
