"""Which layers fail a check, and by what."""

from __future__ import annotations

from metabench.records.number_format import number
from metabench.records.rows import Finding, Row

BAD = (
    "wrong", "mismatch", "random", "imprecise", "sum", "tasks_interact", "reduced_precision",
    "not finite", "unsolved", "misreported", "not implemented",
)  # fmt: skip
MOST_LAYERS_NAMED = 3


def in_layers(checks: list[Row], layers: list[Row], factors: list[Row]) -> list[Finding]:
    """Return a finding on layers that fail a check which the whole meta-gradient passes.

    Args:
        checks: rows of the whole.
        layers: rows of the checks by layer.
        factors: rows of multiples of the gradient, by layer.
    """
    whole = {row.of: row.status for row in checks if row.status not in BAD}
    bad = [row for row in layers if row.status in BAD and row.of in whole]
    if not bad:
        return []
    claim = (
        "The meta-gradient of some layers is wrong, but too small to change the error of the "
        "whole meta-gradient."
        if whole[bad[0].of] in ("ok", "approximate")
        else "The meta-gradient of some layers is wrong; the whole could not be checked "
        f"({whole[bad[0].of]})."
    )
    claim += by_layer_sentence([row for row in layers if row.of == bad[0].of], factors)
    repair = "Look for detach(), .data or torch.no_grad() in the code that uses these parameters."
    return [Finding("check_layers", "critical", "fault", claim, repair, tuple(bad))]


def by_layer_sentence(layers: list[Row], factors: list[Row]) -> str:
    """Return a sentence naming the layers whose check fails, or an empty string.

    Args:
        layers: rows of one check by layer.
        factors: rows of multiples of the gradient, by layer.
    """
    times = {each.layer: each.value or 0.0 for each in factors if each.layer}
    bad = sorted((r for r in layers if r.status in BAD), key=lambda r: -(r.value or 0.0))
    if not bad:
        return ""
    named = ", ".join(
        f"`{row.layer}` by {row.value or 0:.2g}{_times(times.get(row.layer))}"
        for row in bad[:MOST_LAYERS_NAMED]
    )
    more = f" and {len(bad) - MOST_LAYERS_NAMED} more" if len(bad) > MOST_LAYERS_NAMED else ""
    passed = sum(row.status == "ok" for row in layers)
    rest = f"; {passed} of {len(layers)} layers pass" if passed else ""
    return f" Wrong in {named}{more} (relative error){rest}."


def _times(factor: float | None) -> str:
    if factor is None:
        return ""
    return f" (it is {number(factor)} times the right one)" if factor else " (it is zero)"
